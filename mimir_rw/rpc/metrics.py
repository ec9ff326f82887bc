"""Metrics of calls between processes. One set a process, shared by all connections."""

from __future__ import annotations

from mimir_rw.kit.metrics import Counter, Family, Gauge, Histogram, Metrics
from mimir_rw.model.errors import Cancelled, MimirError
from mimir_rw.rpc.errors import error_kind

_ROUTES = {
    "ingester.push": "/cortex.Ingester/Push",
    "ingester.select": "/cortex.Ingester/QueryStream",
    "ingester.series": "/cortex.Ingester/MetricsForLabelMatchers",
    "ingester.label_names": "/cortex.Ingester/LabelNames",
    "ingester.label_values": "/cortex.Ingester/LabelValues",
    "ingester.metadata": "/cortex.Ingester/MetricsMetadata",
    "ingester.all_user_stats": "/cortex.Ingester/AllUserStats",
    "scheduler.enqueue": "/schedulerpb.SchedulerForFrontend/FrontendLoop",
    "scheduler.pull": "/schedulerpb.SchedulerForQuerier/QuerierLoop",
    "frontend.deliver": "/frontendv2pb.FrontendForQuerier/QueryResult",
}
"""Names that Mimir's dashboards know the methods by."""


class Traffic:
    """Of one side: the connections accepted, or those made."""

    def __init__(self, side: str, families: RpcMetrics) -> None:
        self._side = side
        self._families = families
        self.connections: Gauge = families.connections.labels(side)
        self.received_bytes: Counter = families.bytes.labels(side, "received")
        self.sent_bytes: Counter = families.bytes.labels(side, "sent")
        self.inflight: Gauge = families.inflight.labels(side)
        self.silent_peers: Counter = families.silent_peers.labels(side)
        self._methods: dict[str, MethodTraffic] = {}

    def opened(self) -> None:
        self.connections.inc()

    def closed(self) -> None:
        self.connections.dec()

    def handshake_failed(self, reason: str) -> None:
        self._families.handshake_failures.labels(self._side, reason).inc()

    def method(self, name: str) -> MethodTraffic:
        """Of one method; names are those that the program registers or calls, so their number is bounded."""
        found = self._methods.get(name)
        if found is None:
            found = self._methods[name] = MethodTraffic(self._side, name, self._families)
        return found


class MethodTraffic:
    """Calls of one method, by how they ended."""

    __slots__ = ("_duration", "_families", "_name", "_ok", "_route", "_side")

    def __init__(self, side: str, name: str, families: RpcMetrics) -> None:
        self._side, self._name, self._families = side, name, families
        self._duration = families.durations.labels(side, name)
        self._ok = families.requests.labels(side, name, "ok")
        self._route = _ROUTES.get(name) if side == "server" else None

    def ended(self, seconds: float, error: MimirError | None) -> None:
        if error is None:
            self._ok.value += 1.0
        else:
            self._families.requests.labels(self._side, self._name, error_kind(error)).inc()
        self._duration.observe(seconds)
        if self._route is not None and self._families.served is not None:
            status = "success" if error is None else "cancel" if isinstance(error, Cancelled) else "error"
            self._families.served.labels("gRPC", self._route, status, "false").observe(seconds)


class RpcMetrics:
    """Registers the families; `server` and `client` are what the two sides count with."""

    def __init__(self, metrics: Metrics, *, served: Family[Histogram] | None = None) -> None:
        """served: durations of all requests that the process answers (method, route, status_code, ws), as Mimir has
        them; calls are counted there too."""
        self.served = served
        self.requests = metrics.counters(
            "mimir_rw_rpc_requests_total",
            "Calls between processes that have ended, by side, method and status: ok or the kind of error.",
            ("side", "method", "status"),
        )
        self.durations = metrics.histograms(
            "mimir_rw_rpc_request_duration_seconds", "Duration of calls between processes.", ("side", "method")
        )
        self.inflight = metrics.gauges(
            "mimir_rw_rpc_inflight_requests", "Calls between processes that are going on.", ("side",)
        )
        self.inflight_bytes = metrics.gauge(
            "mimir_rw_rpc_inflight_request_bytes", "Bytes of the requests that this process is answering."
        )
        self.bytes = metrics.counters(
            "mimir_rw_rpc_bytes_total", "Bytes of calls between processes, by direction.", ("side", "direction")
        )
        self.connections = metrics.gauges(
            "mimir_rw_rpc_connections", "Open connections, accepted (server) and made (client).", ("side",)
        )
        self.handshake_failures = metrics.counters(
            "mimir_rw_rpc_handshake_failures_total",
            "Connections that ended before the first call: timeout, incompatible, malformed, refused or unreachable.",
            ("side", "reason"),
        )
        self.silent_peers = metrics.counters(
            "mimir_rw_rpc_silent_peers_total", "Connections given up because the other side was silent.", ("side",)
        )
        self.server = Traffic("server", self)
        self.client = Traffic("client", self)
