"""Headers and payloads of messages with typed fields. Fields that are not known are skipped, those with a default may
be missing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, TypeVar

import msgspec

from mimir_rw.model.errors import Internal

T = TypeVar("T")
F = TypeVar("F", bound="Fields")


class Fields(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of a header's declaration."""

    def as_header(self) -> dict[str, Any]:
        """For `Message.header`."""
        return msgspec.structs.asdict(self)


def read_fields(header: Mapping[str, Any], kind: type[F]) -> F:
    """The header as `kind` declares it. Raises Internal when it is not one: the other side is broken, not its user."""
    try:
        return msgspec.convert(header, kind)
    except msgspec.ValidationError as error:
        raise Internal(f"a message between processes is not as it should be: {error}") from error


def unpacked(decoder: msgspec.msgpack.Decoder[T], data: bytes | memoryview) -> T:
    """A payload in MessagePack. Raises Internal when it is none of that type."""
    try:
        return decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise Internal(f"a message between processes does not decode: {error}") from error


async def closing(items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """The same items, from an iterator that can be closed whether or not `items` can."""
    try:
        async for item in items:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
