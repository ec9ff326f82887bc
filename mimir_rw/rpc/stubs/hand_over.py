"""`rpc.contracts.hand_over` across processes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mimir_rw.model.errors import BadRequest
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.rpc.contracts.hand_over import (
    TENANTS_ASKED_MAX,
    BlockLoader,
    BlocksAsked,
    BlocksServed,
    IndexWriter,
    ReadOnlySeen,
    RecordFollower,
    RecordKnown,
    WritePlanner,
    WrittenIndex,
)
from mimir_rw.rpc.stubs.fields import F, Fields, read_fields, unpacked
from mimir_rw.rpc.transport import CallContext, Message, RpcPeer, RpcRouter

_READ_ONLY = "distributor.sees_read_only"
_REWRITE = "compactor.rewrite_index"
_LOAD = "store_gateway.load_blocks"
_CONFIRM = "querier.confirm_record"


class _Instance(Fields, frozen=True):
    instance: str


class _ReadOnlySeen(Fields, frozen=True):
    seen: bool
    under_way: int = 0


class _Blocks(Fields, frozen=True):
    blocks: tuple[str, ...] = ()


class _WrittenIndex(Fields, frozen=True):
    version: int
    missing: tuple[str, ...] = ()


class _TenantAsked(Fields, frozen=True):
    tenant: str
    mint: int
    maxt: int
    version: int
    blocks: tuple[str, ...] = ()


class _TenantServed(Fields, frozen=True):
    tenant: str
    version: int
    pending: int = 0
    served: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class _Record(Fields, frozen=True):
    name: str
    updated_ms: int


class _RecordKnown(Fields, frozen=True):
    known: bool
    behind: tuple[str, ...] = ()


_ASKED = msgspec.msgpack.Decoder(list[_TenantAsked])
_SERVED = msgspec.msgpack.Decoder(list[_TenantServed])
_packed = msgspec.msgpack.Encoder().encode


class WritePlannerClient:
    """A `WritePlanner` in another process."""

    def __init__(self, peer: RpcPeer, *, timeout_s: float) -> None:
        self._peer = peer
        self._timeout_s = timeout_s

    async def sees_read_only(self, instance_id: str) -> ReadOnlySeen:
        """See `WritePlanner`."""
        found = await _ask(self._peer, _READ_ONLY, _Instance(instance_id), _ReadOnlySeen, self._timeout_s)
        return ReadOnlySeen(found.seen, found.under_way)


class IndexWriterClient:
    """An `IndexWriter` in another process."""

    def __init__(self, peer: RpcPeer, *, timeout_s: float) -> None:
        self._peer = peer
        self._timeout_s = timeout_s

    async def rewrite_index(self, tenant: str, blocks: Sequence[str]) -> WrittenIndex:
        """See `IndexWriter`."""
        asked = _Blocks(tuple(blocks))
        found = await _ask(self._peer, _REWRITE, asked, _WrittenIndex, self._timeout_s, tenant=tenant)
        return WrittenIndex(found.version, found.missing)


class BlockLoaderClient:
    """A `BlockLoader` in another process."""

    def __init__(self, peer: RpcPeer, *, timeout_s: float) -> None:
        self._peer = peer
        self._timeout_s = timeout_s

    async def load_blocks(self, asked: Sequence[BlocksAsked]) -> Sequence[BlocksServed]:
        """See `BlockLoader`. The ids of blocks are in the payload: they are too many for a header."""
        tenants = [
            _TenantAsked(each.range_.tenant, each.range_.mint, each.range_.maxt, each.range_.index_version, each.blocks)
            for each in asked
        ]
        answer = await self._peer.call(_LOAD, Message({}, _packed(tenants)), timeout_s=self._timeout_s)
        return [
            BlocksServed(each.tenant, each.version, each.pending, each.served, each.gone)
            for each in unpacked(_SERVED, answer.payload)
        ]


class RecordFollowerClient:
    """A `RecordFollower` in another process."""

    def __init__(self, peer: RpcPeer, *, timeout_s: float) -> None:
        self._peer = peer
        self._timeout_s = timeout_s

    async def confirm_record(self, name: str, updated_ms: int) -> RecordKnown:
        """See `RecordFollower`."""
        found = await _ask(self._peer, _CONFIRM, _Record(name, updated_ms), _RecordKnown, self._timeout_s)
        return RecordKnown(found.known, found.behind)


# -- the answering side ---------------------------------------------------------------------------------------------


def register_write_planner(router: RpcRouter, planner: WritePlanner) -> None:
    """Answer for a distributor of this process."""

    async def sees_read_only(context: CallContext, message: Message) -> Message:
        found = await planner.sees_read_only(read_fields(message.header, _Instance).instance)
        return Message(_ReadOnlySeen(found.seen, found.under_way).as_header())

    router.unary(_READ_ONLY, sees_read_only)


def register_index_writer(router: RpcRouter, writer: IndexWriter) -> None:
    """Answer for a compactor of this process."""

    async def rewrite_index(context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Blocks)
        found = await writer.rewrite_index(context.tenant, asked.blocks)
        return Message(_WrittenIndex(found.version, found.missing).as_header())

    router.unary(_REWRITE, rewrite_index)


def register_block_loader(router: RpcRouter, loader: BlockLoader) -> None:
    """Answer for a store-gateway of this process."""

    async def load_blocks(context: CallContext, message: Message) -> Message:
        tenants = unpacked(_ASKED, message.payload)
        if len(tenants) > TENANTS_ASKED_MAX:
            raise BadRequest(f"{len(tenants)} tenants in one question, which may have {TENANTS_ASKED_MAX}")
        asked = [
            BlocksAsked(StoredRange(t.tenant, t.mint, t.maxt, t.version, len(t.blocks)), t.blocks) for t in tenants
        ]
        found = await loader.load_blocks(asked)
        answers = [_TenantServed(f.tenant, f.index_version, f.pending, f.served, f.gone) for f in found]
        return Message({}, _packed(answers))

    router.unary(_LOAD, load_blocks)


def register_record_follower(router: RpcRouter, follower: RecordFollower) -> None:
    """Answer for a querier of this process."""

    async def confirm_record(context: CallContext, message: Message) -> Message:
        asked = read_fields(message.header, _Record)
        found = await follower.confirm_record(asked.name, asked.updated_ms)
        return Message(_RecordKnown(found.known, found.behind).as_header())

    router.unary(_CONFIRM, confirm_record)


async def _ask(
    peer: RpcPeer, method: str, question: Fields, answer: type[F], timeout_s: float, *, tenant: str = ""
) -> F:
    message = await peer.call(method, Message(question.as_header()), tenant=tenant, timeout_s=timeout_s)
    return read_fields(message.header, answer)
