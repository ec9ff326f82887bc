"""A route at work: an ASGI callable around one handler.

It finds the tenant, runs the handler, turns errors into answers, compresses where asked for, counts and times, and
keeps the connection in a sound state: what is left of a body is read before an early answer goes out, because the
server stops reading a connection whose application does not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from mimir_rw.api.errors import CLIENT_CLOSED, ErrorStyle, error_answer, text_answer
from mimir_rw.api.exchange import Answer, Call, Receive, Scope, Send
from mimir_rw.api.tenant import TenantResolver
from mimir_rw.api.trace import trace_of
from mimir_rw.api.traffic import TrafficGate
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import Logger
from mimir_rw.kit.metrics import SIZE_BUCKETS, Family, Gauge, Histogram, Metrics
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.tasks import Interrupted, alongside, unless
from mimir_rw.kit.trace import tracing
from mimir_rw.model.errors import Cancelled, Internal, MimirError, Unavailable

Handler = Callable[[Call], Coroutine[Any, Any, Answer]]

GZIP_BYTES_MIN = 4096
_CONNECTION_CLOSE = (b"connection", b"close")


class HttpMetrics:
    """Request metrics under Mimir's names."""

    def __init__(self, metrics: Metrics) -> None:
        self.duration: Family[Histogram] = metrics.histograms(
            "cortex_request_duration_seconds",
            "Time (in seconds) spent serving HTTP requests.",
            ("method", "route", "status_code", "ws"),
        )
        self.inflight: Family[Gauge] = metrics.gauges(
            "cortex_inflight_requests", "Current number of inflight requests.", ("method", "route")
        )
        self.request_bytes: Family[Histogram] = metrics.histograms(
            "cortex_request_message_bytes", "Size (in bytes) of messages received.", ("method", "route"), SIZE_BUCKETS
        )
        self.response_bytes: Family[Histogram] = metrics.histograms(
            "cortex_response_message_bytes", "Size (in bytes) of messages sent.", ("method", "route"), SIZE_BUCKETS
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all endpoints share."""

    clock: Clock
    offload: Offload
    metrics: HttpMetrics
    tenants: TenantResolver
    traffic: TrafficGate
    log: Logger
    rng: Rng
    read_seconds_max: float = 30.0
    """Longest time for reading a request."""
    start_seconds_max: float = 0.0
    """How long a request that may wait does so while the components start."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    route: str
    """Value of the route label."""
    auth: bool = False
    gated: bool = False
    """Does it need the components of this process, which start after the server and stop before it?"""
    waits: bool = False
    """Does it wait a moment for them to start? A gateway has few tries; one that found a process starting is lost."""
    errors: ErrorStyle = ErrorStyle.TEXT
    gzip: bool = False
    """May the answer be compressed when the client asks for it?"""
    form_bytes_max: int = 0
    """When not 0, the body is read before the handler runs and stands in `call.form`."""
    cancel_on_disconnect: bool = False
    """Is the handler cancelled when the client goes away? It must leave the reading of the body to the endpoint."""


@dataclass(frozen=True, slots=True)
class _Counts:
    inflight: Gauge
    request_bytes: Histogram
    response_bytes: Histogram


class Endpoint:
    """One (path, method)."""

    __slots__ = ("_around", "_counts", "_durations", "_handler", "_method", "_spec")

    def __init__(self, *, spec: EndpointSpec, method: str, handler: Handler, around: Surroundings) -> None:
        self._spec = spec
        self._method = method
        self._handler = handler
        self._around = around
        self._counts: _Counts | None = None
        self._durations: dict[int, Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with tracing(trace_of(scope, self._around.rng)):
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        around = self._around
        started = around.clock.monotonic()
        call = Call(scope, receive, around.read_seconds_max)
        counts = self._counts or self._first_call()
        counts.inflight.value += 1
        around.traffic.inflight += self._spec.gated
        status = CLIENT_CLOSED
        try:
            answer = await self._answer(call)
            status = answer.status
            if call.gone:
                return
            if self._spec.gzip:
                await self._compress(call, answer)
            await self._send(call, answer, send)
            counts.response_bytes.observe(len(answer.body))
        finally:
            counts.inflight.value -= 1
            if self._spec.gated:
                around.traffic.left()
            counts.request_bytes.observe(call.body_bytes)
            self._duration(status).observe(around.clock.monotonic() - started)

    def _first_call(self) -> _Counts:
        """Metrics of a route appear with its first request: most pairs of route and method never see one."""
        metrics, labels = self._around.metrics, (self._method, self._spec.route)
        self._counts = _Counts(
            metrics.inflight.labels(*labels),
            metrics.request_bytes.labels(*labels),
            metrics.response_bytes.labels(*labels),
        )
        return self._counts

    async def _answer(self, call: Call) -> Answer:
        """The handler's answer, or the one for what it raised."""
        spec = self._spec
        try:
            if spec.gated and not self._around.traffic.open:
                await self._wait_open()
            if spec.auth:
                call.tenant = self._around.tenants.resolve(call.scope)
            if spec.form_bytes_max:
                call.form = await call.body(spec.form_bytes_max)
            if spec.cancel_on_disconnect:
                return await unless(self._handler(call), call.wait_gone())
            return await self._handler(call)
        except Interrupted:
            return error_answer(Cancelled("the client went away"), spec.errors)
        except MimirError as error:
            return self._refusal(call, error)
        except OffloadFull as error:
            return self._refusal(call, Unavailable(str(error)))
        except Exception:
            self._around.log.exception("request failed unexpectedly", route=spec.route, tenant=call.tenant)
            return error_answer(Internal("internal error; the log of this process has the details"), spec.errors)

    async def _wait_open(self) -> None:
        """Raises Unavailable when the components do not run, soon enough for a request that may wait."""
        around = self._around
        if self._spec.waits:
            await around.traffic.wait_open(around.start_seconds_max)
        if not around.traffic.open:
            raise Unavailable(around.traffic.refusal())

    def _refusal(self, call: Call, error: MimirError) -> Answer:
        spec = self._spec
        answer = error_answer(error, spec.errors)
        if answer.status >= 500:
            self._around.log.warning(
                "request failed", route=spec.route, tenant=call.tenant, status=answer.status, err=str(error)
            )
        return answer

    async def _compress(self, call: Call, answer: Answer) -> None:
        encoding = call.header(b"accept-encoding")
        answer.headers = (*answer.headers, (b"vary", b"Accept-Encoding"))
        if encoding is not None and b"gzip" in encoding and len(answer.body) >= GZIP_BYTES_MIN:
            answer.body = await self._around.offload.run(gzip_fast, answer.body)
            answer.headers = (*answer.headers, (b"content-encoding", b"gzip"))

    async def _send(self, call: Call, answer: Answer, send: Send) -> None:
        whole = call.body_ended or await call.discard()
        headers = [(b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body))]
        headers.extend(answer.headers)
        if (self._around.traffic.closing or not whole) and call.scope["http_version"] in ("1.0", "1.1"):
            headers.append(_CONNECTION_CLOSE)
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        if whole:
            await send(start)
            await send({"type": "http.response.body", "body": answer.body})
            return
        # The server waits for its queue to take the end of the stream; a client that still sends has filled it.
        async with alongside(call.wait_gone()):
            await send(start)
            await send({"type": "http.response.body", "body": answer.body})

    def _duration(self, status: int) -> Histogram:
        child = self._durations.get(status)
        if child is None:
            family = self._around.metrics.duration
            child = self._durations[status] = family.labels(self._method, self._spec.route, str(status), "false")
        return child


class PathEndpoint:
    """All methods of one path; others get 405."""

    __slots__ = ("_around", "_by_method", "_refuse")

    def __init__(self, *, by_method: Mapping[str, Endpoint], route: str, around: Surroundings) -> None:
        self._by_method = dict(by_method)
        allow = ", ".join(sorted(self._by_method)).encode()

        async def refuse(call: Call) -> Answer:
            return text_answer(405, "method not allowed", ((b"allow", allow),))

        self._refuse = Endpoint(spec=EndpointSpec(route), method="other", handler=refuse, around=around)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._by_method.get(scope["method"], self._refuse)(scope, receive, send)


def gzip_fast(body: bytes) -> bytes:
    """gzip at the fastest level: query results are text, which shrinks well at any."""
    packer = zlib.compressobj(level=1, wbits=31)
    return packer.compress(body) + packer.flush()
