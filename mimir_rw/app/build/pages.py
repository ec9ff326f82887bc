"""The pages that every process has, and the application that serves all routes."""

from __future__ import annotations

import platform

import mimir_rw
from mimir_rw.api.admin import AdminApi, ConfigTexts, Link
from mimir_rw.api.application import Application
from mimir_rw.api.endpoint import Surroundings
from mimir_rw.api.form_token import FormTokens
from mimir_rw.api.memberlist_pages import MemberlistPages
from mimir_rw.api.ring_pages import RingPages
from mimir_rw.api.routes import CLUSTER, GOSSIP, SERVER, served
from mimir_rw.api.tenant import TenantResolver
from mimir_rw.app.build.base import Base
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.config.render import defaults_yaml, diff_yaml, effective_yaml, limits_document
from mimir_rw.config.runtime_config import runtime_yaml
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import ServiceSet
from mimir_rw.kv.series_key import STORE_KEY

_FORM_SECRET_BYTES = 32


class Pages:
    """Built last: the pages link to whatever else there is."""

    def __init__(self, base: Base) -> None:
        self._base = base

    def admin(self, services: ServiceSet) -> AdminApi:
        base = self._base
        routes = served({SERVER: None, **base.apis})
        return AdminApi(
            services=services,
            configs=ConfigTexts(config=self._config_text, runtime=self._runtime_text if base.runtime.enabled else None),
            tenant_limits=lambda tenant: limits_document(base.limits.for_tenant(tenant)),
            metrics=base.metrics,
            offload=base.offload,
            links=[
                Link(route.full_path(base.prefixes), route.title, route.component)
                for route in sorted(routes, key=lambda route: route.component != SERVER)
                if route.title
            ],
            root=base.prefixes.root,
        )

    def cluster(self, cluster: Cluster) -> None:
        """Rings and gossip."""
        base, root = self._base, self._base.prefixes.root
        tokens = FormTokens(secret=base.world.secret(_FORM_SECRET_BYTES), clock=base.clock)
        base.apis[CLUSTER] = RingPages(rings=cluster.rings, tokens=tokens, clock=base.clock, root=root)
        base.apis[GOSSIP] = MemberlistPages(gossip=cluster.memberlist, secret_keys=(STORE_KEY,), root=root)

    def application(self) -> Application:
        base = self._base
        around = Surroundings(
            clock=base.clock,
            offload=base.offload,
            metrics=base.http_metrics,
            tenants=TenantResolver(
                multitenancy=base.config.multitenancy_enabled, no_auth_tenant=base.config.no_auth_tenant
            ),
            traffic=base.gate,
            log=get_logger(component="api"),
            rng=base.rng,
            read_seconds_max=base.config.server.http_server_read_timeout / 1000,
            start_seconds_max=base.config.frontend.not_running_timeout / 1000,
        )
        return Application(
            components=base.apis,
            prefixes=base.prefixes,
            form_bytes_max=base.config.frontend.max_body_size,
            around=around,
        )

    def describe_build(self) -> None:
        labels = ("branch", "goversion", "revision", "version")
        self._base.metrics.gauges("cortex_build_info", "A constant 1 with the version of this build.", labels).labels(
            "", f"python{platform.python_version()}", "", mimir_rw.__version__
        ).set(1)

    def _config_text(self, mode: str) -> str:
        if mode == "defaults":
            return defaults_yaml()
        config = self._base.config
        return diff_yaml(config) if mode == "diff" else effective_yaml(config)

    def _runtime_text(self, mode: str) -> str:
        base = self._base
        return runtime_yaml(base.config, base.runtime.settings, changed_only=mode == "diff")
