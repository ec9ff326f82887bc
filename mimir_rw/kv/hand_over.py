"""What ingesters that leave have put into the store, told to everyone who reads: records in the cluster's KV.

A record says for each tenant from when to when samples were held by an ingester that leaves or has left, and the
version of the bucket index that is known to have all of them. While it is in force

    LOADING    store-gateways serve the blocks of these ranges however young they are
    SERVING    queriers, and whoever else reads, also ask the store for these ranges whatever their settings say, with
               an index of that version or newer

and it ends by itself once the settings alone would have everybody do so (`expires_s`). WITHDRAWN: the ingester stays.

Records are kept by ingester and round: one that comes back and leaves again adds another. A record is changed by its
ingester only; of two versions the later one wins, by (updated_ms, phase, bytes), so the outcome does not depend on the
order of arrival. Pure but for the service, which is state of the event loop.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import Service
from mimir_rw.kv.contract import KV, CodecError
from mimir_rw.model.errors import Unavailable
from mimir_rw.model.stored_range import StoredRange

STORE_KEY = "hand-over"
"""Behind the prefix of the ingesters' ring. It sorts before `ring`: a whole state that is told by gossip is merged in
the order of its keys, so who hears in one go that an ingester has left and where its samples are hears the latter
first."""
RECORDS_MAX = 4096
TENANTS_MAX = 200_000
"""Of all records of a value together."""
_NAME_CHARS_MAX = 512
_TIME_MAX = 1 << 62
_RETRY_S = 1.0


class Phase(enum.IntEnum):
    LOADING = 1
    SERVING = 2
    WITHDRAWN = 3


@dataclass(frozen=True, slots=True)
class HandOver:
    """One record. round_ms: when the ingester began to leave, by its clock; with its id the record's name."""

    instance: str
    round_ms: int
    phase: Phase
    updated_ms: int
    expires_s: int
    ranges: tuple[StoredRange, ...] = ()
    """By tenant, one each."""

    @property
    def name(self) -> str:
        return f"{self.instance}/{self.round_ms}"


class HandOvers(Mapping[str, HandOver]):
    """Records by name. Immutable."""

    __slots__ = ("__dict__", "_records")

    def __init__(self, records: Iterable[HandOver] = ()) -> None:
        by_name = {record.name: record for record in records}
        self._records = {name: by_name[name] for name in sorted(by_name)}

    def __getitem__(self, name: str) -> HandOver:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"HandOvers({list(self._records.values())!r})"

    def put(self, record: HandOver) -> HandOvers:
        return HandOvers((*self._records.values(), record))

    def served(self, tenant: str, now_s: int) -> tuple[StoredRange, ...]:
        """What readers ask the store for, whatever their settings say; of the tenant, by mint."""
        return self._in_force(tenant, now_s, Phase.SERVING)

    def loaded(self, tenant: str, now_s: int) -> tuple[StoredRange, ...]:
        """Ranges whose blocks store-gateways serve however young they are; of the tenant, by mint."""
        return self._in_force(tenant, now_s, Phase.LOADING)

    def _in_force(self, tenant: str, now_s: int, since: Phase) -> tuple[StoredRange, ...]:
        found = self._by_tenant.get(tenant, ())
        return tuple(range_ for phase, expires_s, range_ in found if phase >= since and now_s < expires_s)

    @cached_property
    def _by_tenant(self) -> Mapping[str, list[tuple[Phase, int, StoredRange]]]:
        found: dict[str, list[tuple[Phase, int, StoredRange]]] = {}
        for record in self._records.values():
            if record.phase is not Phase.WITHDRAWN:
                for range_ in record.ranges:
                    found.setdefault(range_.tenant, []).append((record.phase, record.expires_s, range_))
        for ranges in found.values():
            ranges.sort(key=lambda each: (each[2].mint, each[2].maxt))
        return found


NOTHING = HandOvers()

_Range = tuple[str, int, int, int, int]


class _Stored(msgspec.Struct, array_like=True):
    """Further fields may follow in later versions; they are skipped."""

    instance: str
    round_ms: int
    phase: int
    updated_ms: int
    expires_s: int
    ranges: list[_Range]


_DECODER = msgspec.msgpack.Decoder(list[_Stored])


class HandOverCodec:
    """`kv.contract.Codec[HandOvers]`."""

    id = "mimirRwHandOver"

    def encode(self, value: HandOvers) -> bytes:
        return msgspec.msgpack.encode([_packed(record) for record in value.values()]) if len(value) else b""

    def decode(self, data: bytes) -> HandOvers:
        if not data:
            return NOTHING
        try:
            stored = _DECODER.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CodecError(f"no hand-over records: {error}") from None
        if len(stored) > RECORDS_MAX or sum(len(record.ranges) for record in stored) > TENANTS_MAX:
            raise CodecError("more hand-over records than there may be")
        return HandOvers(map(_unpacked, stored))

    def merge(
        self, ours: HandOvers | None, incoming: HandOvers, *, local_cas: bool, now_s: int
    ) -> tuple[HandOvers, HandOvers | None]:
        """What a change of our own lacks is not removed by it: records end by their time."""
        ours = ours if ours is not None else NOTHING
        changed = [record for record in incoming.values() if _newer(record, ours.get(record.name))]
        if not changed:
            return ours, None
        return HandOvers((*ours.values(), *changed)), HandOvers(changed)

    def without_tombstones(self, value: HandOvers, before_s: int | None) -> HandOvers:
        """A record is a tombstone from the moment it ends, for readers as soon as they look at the time; a withdrawn
        one stays until then, so that an older version of it does not come back."""
        if before_s is None:
            kept = [record for record in value.values() if record.phase is not Phase.WITHDRAWN]
        else:
            kept = [record for record in value.values() if record.expires_s >= before_s]
        return value if len(kept) == len(value) else HandOvers(kept)

    def names(self, value: HandOvers) -> frozenset[str]:
        return frozenset(value)

    def is_empty(self, value: HandOvers) -> bool:
        return not len(value)

    def show(self, value: HandOvers) -> Any:
        return {
            name: {
                "phase": record.phase.name,
                "updated_ms": record.updated_ms,
                "expires_s": record.expires_s,
                "tenants": [
                    {
                        "tenant": r.tenant,
                        "mint": r.mint,
                        "maxt": r.maxt,
                        "index_version": r.index_version,
                        "blocks": r.blocks,
                    }
                    for r in record.ranges
                ],
            }
            for name, record in value.items()
        }


def _packed(record: HandOver) -> _Stored:
    ranges = [(r.tenant, r.mint, r.maxt, r.index_version, r.blocks) for r in record.ranges]
    return _Stored(record.instance, record.round_ms, int(record.phase), record.updated_ms, record.expires_s, ranges)


def _unpacked(stored: _Stored) -> HandOver:
    numbers = [stored.round_ms, stored.updated_ms, stored.expires_s]
    texts = [stored.instance]
    for tenant, mint, maxt, version, blocks in stored.ranges:
        texts.append(tenant)
        numbers += (version, blocks)
        if mint > maxt or abs(mint) > _TIME_MAX or abs(maxt) > _TIME_MAX:
            raise CodecError("a hand-over record has a range that is none")
    if not all(0 <= number <= _TIME_MAX for number in numbers):
        raise CodecError("a hand-over record has a number that is out of range")
    if not all(0 < len(text) <= _NAME_CHARS_MAX for text in texts):
        raise CodecError("a hand-over record has a name that is too long or empty")
    try:
        phase = Phase(stored.phase)
    except ValueError:
        raise CodecError(f"a hand-over record is in unknown phase {stored.phase}") from None
    ranges = tuple(StoredRange(*each) for each in stored.ranges)
    return HandOver(stored.instance, stored.round_ms, phase, stored.updated_ms, stored.expires_s, ranges)


def _newer(incoming: HandOver, ours: HandOver | None) -> bool:
    if ours is None or incoming.updated_ms != ours.updated_ms:
        return ours is None or incoming.updated_ms > ours.updated_ms
    if incoming.phase is not ours.phase:
        return incoming.phase > ours.phase
    return incoming != ours and _bytes(incoming) > _bytes(ours)


def _bytes(record: HandOver) -> bytes:
    return msgspec.msgpack.encode(_packed(record))


class HandOverRecords(Service):
    """Knows all records from the moment it is Running, and follows them. To be started after the rings: who sees an
    ingester no more must know its record, which was there first. A process that has found nobody to gossip with yet
    knows no ingesters either, and hears of both at once."""

    def __init__(self, *, kv: KV[HandOvers], key: str, clock: Clock) -> None:
        super().__init__("hand-over-records")
        self._kv = kv
        self._key = key
        self._clock = clock
        self._current = NOTHING
        self._listeners: list[Callable[[HandOvers], None]] = []
        self._log = get_logger(component="hand-over-records")

    def current(self) -> HandOvers:
        return self._current

    def watch(self, listener: Callable[[HandOvers], None]) -> Callable[[], None]:
        """Call `listener` with each new value. What is returned ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def write(self, record: HandOver) -> None:
        """Put a record of this process into the KV; known here too when it returns. Those that have ended are taken
        out by the way. Raises Unavailable."""
        now_s = self._clock.now_ms() // 1000

        def change(there: HandOvers | None) -> HandOvers | None:
            known = NOTHING if there is None else there
            if not _newer(record, known.get(record.name)):
                return None
            return HandOvers(each for each in known.values() if each.expires_s > now_s).put(record)

        await self._kv.cas(self._key, change)
        self._replace(await self._kv.get(self._key) or NOTHING)

    async def start_up(self) -> None:
        while True:
            try:
                self._replace(await self._kv.get(self._key) or NOTHING)
                break
            except Unavailable as error:
                self._log.warning("hand-over records cannot be read yet", err=str(error))
                await asyncio.sleep(_RETRY_S)
        self.tasks.spawn(self._follow(), name=self.name)

    async def _follow(self) -> None:
        while True:
            try:
                async for found in self._kv.watch(self._key):
                    self._replace(found)
            except Unavailable as error:
                self._log.warning("hand-over records cannot be followed, trying again", err=str(error))
            await asyncio.sleep(_RETRY_S)

    def _replace(self, found: HandOvers) -> None:
        if found is self._current or found == self._current:
            return
        self._current = found
        for listener in tuple(self._listeners):
            listener(found)
