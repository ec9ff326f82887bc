"""`rpc.contracts.store_gateway` across processes. A select streams parts of blocks, as the reader grants credit."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import msgspec

from mimir_rw._native import DecodeError, LabelFrame
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.model.errors import Internal, Overloaded
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.store_gateway import (
    BlockEnd,
    BlockPart,
    FoundNames,
    FoundSeries,
    ServedBlocks,
    StoreGateway,
)
from mimir_rw.rpc.stubs.fields import Fields, closing, read_fields, unpacked
from mimir_rw.rpc.stubs.matchers import MatcherTuple, matcher_tuples, matchers_of
from mimir_rw.rpc.transport import CallContext, Message, RpcPeer, RpcPool, RpcRouter

_SELECT = "store_gateway.select"
_SERIES = "store_gateway.series"
_LABEL_NAMES = "store_gateway.label_names"
_LABEL_VALUES = "store_gateway.label_values"
_SERVED = "store_gateway.served"
_CLIENTS_MAX = 1024

T = TypeVar("T")
_packed = msgspec.msgpack.Encoder().encode
_TEXTS = msgspec.msgpack.Decoder(list[str])


class _Select(Fields, frozen=True):
    blocks: list[str]
    matchers: list[MatcherTuple]
    mint: int
    maxt: int


class _Part(Fields, frozen=True):
    """ended: the block's parts have all come, or, when not served, none of them count."""

    block: str
    series: int = 0
    ended: bool = False
    served: bool = True
    reason: str = ""


class _Series(Fields, frozen=True):
    blocks: list[str]
    matcher_sets: list[list[MatcherTuple]]
    mint: int
    maxt: int


class _Labels(Fields, frozen=True):
    """name: of the label whose values are asked for."""

    blocks: list[str]
    matchers: list[MatcherTuple]
    mint: int
    maxt: int
    name: str = ""


class _Asked(Fields, frozen=True):
    blocks: tuple[str, ...]


class _Served(Fields, frozen=True):
    index_at_least_s: int = 0


class _ServedBlocks(Fields, frozen=True):
    index_updated_at_s: int
    blocks: tuple[str, ...]
    set_aside: tuple[tuple[str, str], ...] = ()


class StoreGatewayClient:
    """A `StoreGateway` in another process."""

    def __init__(self, peer: RpcPeer, *, offload: Offload, timeout_s: float) -> None:
        """timeout_s: longest time of a question; callers end it sooner by leaving."""
        self._peer = peer
        self._offload = offload
        self._timeout_s = timeout_s

    async def select(
        self, tenant: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> AsyncIterator[BlockPart | BlockEnd]:
        """See `StoreReads`."""
        fields = _Select(list(blocks), matcher_tuples(matchers), mint, maxt)
        messages = closing(
            self._peer.stream(_SELECT, Message(fields.as_header()), tenant=tenant, timeout_s=self._timeout_s)
        )
        async with contextlib.aclosing(messages):
            async for message in messages:
                part = read_fields(message.header, _Part)
                if part.ended:
                    yield BlockEnd(part.block, part.served, part.reason)
                else:
                    yield BlockPart(part.block, part.series, message.payload)

    async def series(
        self, tenant: str, blocks: Sequence[str], matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> FoundSeries:
        """See `StoreReads`."""
        fields = _Series(list(blocks), [matcher_tuples(matchers) for matchers in matcher_sets], mint, maxt)
        answer = await self._ask(_SERIES, fields, tenant)
        try:
            labels = await self._offload.run(LabelFrame.from_bytes, answer.payload)
        except DecodeError as error:
            raise Internal(f"{self._peer.address} sent an answer that does not decode: {error}") from error
        return FoundSeries(labels, read_fields(answer.header, _Asked).blocks)

    async def label_names(
        self, tenant: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> FoundNames:
        """See `StoreReads`."""
        return await self._names(_LABEL_NAMES, _Labels(list(blocks), matcher_tuples(matchers), mint, maxt), tenant)

    async def label_values(
        self, tenant: str, name: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> FoundNames:
        """See `StoreReads`."""
        fields = _Labels(list(blocks), matcher_tuples(matchers), mint, maxt, name)
        return await self._names(_LABEL_VALUES, fields, tenant)

    async def served(self, tenant: str, *, index_at_least_s: int = 0) -> ServedBlocks:
        """See `StoreGateway`."""
        answer = await self._ask(_SERVED, _Served(index_at_least_s), tenant)
        found = read_fields(answer.header, _ServedBlocks)
        return ServedBlocks(found.index_updated_at_s, found.blocks, found.set_aside)

    async def _names(self, method: str, fields: Fields, tenant: str) -> FoundNames:
        answer = await self._ask(method, fields, tenant)
        return FoundNames(unpacked(_TEXTS, answer.payload), read_fields(answer.header, _Asked).blocks)

    async def _ask(self, method: str, fields: Fields, tenant: str) -> Message:
        return await self._peer.call(method, Message(fields.as_header()), tenant=tenant, timeout_s=self._timeout_s)


class StoreGatewayClients:
    """Store-gateways in other processes."""

    def __init__(self, pool: RpcPool, *, offload: Offload, timeout_s: float) -> None:
        """timeout_s: see `StoreGatewayClient`."""
        self._pool = pool
        self._offload = offload
        self._timeout_s = timeout_s
        self._clients: dict[str, StoreGatewayClient] = {}

    def peer(self, address: str) -> StoreGatewayClient:
        """By the address in the ring."""
        found = self._clients.get(address)
        if found is None:
            if len(self._clients) >= _CLIENTS_MAX:
                del self._clients[next(iter(self._clients))]
            peer = self._pool.peer(address)
            found = self._clients[address] = StoreGatewayClient(peer, offload=self._offload, timeout_s=self._timeout_s)
        return found


# -- the answering side ---------------------------------------------------------------------------------------------


def register_store_gateway(router: RpcRouter, gateway: StoreGateway, *, offload: Offload) -> None:
    """Answer for the store-gateway of this process."""
    answering = _Answering(gateway, offload)
    router.stream(_SELECT, answering.select)
    router.unary(_SERIES, answering.series)
    router.unary(_LABEL_NAMES, answering.label_names)
    router.unary(_LABEL_VALUES, answering.label_values)
    router.unary(_SERVED, answering.served)


class _Answering:
    def __init__(self, gateway: StoreGateway, offload: Offload) -> None:
        self._gateway = gateway
        self._offload = offload

    async def select(self, context: CallContext, message: Message) -> AsyncIterator[Message]:
        asked = read_fields(message.header, _Select)
        found = closing(
            self._gateway.select(context.tenant, asked.blocks, matchers_of(asked.matchers), asked.mint, asked.maxt)
        )
        async with contextlib.aclosing(found):
            async for item in found:
                if isinstance(item, BlockPart):
                    yield Message(_Part(item.block, item.series).as_header(), item.data)
                else:
                    end = _Part(item.block, ended=True, served=item.served, reason=item.reason)
                    yield Message(end.as_header())

    async def series(self, context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Series)
        sets = [matchers_of(tuples) for tuples in asked.matcher_sets]
        found = await self._gateway.series(context.tenant, asked.blocks, sets, asked.mint, asked.maxt)
        return Message(_Asked(found.blocks).as_header(), await self._run(found.labels.to_bytes))

    async def label_names(self, context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Labels)
        found = await self._gateway.label_names(
            context.tenant, asked.blocks, matchers_of(asked.matchers), asked.mint, asked.maxt
        )
        return Message(_Asked(found.blocks).as_header(), _packed(found.names))

    async def label_values(self, context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Labels)
        found = await self._gateway.label_values(
            context.tenant, asked.name, asked.blocks, matchers_of(asked.matchers), asked.mint, asked.maxt
        )
        return Message(_Asked(found.blocks).as_header(), _packed(found.names))

    async def served(self, context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Served)
        found = await self._gateway.served(context.tenant, index_at_least_s=asked.index_at_least_s)
        return Message(_ServedBlocks(found.index_updated_at_s, found.blocks, found.set_aside).as_header())

    async def _run(self, fn: Callable[[], T]) -> T:
        try:
            return await self._offload.run(fn)
        except OffloadFull as error:
            raise Overloaded(str(error)) from error
