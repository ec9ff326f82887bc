"""The write API: remote write, and the page about what tenants send."""

from __future__ import annotations

from typing import Protocol

import msgspec

from mimir_rw.api import pages
from mimir_rw.api.errors import text_answer, text_status
from mimir_rw.api.exchange import JSON_TYPE, Answer, BodyStore, Call, Headers
from mimir_rw.config.limits import Limits
from mimir_rw.model.errors import Cancelled, MimirError, TooLarge, Unavailable, UnsupportedMedia
from mimir_rw.rpc.contracts.distributor import Distributor, PartlyStored, Written
from mimir_rw.rpc.contracts.ingester import TenantStats

_OVERLOADED = 529
_MESSAGES = {b"prometheus.WriteRequest": 1, b"io.prometheus.write.v2.Request": 2}
_PROTOBUF = b"application/x-protobuf"
_UNSAID = b"application/x-www-form-urlencoded"
"""What some clients send with a body when they are told no type."""


class StatsSource(Protocol):
    async def all_user_stats(self) -> list[TenantStats]: ...


class RetryRule(Protocol):
    def __call__(self, status: int, attempt: int) -> int | None:
        """Seconds for Retry-After of an answer with this status to the attempt-th try, None for no header."""
        ...


class PushApi:
    def __init__(
        self,
        *,
        distributor: Distributor,
        stats: StatsSource,
        limits: Limits,
        body_bytes_max: int,
        bodies_bytes_max: int,
        retry_after_s: RetryRule,
        root: str,
    ) -> None:
        """body_bytes_max: of one push. bodies_bytes_max: of all that are being received or worked on; 0: no bound."""
        self._distributor = distributor
        self._stats = stats
        self._limits = limits
        self._body_bytes_max = body_bytes_max
        self.bodies = BodyStore(bodies_bytes_max, self._no_room)
        self._retry_after_s = retry_after_s
        self._root = root

    async def push(self, call: Call) -> Answer:
        """Remote write 1.0 and 2.0. With an empty body once every valid series is stored: 200, and 204 of 2.0."""
        version = 1
        try:
            version = _version(call)
            body = await call.body(self._body_bytes_max, over=self._too_large, store=self.bodies)
            written = await self._distributor.push_remote_write(call.tenant, body, version=version)
        except Cancelled:
            raise
        except MimirError as error:
            stored = error.written if isinstance(error, PartlyStored) else Written()
            return self._refusal(call, error, _counts(version, stored))
        finally:
            self.bodies.give_back(call.stored_bytes)
        return Answer(200) if version == 1 else Answer(204, headers=_counts(version, written))

    async def all_user_stats(self, call: Call) -> Answer:
        stats = sorted(await self._stats.all_user_stats(), key=lambda each: each.tenant)
        if call.accepts(b"application/json"):
            return Answer(200, msgspec.json.encode([_stats_json(each) for each in stats]), JSON_TYPE)
        rows = [(each.tenant, each.series, each.ingestion_rate) for each in stats]
        columns = ("Tenant", "Series", "Samples per second")
        return pages.page(
            "Usage of each tenant",
            pages.table(columns, rows, empty="No tenant has sent anything yet."),
            root=self._root,
        )

    def _refusal(self, call: Call, error: MimirError, counts: Headers) -> Answer:
        status = text_status(error)
        if status == 429 and self._limits.for_tenant(call.tenant).service_overload_status_code_on_rate_limit_enabled:
            status = _OVERLOADED
        attempt = call.header(b"retry-attempt") or b"0"
        tries = int(attempt) if attempt.isdigit() and len(attempt) < 10 else 0
        seconds = self._retry_after_s(status, tries)
        headers = ((b"retry-after", b"%d" % seconds),) if seconds is not None else ()
        return text_answer(status, str(error), (*headers, *counts))

    def _no_room(self) -> Unavailable:
        return Unavailable(
            f"the bodies of pushes in work hold {self.bodies.held} bytes and may hold {self.bodies.bytes_max}; "
            "to change the limit, set -distributor.max-receiving-bytes or ask your service administrator"
        )

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the incoming push request has a body of at least {size} bytes, over the limit of {self._body_bytes_max} "
            "bytes; to change the limit, set -distributor.max-recv-msg-size or ask your service administrator",
            error_id="distributor-max-write-message-size",
        )


def _version(call: Call) -> int:
    """Which remote write the body is of; by the content type only (remote-write.md 1). Raises UnsupportedMedia for
    what is no remote write: a sender that is told 415 falls back to 1.0."""
    encoding = (call.header(b"content-encoding") or b"snappy").strip().lower()
    if encoding != b"snappy":
        raise UnsupportedMedia(f"content encoding {_shown(encoding)} is not supported; use snappy")
    media, *parameters = (call.header(b"content-type") or _PROTOBUF).split(b";")
    if media.strip().lower() not in (_PROTOBUF, _UNSAID):
        raise UnsupportedMedia(f"content type {_shown(media.strip())} is not supported; use {_PROTOBUF.decode()}")
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        message = value.strip().strip(b'"')
        if name.strip().lower() == b"proto":
            version = _MESSAGES.get(message)
            if version is None:
                use = " or ".join(known.decode() for known in _MESSAGES)
                raise UnsupportedMedia(f"remote write message {_shown(message)} is not supported; use {use}")
            return version
    return 1


def _counts(version: int, written: Written) -> Headers:
    """What every answer to a 2.0 request says of what is stored; of 1.0 none does."""
    if version == 1:
        return ()
    counts = (
        (b"samples", written.samples),
        (b"histograms", written.histograms),
        (b"exemplars", written.exemplars),
    )
    return tuple((b"x-prometheus-remote-write-%s-written" % what, b"%d" % count) for what, count in counts)


def _shown(header: bytes) -> str:
    return ascii(header[:100].decode("latin-1"))


def _stats_json(stats: TenantStats) -> dict[str, object]:
    return {
        "userID": stats.tenant,
        "ingestionRate": stats.ingestion_rate,
        "numSeries": stats.series,
        "APIIngestionRate": stats.ingestion_rate,
        "RuleIngestionRate": 0,
    }
