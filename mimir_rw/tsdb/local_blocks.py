"""The blocks of one tenant on this disk: those that were cut from its head and are not forgotten yet.

    <tenant>/<ULID>.tmp-for-creation/   being written; removed at the next start
    <tenant>/<ULID>/                    a block
    <tenant>/<ULID>.quarantined/        a block that turned out damaged: set aside for an operator, never read
    <tenant>/<ULID>.tmp-for-deletion/   being removed

Everything that touches files blocks: run it off the event loop. What is there is read as one immutable tuple
(`blocks`), from any thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mimir_rw._native import DataDamaged, EncodedSeriesSet, LabelFrame
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.model.errors import MimirError

CREATION = ".tmp-for-creation"
DELETION = ".tmp-for-deletion"
QUARANTINED = ".quarantined"
META_NAME = "meta.json"

MatcherTuples = Sequence[tuple[int, str, str]]


class BlockReader(Protocol):
    """See `_native.LocalBlock`. Everything raises DataDamaged."""

    def select(self, matchers: MatcherTuples, mint: int, maxt: int) -> EncodedSeriesSet: ...
    def series(self, matcher_sets: Sequence[MatcherTuples], mint: int, maxt: int) -> LabelFrame: ...
    def label_names(self, matchers: MatcherTuples, mint: int, maxt: int) -> list[str]: ...
    def label_values(self, name: str, matchers: MatcherTuples, mint: int, maxt: int) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class LocalBlock:
    meta: BlockMeta
    reader: BlockReader

    @property
    def ulid(self) -> str:
        return self.meta.ulid

    def overlaps(self, mint: int, maxt: int) -> bool:
        """Both inclusive."""
        return self.meta.min_time <= maxt and mint < self.meta.max_time


@dataclass(frozen=True, slots=True)
class Quarantined:
    ulid: str
    reason: str


class LocalBlocks:
    def __init__(self, directory: Path, *, open_reader: Callable[[str], BlockReader]) -> None:
        """directory: the tenant's own."""
        self.directory = directory
        self.blocks: tuple[LocalBlock, ...] = ()
        """By first time, then by name."""
        self.quarantined: tuple[Quarantined, ...] = ()
        self._open_reader = open_reader
        self._changing = threading.Lock()

    @property
    def floor(self) -> int | None:
        """The end of the newest block of samples in order: the head has nothing in order before it."""
        return max((b.meta.max_time for b in self.blocks if not b.meta.compaction.hints), default=None)

    def load(self) -> None:
        """Remove what was never finished and open the rest; damaged blocks are set aside. Raises OSError."""
        if not self.directory.is_dir():
            return
        opened = []
        for entry in sorted(os.scandir(self.directory), key=lambda e: e.name):
            stem, dot, suffix = entry.name.partition(".")
            if not is_ulid(stem) or not entry.is_dir():
                continue
            if dot + suffix in (CREATION, DELETION, ".tmp"):
                shutil.rmtree(entry.path)
            elif dot + suffix == QUARANTINED:
                self.quarantined = (*self.quarantined, Quarantined(stem, "it was found damaged before"))
            elif not dot and (block := self._open(stem)) is not None:
                opened.append(block)
        self.blocks = _sorted(opened)

    def begin(self, ulid: str) -> Path:
        """An empty directory to write a block into; `commit` or `abandon` it. Raises OSError."""
        directory = self.directory / (ulid + CREATION)
        directory.mkdir(parents=True)
        return directory

    def commit(self, meta: BlockMeta) -> LocalBlock:
        """The files of the block are whole: give it its meta.json, its name, and queries its samples. Raises OSError,
        DataDamaged."""
        directory = self.directory / (meta.ulid + CREATION)
        _write_synced(directory / META_NAME, meta.encode())
        sync_directory(directory)
        place = self.directory / meta.ulid
        directory.rename(place)
        sync_directory(self.directory)
        block = LocalBlock(meta, self._open_reader(str(place)))
        with self._changing:
            self.blocks = _sorted([*self.blocks, block])
        return block

    def abandon(self, ulid: str) -> None:
        """Remove what `begin` began; what cannot be removed now is at the next start."""
        shutil.rmtree(self.directory / (ulid + CREATION), ignore_errors=True)

    def remove(self, ulids: Sequence[str]) -> None:
        """Forget blocks. A query that reads one goes on. Raises OSError."""
        gone = set(ulids)
        with self._changing:
            self.blocks = tuple(block for block in self.blocks if block.ulid not in gone)
        for ulid in ulids:
            doomed = self.directory / (ulid + DELETION)
            (self.directory / ulid).rename(doomed)
            shutil.rmtree(doomed)

    def set_aside(self, ulid: str, reason: str) -> bool:
        """The block is damaged: read it no more; whether that is news."""
        with self._changing:
            known = any(block.ulid == ulid for block in self.blocks)
            self.blocks = tuple(block for block in self.blocks if block.ulid != ulid)
        if known:
            self._quarantine(ulid, reason)
        return known

    def _quarantine(self, ulid: str, reason: str) -> None:
        self.quarantined = (*self.quarantined, Quarantined(ulid, reason))
        # Where that fails it is not read all the same, and found again at the next start.
        with contextlib.suppress(OSError):
            (self.directory / ulid).rename(self.directory / (ulid + QUARANTINED))

    def _open(self, ulid: str) -> LocalBlock | None:
        place = self.directory / ulid
        try:
            meta = BlockMeta.decode((place / META_NAME).read_bytes(), f"{place}/{META_NAME}")
            if meta.ulid != ulid:
                raise DataDamaged(f"{place}/{META_NAME} is of block {meta.ulid}")
            return LocalBlock(meta, self._open_reader(str(place)))
        except (DataDamaged, MimirError, FileNotFoundError) as error:
            self._quarantine(ulid, str(error))
            return None


def _sorted(blocks: Sequence[LocalBlock]) -> tuple[LocalBlock, ...]:
    return tuple(sorted(blocks, key=lambda b: (b.meta.min_time, b.ulid)))


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
