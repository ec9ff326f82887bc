"""Pages about what an ingester holds: tenants, and one tenant's head."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

from mimir_rw.api import pages
from mimir_rw.api.exchange import Answer, Call
from mimir_rw.model.errors import NotFound


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


class IngesterPages:
    def __init__(self, *, ingester: OpenHeads, root: str) -> None:
        self._ingester = ingester
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


def _time(ms: int | None) -> str:
    if ms is None:
        return "none"
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(" ", "milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
