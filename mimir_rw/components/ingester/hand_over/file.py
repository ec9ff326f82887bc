"""What outlives a restart of an ingester that leaves: a small file in its data directory. Blocking calls."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mimir_rw.kv.contract import CodecError
from mimir_rw.kv.hand_over import HandOver, HandOverCodec, HandOvers
from mimir_rw.model.errors import DataDamaged

FILE_NAME = "@hand-over"
"""No tenant can have that name."""
_BYTES_MAX = 64 << 20
_CODEC = HandOverCodec()


@dataclass(frozen=True, slots=True)
class Kept:
    """A hand-over that has begun and not ended. record: as it was written last, or was about to be."""

    round_ms: int
    record: HandOver | None = None
    going_back: bool = False


class _File(msgspec.Struct):
    round_ms: int
    record: bytes = b""
    going_back: bool = False


def read_kept(directory: Path) -> Kept | None:
    """None when there is no hand-over. Raises DataDamaged, OSError."""
    path = directory / FILE_NAME
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise DataDamaged(f"{path} is larger than {_BYTES_MAX} bytes")
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(data, type=_File)
        records = list(_CODEC.decode(found.record).values())
    except (msgspec.MsgspecError, CodecError, ValueError, RecursionError) as error:
        raise DataDamaged(f"{path} is no hand-over: {error}") from error
    return Kept(found.round_ms, records[0] if records else None, found.going_back)


def write_kept(directory: Path, kept: Kept | None) -> None:
    """Atomically; None removes the file. Raises OSError."""
    path = directory / FILE_NAME
    if kept is None:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return
    record = _CODEC.encode(HandOvers([kept.record])) if kept.record is not None else b""
    new = path.with_name(FILE_NAME + ".new")
    with new.open("wb") as file:
        file.write(msgspec.json.encode(_File(kept.round_ms, record, kept.going_back)))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
