"""An ingester's leaving, as operators start, watch and end it (docs/hand-over.md)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from mimir_rw.api import pages
from mimir_rw.api.exchange import JSON_TYPE, Answer, Call

REFRESH_S = 5
STEPS = (
    "Read-only: distributors see it",
    "Flush and ship",
    "Index: compactors rewrite it",
    "Load: store-gateways serve the blocks",
    "Record: queriers know where the samples are",
    "Leave the ring",
)


class Report(Protocol):
    @property
    def status(self) -> str:
        """idle, running, stuck, going back, stayed, left."""

    @property
    def step(self) -> int:
        """1 to 6; 0 when it is not leaving."""

    @property
    def doing(self) -> str: ...
    @property
    def since_ms(self) -> int: ...
    @property
    def waiting(self) -> Sequence[tuple[str, str]]:
        """Who does not confirm, and why."""

    @property
    def tenants(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def record(self) -> str: ...


class Leaving(Protocol):
    """The ingester's hand-over."""

    def report(self) -> Report: ...

    async def leave(self) -> None:
        """Returns when it has left for good. Raises Conflict, Unavailable."""
        ...

    async def abort(self) -> None:
        """Returns when it stays. Raises NotFound, Conflict."""
        ...


def shown(call: Call, report: Report, root: str) -> Answer:
    """The progress, as a page or as JSON."""
    if call.accepts(b"application/json"):
        return Answer(200, msgspec.json.encode(_document(report)), JSON_TYPE, ((b"cache-control", b"no-store"),))
    under_way = report.step > 0
    parts = [pages.paragraph("Status: ", pages.strong(report.status), _doing(report))]
    if under_way:
        rows = [(number, text, _progress(number, report)) for number, text in enumerate(STEPS, 1)]
        parts.append(pages.table(("Step", "What", ""), rows, empty=""))
    if report.waiting:
        parts.append(pages.table(("Does not confirm", "Why"), report.waiting, empty=""))
    if report.tenants:
        parts.append(pages.text(f"{report.blocks} blocks of {report.tenants} tenants are handed over."))
    return pages.page("Hand-over of this ingester", *parts, root=root, refresh_s=REFRESH_S if under_way else 0)


def _document(report: Report) -> dict[str, object]:
    return {
        "status": report.status,
        "step": report.step,
        "doing": report.doing,
        "since_ms": report.since_ms,
        "waiting": [{"who": who, "why": why} for who, why in report.waiting],
        "tenants": report.tenants,
        "blocks": report.blocks,
        "record": report.record,
    }


def _doing(report: Report) -> str:
    if not report.doing:
        return ""
    since = datetime.fromtimestamp(report.since_ms / 1000, UTC).isoformat(" ", "seconds").replace("+00:00", "Z")
    return f", {report.doing} since {since}"


def _progress(number: int, report: Report) -> str:
    if number < report.step:
        return "done"
    return "now" if number == report.step else ""
