"""What an ingester tells of itself: tenants, what one tenant has here; and what whoever takes the group down in size
asks of it: switches of its place in the ring, to flush, to prepare its end, to leave. Paths and answers are Mimir's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import parse_qs, quote

import msgspec

from mimir_rw.api import pages
from mimir_rw.api.errors import text_answer
from mimir_rw.api.exchange import JSON_TYPE, Answer, Call
from mimir_rw.api.hand_over_page import Leaving, shown
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.model.errors import BadRequest, NotFound

SWITCH_BYTES_MAX = 1 << 10
PARAMETERS_MAX = 10_000


class HeadFacts(Protocol):
    """What the page of a tenant shows."""

    @property
    def tenant(self) -> str: ...
    @property
    def series(self) -> int: ...
    @property
    def owned_series(self) -> int:
        """Those that count against the tenant's limits here."""

    @property
    def min_time_ms(self) -> int | None:
        """None while the head is empty."""

    @property
    def max_time_ms(self) -> int | None: ...
    @property
    def oldest_only_here_ms(self) -> int | None:
        """Oldest time of which only this process may have a sample."""

    @property
    def blocks(self) -> Sequence[BlockFacts]: ...
    @property
    def quarantined(self) -> Sequence[tuple[str, str]]:
        """Blocks that are damaged, and how."""


class BlockFacts(Protocol):
    @property
    def meta(self) -> BlockMeta: ...
    @property
    def shipped(self) -> bool: ...


class OpenHeads(Protocol):
    """The ingester."""

    @property
    def shutdown_prepared(self) -> bool:
        """Whether the next stop is to be for good."""

    async def prepare_shutdown(self, prepared: bool) -> None: ...

    async def flush(self, tenants: Collection[str] | None) -> bool:
        """Cut and upload everything that the tenants (None: all) have; whether all went well."""
        ...

    def flush_soon(self, tenants: Collection[str] | None) -> None:
        """The same, without waiting."""

    def heads(self) -> Sequence[HeadFacts]:
        """The open heads, by tenant."""
        ...

    def broken(self) -> Sequence[tuple[str, str]]:
        """Tenants whose log cannot be replayed, and why."""
        ...


class Place(Protocol):
    """The ingester's entry in its ring."""

    unregister_on_shutdown: bool

    @property
    def unregisters_by_default(self) -> bool:
        """What the configuration says."""

    @property
    def read_only_since_s(self) -> int:
        """Unix time; 0: it takes writes."""

    async def set_read_only(self, read_only: bool) -> None:
        """Raises Unavailable."""


class _Unregister(msgspec.Struct, forbid_unknown_fields=True):
    unregister: bool


class IngesterPages:
    def __init__(
        self, *, ingester: OpenHeads, place: Callable[[], Place], leaving: Callable[[], Leaving], root: str
    ) -> None:
        """place, leaving: asked at each request, since they are made after the ingester."""
        self._ingester = ingester
        self._place = place
        self._leaving = leaving
        self._root = root

    async def tenants(self, call: Call) -> Answer:
        rows = [
            (
                pages.link(f"{self._root}/ingester/tsdb/{quote(head.tenant, safe='')}", head.tenant),
                head.series,
                head.owned_series,
                _time(head.min_time_ms),
                _time(head.max_time_ms),
                _time(head.oldest_only_here_ms),
                len(head.blocks),
            )
            for head in self._ingester.heads()
        ]
        columns = (
            "Tenant",
            "Series in memory",
            "Owned series",
            "Oldest sample",
            "Newest sample",
            "Only here from",
            "Blocks",
        )
        parts = [pages.table(columns, rows, empty="No tenant has sent anything yet.")]
        if broken := self._ingester.broken():
            parts.append(pages.table(("Tenant whose requests are refused", "Reason"), broken, empty=""))
        return pages.page("Tenants with data in memory", *parts, root=self._root)

    async def tsdb(self, call: Call) -> Answer:
        tenant = call.path_value("tenant")
        for head in self._ingester.heads():
            if head.tenant == tenant:
                rows = (
                    ("Series in memory", head.series),
                    ("Owned series, which count against limits", head.owned_series),
                    ("Oldest sample", _time(head.min_time_ms)),
                    ("Newest sample", _time(head.max_time_ms)),
                    ("Only here, not in the bucket, from", _time(head.oldest_only_here_ms)),
                )
                parts = [pages.table(("What", "Value"), rows, empty=""), _blocks_table(head.blocks)]
                if head.quarantined:
                    parts.append(pages.table(("Damaged block, set aside", "Reason"), head.quarantined, empty=""))
                return pages.page(f"TSDB of tenant {tenant}", *parts, root=self._root)
        raise NotFound(f"tenant {tenant!r} has no open TSDB in this process")

    async def prepare_downscale(self, call: Call) -> Answer:
        """POST: take no more writes. DELETE: take them again. The answer, also GET's, says since when it does not."""
        place = self._place()
        if call.method in ("POST", "DELETE"):
            if _from_a_page(call):
                return _REFUSED
            await place.set_read_only(call.method == "POST")
        return _json({"timestamp": place.read_only_since_s})

    async def unregister_on_shutdown(self, call: Call) -> Answer:
        """PUT: whether to leave the ring at the next stop. DELETE: as configured."""
        place = self._place()
        if call.method == "PUT":
            try:
                wish = msgspec.json.decode(await call.body(SWITCH_BYTES_MAX), type=_Unregister)
            except msgspec.MsgspecError as error:
                raise BadRequest(f'the body is not {{"unregister": true}} or false: {error}') from None
            place.unregister_on_shutdown = wish.unregister
        elif call.method == "DELETE":
            place.unregister_on_shutdown = place.unregisters_by_default
        return _json({"unregister": place.unregister_on_shutdown})

    async def flush(self, call: Call) -> Answer:
        """Cut and upload, `tenant` by `tenant` or all; the status does not tell whether it went well."""
        if call.method == "POST" and _from_a_page(call):
            return _REFUSED
        params = parse_qs(call.query_string.decode("ascii"), max_num_fields=PARAMETERS_MAX)
        tenants = params.get("tenant")
        if params.get("wait") == ["true"]:
            await self._ingester.flush(tenants)
        else:
            self._ingester.flush_soon(tenants)
        return _NOTHING

    async def prepare_shutdown(self, call: Call) -> Answer:
        """POST: the next stop uploads everything and leaves the ring, after a restart too. DELETE: as configured."""
        if call.method in ("POST", "DELETE"):
            if _from_a_page(call):
                return _REFUSED
            await self._ingester.prepare_shutdown(call.method == "POST")
            return _NOTHING
        return text_answer(200, "set" if self._ingester.shutdown_prepared else "unset")

    async def shutdown(self, call: Call) -> Answer:
        """Hand over, upload everything and leave the ring; the process stays, and is not ready."""
        if _from_a_page(call):
            return _REFUSED
        await self._leaving().leave()
        return _NOTHING

    async def hand_over(self, call: Call) -> Answer:
        """GET: how far it has come. POST: as `shutdown`. DELETE: stay after all."""
        leaving = self._leaving()
        if call.method in ("POST", "DELETE"):
            if _from_a_page(call):
                return _REFUSED
            await (leaving.leave() if call.method == "POST" else leaving.abort())
            return _NOTHING
        return shown(call, leaving.report(), self._root)


_NOTHING = Answer(204)
_REFUSED = text_answer(403, "not from a page of another site")


def _blocks_table(blocks: Sequence[BlockFacts]) -> pages.Markup:
    rows = [
        (
            block.meta.ulid,
            _time(block.meta.min_time),
            _time(block.meta.max_time),
            block.meta.stats.series,
            block.meta.stats.samples,
            "out of order" if block.meta.out_of_order else "in order",
            "yes" if block.shipped else "no",
        )
        for block in blocks
    ]
    columns = ("Block", "From", "To", "Series", "Samples", "Samples came", "In the bucket")
    return pages.table(columns, rows, empty="No local blocks.")


def _from_a_page(call: Call) -> bool:
    """Browsers name the page that a POST comes from; nobody else does."""
    return call.header(b"origin") is not None


def _json(document: object) -> Answer:
    return Answer(200, msgspec.json.encode(document), JSON_TYPE, ((b"cache-control", b"no-store"),))


def _time(ms: int | None) -> str:
    if ms is None:
        return "none"
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(" ", "milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
