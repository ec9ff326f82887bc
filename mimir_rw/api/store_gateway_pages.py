"""What a store-gateway tells of itself: tenants, the blocks of one; and the switch for one that leaves for good. Paths
and answers are Mimir's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

import msgspec

from mimir_rw.api import pages
from mimir_rw.api.errors import text_answer
from mimir_rw.api.exchange import JSON_TYPE, Answer, Call
from mimir_rw.api.form import read_text_form
from mimir_rw.api.params import first
from mimir_rw.model.errors import NotFound
from mimir_rw.model.tenant import validate_tenant

_NO_STORE = (b"cache-control", b"no-store")


class IndexedBlock(Protocol):
    """What the index says of a block."""

    @property
    def ulid(self) -> str: ...
    @property
    def min_time(self) -> int: ...
    @property
    def max_time(self) -> int: ...
    @property
    def uploaded_at_s(self) -> int: ...
    @property
    def level(self) -> int: ...
    @property
    def shard_id(self) -> str: ...
    @property
    def source(self) -> str: ...


class IndexedMark(Protocol):
    @property
    def ulid(self) -> str: ...
    @property
    def deletion_time_s(self) -> int: ...


class Index(Protocol):
    @property
    def blocks(self) -> Sequence[IndexedBlock]: ...
    @property
    def deletion_marks(self) -> Sequence[IndexedMark]: ...
    @property
    def updated_at_s(self) -> int:
        """0: there is none."""


class TenantBlocks(Protocol):
    @property
    def index(self) -> Index: ...
    @property
    def owned(self) -> Sequence[IndexedBlock]:
        """Those that this store-gateway has at hand."""


class Blocks(Protocol):
    """What there is, as it was last looked at."""

    def tenants(self) -> Sequence[str]: ...

    def of(self, tenant: str) -> TenantBlocks: ...


class Gateway(Protocol):
    @property
    def blocks(self) -> Blocks: ...

    def damaged(self, tenant: str) -> Sequence[tuple[str, str]]:
        """Blocks that cannot be read, and why."""
        ...

    async def prepare_shutdown(self, wanted: bool | None) -> bool:
        """Whether it leaves the ring at its next stop; wanted: that it does, or not."""
        ...


class StoreGatewayPages:
    def __init__(self, *, gateway: Gateway, root: str) -> None:
        self._gateway = gateway
        self._root = root

    async def tenants(self, call: Call) -> Answer:
        blocks = self._gateway.blocks
        rows = []
        for tenant in blocks.tenants():
            found = blocks.of(tenant)
            place = f"{self._root}/store-gateway/tenant/{quote(tenant, safe='')}/blocks"
            damaged = len(self._gateway.damaged(tenant))
            rows.append((pages.link(place, tenant), len(found.owned), damaged, _seconds(found.index.updated_at_s)))
        if call.accepts(b"application/json"):
            return _json({"tenants": list(blocks.tenants())})
        columns = ("Tenant", "Blocks of this store-gateway", "Damaged", "Bucket index of")
        table = pages.table(columns, rows, empty="No tenant has blocks here.")
        return pages.page("Tenants with blocks here", table, root=self._root)

    async def tenant_blocks(self, call: Call) -> Answer:
        tenant = validate_tenant(call.path_value("tenant"))
        found = self._gateway.blocks.of(tenant)
        if not found.index.updated_at_s and not found.owned:
            raise NotFound(f"tenant {tenant} has no blocks here")
        params = read_text_form(call.query_string, b"", None)
        owned = {block.ulid for block in found.owned}
        marked = {mark.ulid: mark.deletion_time_s for mark in found.index.deletion_marks}
        damaged = dict(self._gateway.damaged(tenant))
        shown = [
            block for block in found.index.blocks if first(params, "show_deleted") == "on" or block.ulid not in marked
        ]
        if call.accepts(b"application/json"):
            return _json(
                {
                    "tenant": tenant,
                    "index_updated_at": found.index.updated_at_s,
                    "blocks": [_document(block, owned, marked, damaged) for block in shown],
                }
            )
        rows = [
            (
                block.ulid,
                _time(block.min_time),
                _time(block.max_time),
                block.level,
                block.shard_id,
                block.source,
                _seconds(block.uploaded_at_s),
                "yes" if block.ulid in owned else "",
                _seconds(marked[block.ulid]) if block.ulid in marked else "",
                damaged.get(block.ulid, ""),
            )
            for block in shown
        ]
        columns = (
            "Block", "From", "To", "Level", "Shard", "Source", "Uploaded", "At hand", "Marked for deletion", "Damage",
        )  # fmt: skip
        note = pages.note(f"By the bucket index of {_seconds(found.index.updated_at_s)}.")
        table = pages.table(columns, rows, empty="The tenant has no blocks.")
        return pages.page(f"Blocks of tenant {tenant}", note, table, root=self._root, wide=True)

    async def prepare_shutdown(self, call: Call) -> Answer:
        """POST: leave the ring at the next stop. DELETE: as configured. GET says which it is."""
        if call.method in ("POST", "DELETE"):
            if call.header(b"origin") is not None:
                return text_answer(403, "not from a page of another site")
            await self._gateway.prepare_shutdown(call.method == "POST")
            return Answer(204)
        return text_answer(200, "set" if await self._gateway.prepare_shutdown(None) else "unset")


def _document(
    block: IndexedBlock, owned: set[str], marked: dict[str, int], damaged: dict[str, str]
) -> dict[str, object]:
    return {
        "block_id": block.ulid,
        "min_time": block.min_time,
        "max_time": block.max_time,
        "compaction_level": block.level,
        "compactor_shard_id": block.shard_id,
        "uploaded_at": block.uploaded_at_s,
        "at_hand": block.ulid in owned,
        "deletion_time": marked.get(block.ulid, 0),
        "damage": damaged.get(block.ulid, ""),
    }


def _json(document: object) -> Answer:
    return Answer(200, msgspec.json.encode(document), JSON_TYPE, (_NO_STORE,))


def _seconds(seconds: int) -> str:
    return _time(seconds * 1000) if seconds else "never"


def _time(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(" ", "seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
