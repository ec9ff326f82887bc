"""What every process serves about itself: index, readiness, services, configuration, metrics, build."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

import msgspec

from mimir_rw._native import __version__
from mimir_rw.api import pages
from mimir_rw.api.errors import text_answer
from mimir_rw.api.exchange import JSON_TYPE, TEXT_TYPE, Answer, Call
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import ServiceSet, ServiceState
from mimir_rw.model.errors import BadRequest, NotFound

COMPATIBLE_VERSION = "2.17.0"
"""The version of Mimir whose API a client may expect."""

_EXPOSITION = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class ConfigTexts:
    """How the configuration is shown, by `mode`: "" the effective one, "diff", "defaults". Secrets are masked."""

    config: Callable[[str], str]
    runtime: Callable[[str], str] | None
    """None without a runtime file."""


@dataclass(frozen=True, slots=True)
class Link:
    path: str
    title: str
    component: str


class AdminApi:
    def __init__(
        self,
        *,
        services: ServiceSet,
        configs: ConfigTexts,
        tenant_limits: Callable[[str], Mapping[str, object]],
        metrics: Metrics,
        offload: Offload,
        links: Sequence[Link],
        root: str,
    ) -> None:
        self._services = services
        self._configs = configs
        self._tenant_limits = tenant_limits
        self._metrics = metrics
        self._offload = offload
        self._links = links
        self._root = root
        self._stylesheet = pages.stylesheet()

    async def index(self, call: Call) -> Answer:
        parts = [pages.text(f"mimir-rw {__version__}. Pages of this process:")]
        for component in dict.fromkeys(link.component for link in self._links):
            titles = [pages.link(link.path, link.title) for link in self._links if link.component == component]
            parts += [pages.heading(component.capitalize()), pages.items(titles)]
        return pages.page("Overview", *parts, root=self._root)

    async def stylesheet(self, call: Call) -> Answer:
        headers = ((b"cache-control", b"public, max-age=3600"), (b"x-content-type-options", b"nosniff"))
        return Answer(200, self._stylesheet, b"text/css; charset=utf-8", headers)

    async def ready(self, call: Call) -> Answer:
        reason = self._services.not_ready()
        return text_answer(200, "ready") if reason is None else text_answer(503, f"not ready: {reason}")

    async def services(self, call: Call) -> Answer:
        states = [(service.name, service.state, service.readiness() or "") for service in self._services.services]
        if call.accepts(b"application/json"):
            listed = [{"service": name, "status": state.value, "detail": detail} for name, state, detail in states]
            return Answer(200, msgspec.json.encode({"services": listed}), JSON_TYPE)
        rows = [
            (name, pages.badge(state.value, good=state is ServiceState.RUNNING), detail)
            for name, state, detail in states
        ]
        return pages.page("Services", pages.table(("Service", "Status", "Detail"), rows, empty=""), root=self._root)

    async def config(self, call: Call) -> Answer:
        return Answer(200, self._configs.config(_mode(call, ("diff", "defaults"))).encode(), TEXT_TYPE)

    async def runtime_config(self, call: Call) -> Answer:
        if self._configs.runtime is None:
            raise NotFound("no runtime configuration file is set (-runtime-config.file)")
        return Answer(200, self._configs.runtime(_mode(call, ("diff",))).encode(), TEXT_TYPE)

    async def metrics(self, call: Call) -> Answer:
        return Answer(200, await self._offload.run(self._metrics.render), _EXPOSITION)

    async def user_limits(self, call: Call) -> Answer:
        return Answer(200, msgspec.json.encode(self._tenant_limits(call.tenant)), JSON_TYPE)

    async def buildinfo(self, call: Call) -> Answer:
        data = {
            # Grafana compares the application's name and takes any features for a Mimir; the values are texts.
            "application": "Grafana Mimir",
            "version": f"{COMPATIBLE_VERSION}+mimir-rw.{__version__}",
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": f"python{platform.python_version()}",
            "features": {
                "ruler_config_api": "false",
                "alertmanager_config_api": "false",
                "query_sharding": "false",
                "federated_rules": "false",
            },
        }
        return _success(data)

    async def empty_config(self, call: Call) -> Answer:
        """Prometheus' clients ask for it; ours is at /config."""
        return _success({"yaml": ""})

    async def empty_flags(self, call: Call) -> Answer:
        return _success({})


def _success(data: object) -> Answer:
    return Answer(200, msgspec.json.encode({"status": "success", "data": data}), JSON_TYPE)


def _mode(call: Call, known: Sequence[str]) -> str:
    try:
        modes = parse_qs(call.query_string.decode("ascii"), max_num_fields=100).get("mode", [""])
    except ValueError:
        modes = ["?"]
    if modes[0] not in ("", *known):
        raise BadRequest(f"unknown mode, only {' and '.join(known)} are known")
    return modes[0]
