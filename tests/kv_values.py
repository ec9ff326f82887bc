"""A codec for tests that knows no ring: entries with a time, the newer one wins, a removed one is a tombstone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mimir_rw.kv.contract import CodecError


@dataclass(frozen=True, slots=True)
class Entry:
    at_s: int
    text: str = ""
    left: bool = False

    @property
    def rank(self) -> tuple[int, bool, str]:
        return (self.at_s, self.left, self.text)


@dataclass(frozen=True, slots=True)
class Entries:
    by_name: Mapping[str, Entry] = field(default_factory=dict)

    def put(self, name: str, at_s: int, text: str = "") -> Entries:
        return Entries({**self.by_name, name: Entry(at_s, text)})

    def drop(self, name: str) -> Entries:
        return Entries({n: e for n, e in self.by_name.items() if n != name})


class EntriesCodec:
    id = "testEntries"

    def encode(self, value: Entries) -> bytes:
        rows = [[n, e.at_s, e.text, e.left] for n, e in sorted(value.by_name.items())]
        return json.dumps(rows).encode()

    def decode(self, data: bytes) -> Entries:
        if not data:
            return Entries()
        try:
            return Entries({str(n): Entry(int(at), str(text), bool(left)) for n, at, text, left in json.loads(data)})
        except (ValueError, TypeError, RecursionError) as error:
            raise CodecError("no entries") from error

    def merge(
        self, ours: Entries | None, incoming: Entries, *, local_cas: bool, now_s: int
    ) -> tuple[Entries, Entries | None]:
        mine = dict(ours.by_name) if ours is not None else {}
        news = incoming.by_name.items()
        change = {name: entry for name, entry in news if name not in mine or entry.rank > mine[name].rank}
        if local_cas:
            for name, entry in mine.items():
                if name not in incoming.by_name and not entry.left:
                    change[name] = Entry(max(now_s, entry.at_s), "", left=True)
        if not change:
            return ours if ours is not None else Entries(), None
        return Entries({**mine, **change}), Entries(change)

    def without_tombstones(self, value: Entries, before_s: int | None) -> Entries:
        kept = {n: e for n, e in value.by_name.items() if not e.left or (before_s is not None and e.at_s >= before_s)}
        return value if len(kept) == len(value.by_name) else Entries(kept)

    def names(self, value: Entries) -> frozenset[str]:
        return frozenset(value.by_name)

    def is_empty(self, value: Entries) -> bool:
        return not value.by_name

    def show(self, value: Entries) -> Any:
        return {n: {"at": e.at_s, "text": e.text, "left": e.left} for n, e in sorted(value.by_name.items())}


ENTRIES = EntriesCodec()
