"""What an ingester tells of itself: tenants, one tenant's head; and two switches of its place in the ring, for whoever
takes the group down in size. Their paths and answers are Mimir's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

import msgspec

from mimir_rw.api import pages
from mimir_rw.api.errors import text_answer
from mimir_rw.api.exchange import JSON_TYPE, Answer, Call
from mimir_rw.model.errors import BadRequest, NotFound

SWITCH_BYTES_MAX = 1 << 10


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


class OpenHeads(Protocol):
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
    def __init__(self, *, ingester: OpenHeads, place: Callable[[], Place], root: str) -> None:
        """place: asked at each request, since it is made after the ingester."""
        self._ingester = ingester
        self._place = place
        self._root = root

    async def tenants(self, call: Call) -> Answer:
        rows = [
            (
                pages.link(f"{self._root}/ingester/tsdb/{quote(head.tenant, safe='')}", head.tenant),
                head.series,
                head.owned_series,
                _time(head.min_time_ms),
                _time(head.max_time_ms),
            )
            for head in self._ingester.heads()
        ]
        columns = ("Tenant", "Series in memory", "Owned series", "Oldest sample", "Newest sample")
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
                )
                return pages.page(
                    f"Head of tenant {tenant}", pages.table(("What", "Value"), rows, empty=""), root=self._root
                )
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


_REFUSED = text_answer(403, "not from a page of another site")


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
