"""The secret that series are hashed with, one for the cluster, kept in its KV.

Processes that know no key when they start propose one; of several the oldest wins everywhere, and those that had
another change to it. What is hashed with one key says nothing under another, so values travel with the key's id.

    start_up ── in the KV? ──yes──► adopt ──► Running, following the KV
                   │ no: wait until joined (or long enough), propose
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import Service
from mimir_rw.kv.contract import KV, CodecError
from mimir_rw.model.errors import Unavailable

STORE_KEY = "mimir-rw/series-key"
ID_BYTES = 8
KEY_BYTES = 32
_LOOK_S = 0.1
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """id: 16 hexadecimal digits; "" for no key. key: 32 bytes."""

    id: str
    key: bytes
    created_ms: int = 0


NO_KEY = SeriesKey("", b"")


class _Stored(msgspec.Struct, array_like=True):
    id: str
    key: bytes
    created_ms: int


class SeriesKeyCodec:
    """`kv.contract.Codec[SeriesKey]`. The value with the smaller (created_ms, id) wins."""

    id = "mimirRwSeriesKey"

    def encode(self, value: SeriesKey) -> bytes:
        return msgspec.msgpack.encode(_Stored(value.id, value.key, value.created_ms)) if value.id else b""

    def decode(self, data: bytes) -> SeriesKey:
        if not data:
            return NO_KEY
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CodecError(f"not a series key: {error}") from None
        if len(stored.id) != 2 * ID_BYTES or len(stored.key) != KEY_BYTES or stored.created_ms < 0:
            raise CodecError("not a series key: wrong size")
        return SeriesKey(stored.id, stored.key, stored.created_ms)

    def merge(
        self, ours: SeriesKey | None, incoming: SeriesKey, *, local_cas: bool, now_s: int
    ) -> tuple[SeriesKey, SeriesKey | None]:
        if not incoming.id or (ours is not None and ours.id and _rank(ours) <= _rank(incoming)):
            return ours or NO_KEY, None
        return incoming, incoming

    def without_tombstones(self, value: SeriesKey, before_s: int | None) -> SeriesKey:
        return value

    def names(self, value: SeriesKey) -> frozenset[str]:
        return frozenset((STORE_KEY,))

    def is_empty(self, value: SeriesKey) -> bool:
        return not value.id

    def show(self, value: SeriesKey) -> Any:
        """Without the secret."""
        return {"id": value.id, "created_ms": value.created_ms}


def _rank(value: SeriesKey) -> tuple[int, str, bytes]:
    return value.created_ms, value.id, value.key


class SeriesKeyService(Service):
    """Knows the key from the moment it is Running. Changed on the event loop only."""

    def __init__(
        self,
        *,
        kv: KV[SeriesKey],
        clock: Clock,
        secret: Callable[[int], bytes],
        joined: Callable[[], bool],
        join_wait_s: float,
    ) -> None:
        """secret: so many unguessable bytes. joined: whether the KV has what others have. join_wait_s: how long that is
        waited for before a key is proposed all the same."""
        super().__init__("series-key")
        self._kv = kv
        self._clock = clock
        self._secret = secret
        self._joined = joined
        self._join_wait_s = join_wait_s
        self._current = NO_KEY
        self._listeners: list[Callable[[SeriesKey], None]] = []
        self._log = get_logger(component="series-key")

    def current(self) -> SeriesKey:
        assert self._current.id, "asked before the series key is known"
        return self._current

    def on_new_key(self, listener: Callable[[SeriesKey], None]) -> None:
        """Call `listener` with each key that takes the place of another, once the service is Running."""
        self._listeners.append(listener)

    async def start_up(self) -> None:
        self._current = await self._find()
        self.tasks.spawn(self._follow(), name="follow the series key")

    async def _find(self) -> SeriesKey:
        """The key in the KV; proposed by this process if there is none."""
        loop = asyncio.get_running_loop()
        patience_ends = loop.time() + self._join_wait_s
        while True:
            try:
                found = await self._kv.get(STORE_KEY)
                if found is not None and found.id:
                    return found
                if self._joined() or loop.time() >= patience_ends:
                    await self._kv.cas(STORE_KEY, self._proposal())
                    found = await self._kv.get(STORE_KEY)
                    if found is not None and found.id:
                        return found
                await asyncio.sleep(_LOOK_S)
            except Unavailable as error:
                self._log.warning("the series key cannot be read, trying again", err=str(error))
                await asyncio.sleep(_RETRY_S)

    def _proposal(self) -> Callable[[SeriesKey | None], SeriesKey | None]:
        proposed = SeriesKey(self._secret(ID_BYTES).hex(), self._secret(KEY_BYTES), self._clock.now_ms())
        return lambda there: None if there is not None and there.id else proposed

    async def _follow(self) -> None:
        while True:
            try:
                async for found in self._kv.watch(STORE_KEY):
                    self._adopt(found)
            except Unavailable as error:
                self._log.warning("the series key cannot be followed, trying again", err=str(error))
            await asyncio.sleep(_RETRY_S)

    def _adopt(self, found: SeriesKey) -> None:
        if not found.id or found == self._current:
            return
        self._log.info("series are hashed with another key from now on", key_id=found.id)
        self._current = found
        for listener in self._listeners:
            listener(found)
