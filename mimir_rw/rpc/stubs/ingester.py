"""`rpc.contracts.ingester` across processes.

Pushes are as in push.py. A select streams slices of the series in label order, as the reader grants credit.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from mimir_rw._native import DecodeError, LabelFrame, WriteBatch, decode_series_set
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.model.errors import Internal, MimirError, Overloaded
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.ingester import (
    Charge,
    EncodedPart,
    Ingester,
    MetricMetadata,
    PushPart,
    PushResult,
    TenantStats,
)
from mimir_rw.rpc.stubs.fields import Fields, closing, read_fields, unpacked
from mimir_rw.rpc.stubs.matchers import MatcherTuple, matcher_tuples, matchers_of
from mimir_rw.rpc.stubs.push import decode_part, push_answer, push_message, push_results, split_push
from mimir_rw.rpc.transport import CallContext, Message, RpcPeer, RpcPool, RpcRouter
from mimir_rw.storage.contract import NATIVE_SETS, NativeSeriesSet, SelectHints, SeriesSet

_PUSH = "ingester.push"
_SELECT = "ingester.select"
_SERIES = "ingester.series"
_LABEL_NAMES = "ingester.label_names"
_LABEL_VALUES = "ingester.label_values"
_METADATA = "ingester.metadata"
_EXEMPLARS_METHOD = "ingester.exemplars"
_STATS = "ingester.all_user_stats"
_ONLY_HERE = "ingester.only_here"

REFERENCES_PROTOCOL = 2
"""The first protocol version in which rows of a push may lack labels."""
EXTENDED_PROTOCOL = 3
"""The first in which they may have histograms, exemplars and start timestamps."""
INLINE_BYTES_MAX = 32 << 10
"""A larger message is decoded in a thread."""
PART_BYTES = 256 << 10
"""What a slice of a select is meant to have."""
_CLIENTS_MAX = 1024

T = TypeVar("T")


class _Select(Fields, frozen=True):
    matchers: list[MatcherTuple]
    mint: int
    maxt: int
    step_ms: int = 0
    range_ms: int = 0
    func: str = ""
    grouping: tuple[str, ...] = ()
    by: bool = False


class _Slice(Fields, frozen=True):
    series: int


class _Series(Fields, frozen=True):
    matcher_sets: list[list[MatcherTuple]]
    mint: int
    maxt: int


class _Labels(Fields, frozen=True):
    """name: of the label whose values are asked for."""

    matchers: list[MatcherTuple]
    mint: int
    maxt: int
    name: str = ""


class _Metadata(Fields, frozen=True):
    metric: str | None = None


_TEXTS = msgspec.msgpack.Decoder(list[str])
_ENTRIES = msgspec.msgpack.Decoder(list[tuple[str, str, str, str]])
_EXEMPLARS = msgspec.msgpack.Decoder(list[SeriesExemplars])
_TENANTS = msgspec.msgpack.Decoder(list[tuple[str, float, int]])
_TIMES = msgspec.msgpack.Decoder(dict[str, int])
_packed = msgspec.msgpack.Encoder().encode


def _encoded(part: PushPart) -> EncodedPart:
    batch = part.batch
    payload = batch.encode(metadata=True)
    return EncodedPart(part.tenant, payload, references=batch.reference_rows > 0, extended=batch.extended)


def _protocol_of(part: EncodedPart) -> int:
    if part.extended:
        return EXTENDED_PROTOCOL
    return REFERENCES_PROTOCOL if part.references else 1


class IngesterClient:
    """An `Ingester` in another process, and an `IngesterPeer`."""

    def __init__(self, peer: RpcPeer, *, offload: Offload, timeout_s: float) -> None:
        """timeout_s: longest time of a question; callers end it sooner by leaving."""
        self._peer = peer
        self._offload = offload
        self._timeout_s = timeout_s

    @property
    def healthy(self) -> bool:
        """See `RpcPeer`."""
        return self._peer.healthy

    @property
    def epoch(self) -> str:
        """See `RpcPeer`."""
        return self._peer.epoch

    @property
    def references(self) -> bool:
        """See `IngesterPeer`."""
        return self._peer.protocol >= REFERENCES_PROTOCOL

    @property
    def extended(self) -> bool:
        """See `IngesterPeer`."""
        return not self._peer.protocol or self._peer.protocol >= EXTENDED_PROTOCOL

    async def push_encoded(self, parts: Sequence[EncodedPart], *, timeout_s: float) -> list[PushResult | MimirError]:
        """See `IngesterPeer`."""
        needed = max((_protocol_of(part) for part in parts), default=1)
        answer = await self._peer.call(_PUSH, push_message(parts), timeout_s=timeout_s, protocol_min=needed)
        return push_results(answer, len(parts))

    async def push(self, tenant: str, batch: WriteBatch) -> PushResult:
        """See `Ingester`."""
        (result,) = await self.push_group([PushPart(tenant, batch)])
        if isinstance(result, MimirError):
            raise result
        return result

    async def push_group(self, parts: Sequence[PushPart]) -> list[PushResult | MimirError]:
        """See `Ingester`."""
        return await self.push_encoded([_encoded(part) for part in parts], timeout_s=self._timeout_s)

    async def select(
        self, tenant: str, matchers: Sequence[Matcher], hints: SelectHints, charge: Charge | None = None
    ) -> SeriesSet:
        """See `Ingester`. Charged slice by slice, as they arrive."""
        fields = _Select(
            matchers=matcher_tuples(matchers),
            mint=hints.mint,
            maxt=hints.maxt,
            step_ms=hints.step_ms,
            range_ms=hints.range_ms,
            func=hints.func,
            grouping=hints.grouping,
            by=hints.by,
        )
        parts: list[bytes | memoryview] = []
        messages = closing(
            self._peer.stream(_SELECT, Message(fields.as_header()), tenant=tenant, timeout_s=self._timeout_s)
        )
        async with contextlib.aclosing(messages):
            async for message in messages:
                if charge is not None:
                    charge(read_fields(message.header, _Slice).series, len(message.payload))
                parts.append(message.payload)
        return await self._decoded(decode_series_set, parts)

    async def series(self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int) -> LabelFrame:
        """See `Ingester`."""
        answer = await self._ask(_SERIES, _Series([matcher_tuples(m) for m in matcher_sets], mint, maxt), tenant)
        return await self._decoded(LabelFrame.from_bytes, answer)

    async def label_names(self, tenant: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        """See `Ingester`."""
        return unpacked(_TEXTS, await self._ask(_LABEL_NAMES, _Labels(matcher_tuples(matchers), mint, maxt), tenant))

    async def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> list[str]:
        """See `Ingester`."""
        fields = _Labels(matcher_tuples(matchers), mint, maxt, name)
        return unpacked(_TEXTS, await self._ask(_LABEL_VALUES, fields, tenant))

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        """See `Ingester`."""
        entries = unpacked(_ENTRIES, await self._ask(_METADATA, _Metadata(metric), tenant))
        return [MetricMetadata(*entry) for entry in entries]

    async def exemplars(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[SeriesExemplars]:
        """See `IngesterReads`."""
        fields = _Series([matcher_tuples(matchers) for matchers in matcher_sets], mint, maxt)
        return unpacked(_EXEMPLARS, await self._ask(_EXEMPLARS_METHOD, fields, tenant))

    async def all_user_stats(self) -> list[TenantStats]:
        """See `Ingester`."""
        answer = await self._peer.call(_STATS, Message(), timeout_s=self._timeout_s)
        return [TenantStats(*stats) for stats in unpacked(_TENANTS, answer.payload)]

    async def only_here(self) -> dict[str, int]:
        """See `Ingester`."""
        answer = await self._peer.call(_ONLY_HERE, Message(), timeout_s=self._timeout_s)
        return unpacked(_TIMES, answer.payload)

    async def _ask(self, method: str, fields: Fields, tenant: str) -> bytes | memoryview:
        answer = await self._peer.call(method, Message(fields.as_header()), tenant=tenant, timeout_s=self._timeout_s)
        return answer.payload

    async def _decoded(self, decode: Callable[[Any], T], data: Any) -> T:
        try:
            return await self._offload.run(decode, data)
        except DecodeError as error:
            raise Internal(f"{self._peer.address} sent an answer that does not decode: {error}") from error


class IngesterClients:
    """Ingesters in other processes, for distributors and queriers."""

    def __init__(self, pool: RpcPool, *, offload: Offload, timeout_s: float) -> None:
        """timeout_s: see `IngesterClient`."""
        self._pool = pool
        self._offload = offload
        self._timeout_s = timeout_s
        self._clients: dict[str, IngesterClient] = {}

    def peer(self, address: str) -> IngesterClient:
        """By the address in the ring; the same object as long as the address is in use."""
        found = self._clients.get(address)
        if found is None:
            if len(self._clients) >= _CLIENTS_MAX:
                del self._clients[next(iter(self._clients))]
            peer = self._pool.peer(address)
            found = self._clients[address] = IngesterClient(peer, offload=self._offload, timeout_s=self._timeout_s)
        return found


# -- the answering side ---------------------------------------------------------------------------------------------


def register_ingester(router: RpcRouter, ingester: Ingester, *, offload: Offload, key: Callable[[], bytes]) -> None:
    """Answer for an ingester of this process. key: what it hashes series with now."""
    served = _Served(ingester, offload, key)
    router.unary(_PUSH, served.push)
    router.stream(_SELECT, served.select)
    router.unary(_SERIES, served.series)
    router.unary(_LABEL_NAMES, served.label_names)
    router.unary(_LABEL_VALUES, served.label_values)
    router.unary(_METADATA, served.metadata)
    router.unary(_EXEMPLARS_METHOD, served.exemplars)
    router.unary(_STATS, served.all_user_stats)
    router.unary(_ONLY_HERE, served.only_here)


class _Served:
    def __init__(self, ingester: Ingester, offload: Offload, key: Callable[[], bytes]) -> None:
        self._ingester = ingester
        self._offload = offload
        self._key = key

    async def push(self, context: CallContext, message: Message) -> Message:
        tenants, payloads = split_push(message)
        key = self._key()

        def decode() -> list[PushPart | MimirError]:
            return [decode_part(tenant, data, key) for tenant, data in zip(tenants, payloads, strict=True)]

        decoded = decode() if len(message.payload) <= INLINE_BYTES_MAX else await self._run(decode)
        parts = [part for part in decoded if isinstance(part, PushPart)]
        stored = iter(await self._ingester.push_group(parts))
        return push_answer([next(stored) if isinstance(part, PushPart) else part for part in decoded])

    async def select(self, context: CallContext, message: Message) -> AsyncIterator[Message]:
        asked = read_fields(message.header, _Select)
        hints = SelectHints(
            mint=asked.mint,
            maxt=asked.maxt,
            step_ms=asked.step_ms,
            range_ms=asked.range_ms,
            func=asked.func,
            grouping=asked.grouping,
            by=asked.by,
        )
        found = await self._ingester.select(context.tenant, matchers_of(asked.matchers), hints)
        start, total = 0, len(found.labels)
        while start < total:
            assert isinstance(found, NATIVE_SETS)
            end, data = await self._run(_slice, found, start, context.protocol >= EXTENDED_PROTOCOL)
            yield Message(_Slice(end - start).as_header(), data)
            start = end

    async def series(self, context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Series)
        sets = [matchers_of(tuples) for tuples in asked.matcher_sets]
        found = await self._ingester.series(context.tenant, sets, asked.mint, asked.maxt)
        return Message({}, await self._run(found.to_bytes))

    async def label_names(self, context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Labels)
        return Message(
            {},
            _packed(
                await self._ingester.label_names(context.tenant, matchers_of(asked.matchers), asked.mint, asked.maxt)
            ),
        )

    async def label_values(self, context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Labels)
        found = await self._ingester.label_values(
            context.tenant, asked.name, matchers_of(asked.matchers), asked.mint, asked.maxt
        )
        return Message({}, _packed(found))

    async def metadata(self, context: CallContext, message: Message) -> Message:
        found = await self._ingester.metadata(context.tenant, read_fields(message.header, _Metadata).metric)
        return Message({}, _packed([(entry.metric, entry.type, entry.help, entry.unit) for entry in found]))

    async def exemplars(self, context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Series)
        sets = [matchers_of(tuples) for tuples in asked.matcher_sets]
        found = await self._ingester.exemplars(context.tenant, sets, asked.mint, asked.maxt)
        return Message({}, await self._run(_packed, found))

    async def all_user_stats(self, context: CallContext, message: Message) -> Message:
        found = await self._ingester.all_user_stats()
        return Message({}, _packed([(stats.tenant, stats.ingestion_rate, stats.series) for stats in found]))

    async def only_here(self, context: CallContext, message: Message) -> Message:
        return Message({}, _packed(await self._ingester.only_here()))

    async def _run(self, fn: Callable[..., T], *args: Any) -> T:
        try:
            return await self._offload.run(fn, *args)
        except OffloadFull as error:
            raise Overloaded(str(error)) from error


# -- messages -------------------------------------------------------------------------------------------------------


def _slice(found: NativeSeriesSet, start: int, histograms: bool) -> tuple[int, bytes]:
    """The rows from start on that go into one message: where they end, and their bytes. histograms: whether the
    caller knows them."""
    end = found.part_end(start, PART_BYTES)
    return end, found.encode(start, end, histograms=histograms)
