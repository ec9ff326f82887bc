"""The one table of routes: path, methods, component, authentication, handler.

Paths are matched as sent: percent-encoded segments stay encoded. `{P}` at the start stands for the Prometheus prefix
(`-http.prometheus-http-prefix`). `nginx/` and `targets/` are held against this table by tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimir_rw.api.admin import AdminApi
from mimir_rw.api.block_upload import BlockUploadApi
from mimir_rw.api.compactor_pages import CompactorPages
from mimir_rw.api.endpoint import EndpointSpec
from mimir_rw.api.errors import ErrorStyle
from mimir_rw.api.ingester_pages import IngesterPages
from mimir_rw.api.memberlist_pages import MemberlistPages
from mimir_rw.api.push import PushApi
from mimir_rw.api.query import QueryApi
from mimir_rw.api.ring_pages import RingPages
from mimir_rw.api.store_gateway_pages import StoreGatewayPages

SERVER = "server"
"""The component that every process has; its routes work while the others start and stop."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Each is "" or begins with a slash and does not end in one."""

    root: str = ""
    prometheus: str = "/prometheus"


@dataclass(frozen=True, slots=True)
class Route:
    """A row. handler: a method of the class that serves the component's routes."""

    path: str
    methods: tuple[str, ...]
    component: str
    handler: Any
    auth: bool = False
    errors: ErrorStyle = ErrorStyle.TEXT
    hot: bool = False
    """Dispatched before the router."""
    title: str = ""
    """Link text on the index page; "" leaves it out."""

    def full_path(self, prefixes: Prefixes) -> str:
        return prefixes.root + self.path.replace("{P}", prefixes.prometheus, 1)

    def endpoint_spec(self, label: str, form_bytes_max: int) -> EndpointSpec:
        query = self.errors is ErrorStyle.QUERY
        return EndpointSpec(
            route=label,
            auth=self.auth,
            gated=self.component not in EVERYWHERE,
            waits=self.component == FRONTEND,
            errors=self.errors,
            gzip=query or self.path == "/metrics",
            form_bytes_max=form_bytes_max if query else 0,
            cancel_on_disconnect=query,
        )


CLUSTER = "cluster"
"""Pages about the whole cluster; every process has them, they need nothing but what it has heard."""
GOSSIP = "gossip"
"""The page of the gossip between processes; every process has it."""
FRONTEND = "query-frontend"
EVERYWHERE = (SERVER, CLUSTER, GOSSIP)
_GET = ("GET", "HEAD")
_POST = ("POST",)
_GET_POST = ("GET", "HEAD", "POST")
_SWITCH = ("GET", "HEAD", "POST", "DELETE")
_PUT_SWITCH = ("GET", "HEAD", "PUT", "DELETE")
_QUERY = ErrorStyle.QUERY

ROUTES: tuple[Route, ...] = (
    Route("/api/v1/push", ("POST",), "distributor", PushApi.push, auth=True, errors=ErrorStyle.PUSH, hot=True),
    Route("{P}/api/v1/query", _GET_POST, FRONTEND, QueryApi.query, auth=True, errors=_QUERY, hot=True),
    Route("{P}/api/v1/query_range", _GET_POST, FRONTEND, QueryApi.query_range, auth=True, errors=_QUERY, hot=True),
    Route("{P}/api/v1/series", _GET_POST, FRONTEND, QueryApi.series, auth=True, errors=_QUERY),
    Route("{P}/api/v1/labels", _GET_POST, FRONTEND, QueryApi.label_names, auth=True, errors=_QUERY),
    Route("{P}/api/v1/label/{name}/values", _GET, FRONTEND, QueryApi.label_values, auth=True, errors=_QUERY),
    Route("{P}/api/v1/metadata", _GET, FRONTEND, QueryApi.metadata, auth=True, errors=_QUERY),
    Route("{P}/api/v1/format_query", _GET_POST, FRONTEND, QueryApi.format_query, auth=True, errors=_QUERY),
    Route("{P}/api/v1/parse_query", _GET_POST, FRONTEND, QueryApi.parse_query, auth=True, errors=_QUERY),
    Route("{P}/api/v1/query_exemplars", _GET_POST, FRONTEND, QueryApi.exemplars, auth=True, errors=_QUERY),
    Route("{P}/api/v1/status/buildinfo", _GET, SERVER, AdminApi.buildinfo),
    Route("/distributor/all_user_stats", _GET, "distributor", PushApi.all_user_stats, title="Usage of each tenant"),
    Route("/ingester/tenants", _GET, "ingester", IngesterPages.tenants, title="Tenants with data in memory"),
    Route("/ingester/tsdb/{tenant}", _GET, "ingester", IngesterPages.tsdb),
    Route("/ingester/flush", _GET_POST, "ingester", IngesterPages.flush),
    Route("/ingester/shutdown", ("POST",), "ingester", IngesterPages.shutdown),
    Route("/ingester/hand-over", _SWITCH, "ingester", IngesterPages.hand_over, title="Hand-over of this ingester"),
    Route("/ingester/prepare-shutdown", _SWITCH, "ingester", IngesterPages.prepare_shutdown),
    Route("/ingester/prepare-instance-ring-downscale", _SWITCH, "ingester", IngesterPages.prepare_downscale),
    Route("/ingester/unregister-on-shutdown", _PUT_SWITCH, "ingester", IngesterPages.unregister_on_shutdown),
    Route("/api/v1/upload/block/{block}/start", _POST, "compactor", BlockUploadApi.start, auth=True),
    Route("/api/v1/upload/block/{block}/files", _POST, "compactor", BlockUploadApi.files, auth=True),
    Route("/api/v1/upload/block/{block}/finish", _POST, "compactor", BlockUploadApi.finish, auth=True),
    Route("/api/v1/upload/block/{block}/check", _GET, "compactor", BlockUploadApi.check, auth=True),
    Route("/compactor/tenants", _GET, "compactor", CompactorPages.tenants, title="Tenants of the bucket"),
    Route("/compactor/tenant/{tenant}/planned_jobs", _GET, "compactor", CompactorPages.planned_jobs),
    Route("/compactor/delete_tenant", _POST, "compactor", CompactorPages.delete_tenant, auth=True),
    Route("/compactor/delete_tenant_status", _GET, "compactor", CompactorPages.delete_tenant_status, auth=True),
    Route(
        "/store-gateway/tenants", _GET, "store-gateway", StoreGatewayPages.tenants, title="Tenants of the store-gateway"
    ),
    Route("/store-gateway/tenant/{tenant}/blocks", _GET, "store-gateway", StoreGatewayPages.tenant_blocks),
    Route("/store-gateway/prepare-shutdown", _SWITCH, "store-gateway", StoreGatewayPages.prepare_shutdown),
    Route("/", _GET, SERVER, AdminApi.index),
    Route("/static/admin.css", _GET, SERVER, AdminApi.stylesheet),
    Route("/ready", _GET, SERVER, AdminApi.ready, title="Readiness"),
    Route("/services", _GET, SERVER, AdminApi.services, title="Services of this process"),
    Route("/config", _GET, SERVER, AdminApi.config, title="Configuration"),
    Route("/runtime_config", _GET, SERVER, AdminApi.runtime_config, title="Runtime configuration"),
    Route("/ring", _GET_POST, CLUSTER, RingPages.rings, title="Rings"),
    Route("/ingester/ring", _GET_POST, CLUSTER, RingPages.ingester, title="Ring of ingesters"),
    Route("/distributor/ring", _GET_POST, CLUSTER, RingPages.distributor, title="Ring of distributors"),
    Route("/query-scheduler/ring", _GET_POST, CLUSTER, RingPages.query_scheduler, title="Ring of query schedulers"),
    Route("/querier/ring", _GET_POST, CLUSTER, RingPages.querier, title="Ring of queriers"),
    Route("/store-gateway/ring", _GET_POST, CLUSTER, RingPages.store_gateway, title="Ring of store gateways"),
    Route(
        "/overrides-exporter/ring",
        _GET_POST,
        CLUSTER,
        RingPages.overrides_exporter,
        title="Ring of overrides exporters",
    ),
    Route("/compactor/ring", _GET_POST, CLUSTER, RingPages.compactor, title="Ring of compactors"),
    Route("/memberlist", _GET, GOSSIP, MemberlistPages.memberlist, title="Memberlist"),
    Route("/metrics", _GET, SERVER, AdminApi.metrics, title="Metrics"),
    Route("/api/v1/user_limits", _GET, SERVER, AdminApi.user_limits, auth=True),
    Route("/api/v1/status/buildinfo", _GET, SERVER, AdminApi.buildinfo, title="Build information"),
    Route("/api/v1/status/config", _GET, SERVER, AdminApi.empty_config),
    Route("/api/v1/status/flags", _GET, SERVER, AdminApi.empty_flags),
)


def route_label(path: str) -> str:
    """The `route` label value of a path, as Mimir's dashboards have it: /api/v1/push → api_v1_push."""
    return re.sub(r"[^a-zA-Z0-9]+", "_", path).strip("_").lower() or "root"


def served(components: Mapping[str, object], routes: Sequence[Route] = ROUTES) -> list[Route]:
    """The rows whose component runs here."""
    return [route for route in routes if route.component in components]
