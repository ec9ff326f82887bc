"""The replicated keys of one node: versions, merges, tombstones, deletions (ring-and-gossip.md 12). Pure.

Every change gives at most one `Broadcast` with just what changed. Versions count changes here and are never sent.
Values are immutable, so what `current` gives may be kept and read from any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mimir_rw.kv.contract import Codec, CodecError
from mimir_rw.kv.memberlist.messages import WireError
from mimir_rw.kv.memberlist.pairs import Pair, decode_pair, encode_pair, join_pairs, split_pairs

_SEEN_MAX = 256
_SEEN_BYTES_MAX = 8 << 10


@dataclass(frozen=True, slots=True)
class Stored:
    """One key. value: with tombstones. version: from 1, one more at each change."""

    value: Any
    codec_id: str
    version: int
    deleted: bool = False
    update_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class Broadcast:
    """names: entries that the message speaks of."""

    key: str
    message: bytes
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a compare-and-swap: `conflict`: another version was there, to be tried again."""

    conflict: bool
    broadcast: Broadcast | None = None


@dataclass(slots=True)
class StoreCounts:
    invalid: int = 0
    dropped: int = 0
    """Over a bound, or of a codec that is not known here."""


class Store:
    def __init__(
        self,
        codecs: Sequence[Codec[Any]],
        *,
        tombstones_kept_s: float,
        deleted_kept_s: float,
        keys_max: int,
        value_bytes_max: int,
    ) -> None:
        self.codecs: Mapping[str, Codec[Any]] = {codec.id: codec for codec in codecs}
        self._tombstones_kept_s = int(tombstones_kept_s)
        self._deleted_kept_ms = int(deleted_kept_s * 1000)
        self._keys_max = keys_max
        self._value_bytes_max = value_bytes_max
        self._keys: dict[str, Stored] = {}
        self._encoded: dict[str, tuple[int, bytes]] = {}
        self._seen: dict[bytes, None] = {}
        """The last pairs that were merged: gossip brings each of them several times."""
        self.counts = StoreCounts()

    # Reading.

    def current(self, key: str) -> Stored | None:
        return self._keys.get(key)

    def visible(self, key: str) -> tuple[Any, int]:
        """What clients see, None if nothing, and the version of it (0: the key is not there)."""
        stored = self._keys.get(key)
        if stored is None:
            return None, 0
        if stored.deleted:
            return None, stored.version
        return self.codecs[stored.codec_id].without_tombstones(stored.value, None), stored.version

    def keys(self, prefix: str = "") -> list[str]:
        """Sorted; without deleted ones."""
        return sorted(k for k, stored in list(self._keys.items()) if k.startswith(prefix) and not stored.deleted)

    def all_keys(self) -> list[str]:
        return sorted(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def encoded(self, key: str) -> bytes:
        """The pair as it is pushed to others; encoded once per version."""
        stored = self._keys[key]
        cached = self._encoded.get(key)
        if cached is not None and cached[0] == stored.version:
            return cached[1]
        data = self._pair(key, stored, stored.value)
        self._encoded[key] = (stored.version, data)
        return data

    def state(self) -> bytes:
        """All keys, for a push/pull."""
        return join_pairs([self.encoded(key) for key in self.all_keys()])

    # Changing.

    def compare_and_set(self, key: str, codec_id: str, version: int, value: Any, now_ms: int) -> Attempt:
        """Merge `value`, which was made from `version`, as a change of our own."""
        stored = self._keys.get(key)
        if (stored.version if stored is not None else 0) != version:
            return Attempt(conflict=True)
        # Writing to a deleted key brings it back, which others only believe of a newer time.
        revived_ms = max(now_ms, stored.update_time_ms + 1) if stored is not None and stored.deleted else 0
        merged = self._merge(
            key, codec_id, value, local_cas=version > 0, deleted=False, update_time_ms=revived_ms, now_ms=now_ms
        )
        return Attempt(conflict=False, broadcast=merged)

    def delete(self, key: str, now_ms: int) -> Broadcast | None:
        stored = self._keys.get(key)
        if stored is None or stored.deleted:
            return None
        codec = self.codecs[stored.codec_id]
        stored = self._keys[key] = replace(
            stored, version=stored.version + 1, deleted=True, update_time_ms=max(now_ms, stored.update_time_ms + 1)
        )
        return Broadcast(key, self._pair(key, stored, stored.value), codec.names(stored.value))

    def receive(self, data: bytes, now_ms: int) -> Broadcast | None:
        """Merge a pair from another node; what of it is news, to be passed on. Never raises."""
        if data in self._seen:
            return None
        try:
            pair = decode_pair(data)
            codec = self.codecs.get(pair.codec_id)
            if codec is None or len(pair.value) > self._value_bytes_max:
                self.counts.dropped += 1
                return None
            known = self._keys.get(pair.key)
            if known is None and (pair.deleted or len(self._keys) >= self._keys_max):
                self.counts.dropped += not pair.deleted
                return None
            if known is not None and known.codec_id != pair.codec_id:
                raise WireError("the key holds values of another codec")
            value = codec.decode(pair.value)
        except (WireError, CodecError):
            self.counts.invalid += 1
            return None
        news = self._merge(
            pair.key, pair.codec_id, value, local_cas=False, deleted=pair.deleted, update_time_ms=pair.update_time_ms,
            now_ms=now_ms,
        )  # fmt: skip
        if len(data) <= _SEEN_BYTES_MAX:
            self._seen[data] = None
            if len(self._seen) > _SEEN_MAX:
                del self._seen[next(iter(self._seen))]
        return news

    def receive_state(self, data: bytes, now_ms: int) -> list[Broadcast]:
        """Merge what a push/pull brought. Never raises."""
        news = []
        try:
            for pair in split_pairs(data):
                broadcast = self.receive(pair, now_ms)
                if broadcast is not None:
                    news.append(broadcast)
        except WireError:
            self.counts.invalid += 1
        return news

    def expire(self, now_ms: int) -> None:
        """Forget keys that were deleted long ago."""
        horizon = now_ms - self._deleted_kept_ms
        for key in [k for k, s in self._keys.items() if s.deleted and s.update_time_ms <= horizon]:
            del self._keys[key]
            self._encoded.pop(key, None)

    def _merge(
        self,
        key: str,
        codec_id: str,
        incoming: Any,
        *,
        local_cas: bool,
        deleted: bool,
        update_time_ms: int,
        now_ms: int,
    ) -> Broadcast | None:
        codec = self.codecs[codec_id]
        stored = self._keys.get(key)
        now_s = now_ms // 1000
        ours = stored.value if stored is not None else None
        merged, change = codec.merge(ours, incoming, local_cas=local_cas, now_s=now_s)
        was_deleted, was_updated_ms = (stored.deleted, stored.update_time_ms) if stored is not None else (False, 0)
        newer = update_time_ms > was_updated_ms
        if newer:
            was_updated_ms = update_time_ms
        turned = newer and deleted != was_deleted
        if change is not None:
            # A tombstone that is old enough to be forgotten must not come back with the news of another node.
            horizon = now_s - self._tombstones_kept_s
            merged = codec.without_tombstones(merged, horizon)
            change = codec.without_tombstones(change, horizon)
            if codec.is_empty(change):
                change = None
        if change is None and not turned:
            return None
        version = stored.version + 1 if stored is not None else 1
        now_deleted = deleted if newer else was_deleted
        kept = self._keys[key] = Stored(
            merged if change is not None else ours, codec_id, version, now_deleted, was_updated_ms
        )
        told = change if change is not None else kept.value
        return Broadcast(key, self._pair(key, kept, told), codec.names(told))

    def _pair(self, key: str, stored: Stored, value: Any) -> bytes:
        codec = self.codecs[stored.codec_id]
        return encode_pair(Pair(key, codec.encode(value), stored.codec_id, stored.deleted, stored.update_time_ms))
