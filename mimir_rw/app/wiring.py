"""Builds a process and lives its life: a dull builder per module, run in graph order.

Ports are bound before anything else starts. SIGTERM and SIGINT stop everything in order; a second one ends the process
at once.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping

import mimir_rw
from mimir_rw.api.admin import AdminApi, ConfigTexts, Link
from mimir_rw.api.application import Application
from mimir_rw.api.endpoint import HttpMetrics, Surroundings
from mimir_rw.api.ingester_pages import IngesterPages
from mimir_rw.api.push import PushApi
from mimir_rw.api.query import QueryApi
from mimir_rw.api.routes import SERVER, Prefixes, served
from mimir_rw.api.server import HttpServer, ListenError, ServerSettings, TlsSettings, bind_listener, tls_context
from mimir_rw.api.tenant import TenantResolver
from mimir_rw.api.traffic import TrafficGate
from mimir_rw.app.modules import BASE, GATE, NEEDS, components_of
from mimir_rw.app.process import pid_file, settle_heap, settle_streams, tune
from mimir_rw.app.welcome import first_screen
from mimir_rw.components.distributor.retry_after import RetryAfter
from mimir_rw.components.distributor.service import DistributorService
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.components.querier.service import QuerierService
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.limits import Limits
from mimir_rw.config.load import read_bytes
from mimir_rw.config.render import defaults_yaml, diff_yaml, effective_yaml, limits_document
from mimir_rw.config.runtime_config import RuntimeConfig, runtime_yaml
from mimir_rw.config.tree import Config
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.loop_lag import LoopLag
from mimir_rw.kit.metrics import Counter, Family, Metrics
from mimir_rw.kit.offload import ThreadOffload
from mimir_rw.kit.rng import secret_bytes, system_rng
from mimir_rw.kit.service import Service, ServiceFailed, ServiceSet, ServiceState
from mimir_rw.kit.tasks import alongside
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.parser import EVERYTHING, parse_expression, parse_selector
from mimir_rw.promql.printer import pretty

SECOND_SIGNAL_AFTER_S = 0.5
"""What comes sooner is the first one again: supervisors signal a process and then its whole group."""
SERIES_KEY_BYTES = 32
"""Size of the secret that series are hashed with."""


def run(config: Config) -> int:
    """Live until a signal or a failure; the exit status."""
    tune()
    log = get_logger(component="main")
    try:
        components = components_of(config.target)
        settings = server_settings(config)
        tls = tls_context(settings.tls) if settings.tls.enabled else None
        listener = bind_listener(settings)
        with pid_file(config.server.pid_file, os.getpid()):
            return asyncio.run(_live(config, components, settings, listener, tls, log))
    except (ConfigError, ListenError) as error:
        sys.stderr.write(f"mimir-rw: {error}\n")
    except OSError as error:
        sys.stderr.write(f"mimir-rw: {error.filename or ''}: {error.strerror or error}\n")
    finally:
        settle_streams()
    return 1


async def _live(
    config: Config,
    components: tuple[str, ...],
    settings: ServerSettings,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    log: Logger,
) -> int:
    process = Process(config=config, components=components, settings=settings, listener=listener, tls=tls)
    services = process.build()
    settle_heap()
    _stop_on_signals(services, config.server.pid_file, log)
    log.info("starting mimir-rw", version=mimir_rw.__version__, target=",".join(config.target), pid=os.getpid())
    try:
        async with alongside(_welcome(services, config, process.server.port, log)):
            await services.run()
    except ServiceFailed as error:
        log.error("stopped because a module failed", module=error.service, err=str(error.__cause__))
        return 1
    log.info("mimir-rw stopped")
    return 0


async def _welcome(services: ServiceSet, config: Config, port: int, log: Logger) -> None:
    await services.running.wait()
    log.info("mimir-rw is ready", port=port)
    if sys.stdout.isatty():
        sys.stdout.write(first_screen(config, port))
        sys.stdout.flush()


def _stop_on_signals(services: ServiceSet, pid_path: str, log: Logger) -> None:
    loop = asyncio.get_running_loop()
    first: list[float] = []

    def stop(number: int) -> None:
        name = signal.Signals(number).name
        if first and loop.time() - first[0] < SECOND_SIGNAL_AFTER_S:
            return
        if first:
            log.warning("second signal, ending at once", signal=name)
            if pid_path:
                os.unlink(pid_path)
            os._exit(128 + number)
        first.append(loop.time())
        services.request_stop()
        log.info("stopping; a second signal ends at once", signal=name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def server_settings(config: Config) -> ServerSettings:
    server, tls = config.server, config.server.http_tls_config
    return ServerSettings(
        address=server.http_listen_address,
        port=server.http_listen_port,
        tls=TlsSettings(
            cert=tls.cert,
            key=tls.key,
            client_ca=tls.client_ca,
            cert_file=tls.cert_file,
            key_file=tls.key_file,
            client_auth=tls.client_auth_type,
            client_ca_file=tls.client_ca_file,
            min_version=server.tls_min_version,
            cipher_suites=server.tls_cipher_suites,
        ),
        graceful_s=server.graceful_shutdown_timeout / 1000,
        idle_s=server.http_server_idle_timeout / 1000,
    )


class Process:
    """The parts of one process. `build` makes them; each builder finds what it needs made before it."""

    def __init__(
        self,
        *,
        config: Config,
        components: tuple[str, ...],
        settings: ServerSettings,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.config = config
        self.components = components
        self.clock = SystemClock()
        self.rng = system_rng()
        self.metrics = Metrics()
        self.metrics.watch_process()
        self.offload = ThreadOffload(name="native")
        self.limits = Limits(defaults=config.limits)
        self.prefixes = Prefixes(
            root=config.server.http_path_prefix.rstrip("/"), prometheus=config.api.prometheus_http_prefix.rstrip("/")
        )
        self.gate = TrafficGate(
            delay_s=config.shutdown_delay / 1000, graceful_s=config.server.graceful_shutdown_timeout / 1000
        )
        self.server = HttpServer(listener=listener, settings=settings, tls=tls, log=get_logger(component="server"))
        self.discarded_samples: Family[Counter] = self.metrics.counters(
            "cortex_discarded_samples_total", "Samples that were discarded.", ("reason", "user")
        )
        self.series_key = secret_bytes(SERIES_KEY_BYTES)
        self.apis: dict[str, object] = {}
        """For each component that runs here, what serves its routes."""

    def build(self) -> ServiceSet:
        """All services of this process, in graph order."""
        builders: Mapping[str, Callable[[], Service]] = {
            "server": lambda: self.server,
            "event-loop-lag": lambda: LoopLag(clock=self.clock, metrics=self.metrics),
            "runtime-config": self._runtime_config,
            "ingester": self._ingester,
            "distributor": self._distributor,
            "querier": self._querier,
            GATE: lambda: self.gate,
        }
        wanted = {*BASE, *self.components, GATE}
        services = ServiceSet([builders[name]() for name in NEEDS if name in wanted], NEEDS)
        for service in services.services:
            service.on_change = _log_change
        self.apis[SERVER] = self._admin(services)
        self.server.serve(self._application())
        self._describe_build()
        return services

    def _runtime_config(self) -> Service:
        self.runtime = RuntimeConfig(
            config=self.config, limits=self.limits, offload=self.offload, metrics=self.metrics, read=read_bytes
        )
        return self.runtime

    def _ingester(self) -> Service:
        self.ingester = IngesterService(
            config=self.config.ingester,
            tsdb=self.config.blocks_storage.tsdb,
            limits=self.limits,
            instance_limits=lambda: self.runtime.settings.ingester_limits,
            offload=self.offload,
            clock=self.clock,
            metrics=self.metrics,
            discarded_samples=self.discarded_samples,
            series_key=self.series_key,
        )
        self.apis["ingester"] = IngesterPages(ingester=self.ingester, root=self.prefixes.root)
        return self.ingester

    def _distributor(self) -> Service:
        config = self.config.distributor
        distributor = DistributorService(
            config=config,
            limits=self.limits,
            instance_limits=lambda: self.runtime.settings.distributor_limits,
            ingester=self.ingester,
            offload=self.offload,
            clock=self.clock,
            metrics=self.metrics,
            discarded_samples=self.discarded_samples,
            series_key=self.series_key,
        )
        self.apis["distributor"] = push = PushApi(
            distributor=distributor,
            stats=self.ingester,
            limits=self.limits,
            body_bytes_max=config.max_recv_msg_size,
            bodies_bytes_max=config.max_receiving_bytes,
            retry_after_s=RetryAfter(config=config.retry_after_header, rng=self.rng),
            root=self.prefixes.root,
        )
        self.metrics.gauges_read(
            "mimir_rw_distributor_push_body_bytes",
            "Bytes of push bodies, as sent, that are in memory.",
            (),
            lambda: [((), push.bodies.held)],
        )
        return distributor

    def _querier(self) -> Service:
        config = self.config.querier
        engine = Engine(
            clock=self.clock,
            offload=self.offload,
            options=EngineOptions(
                lookback_ms=config.lookback_delta,
                subquery_step_ms=config.default_evaluation_interval,
                timeout_s=config.timeout / 1000,
                samples_max=config.max_samples,
            ),
        )
        querier = QuerierService(
            config=config,
            frontend=self.config.frontend,
            limits=self.limits,
            ingester=self.ingester,
            engine=engine,
            offload=self.offload,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.apis["querier"] = QueryApi(
            service=querier,
            parse_selector=parse_selector,
            format_query=lambda text: pretty(parse_expression(text, EVERYTHING)),
            clock=self.clock,
            offload=self.offload,
        )
        return querier

    def _admin(self, services: ServiceSet) -> AdminApi:
        return AdminApi(
            services=services,
            configs=ConfigTexts(config=self._config_text, runtime=self._runtime_text if self.runtime.enabled else None),
            tenant_limits=lambda tenant: limits_document(self.limits.for_tenant(tenant)),
            metrics=self.metrics,
            offload=self.offload,
            links=[
                Link(route.full_path(self.prefixes), route.title, route.component)
                for route in sorted(served({SERVER: None, **self.apis}), key=lambda route: route.component != SERVER)
                if route.title
            ],
            root=self.prefixes.root,
        )

    def _config_text(self, mode: str) -> str:
        if mode == "defaults":
            return defaults_yaml()
        return diff_yaml(self.config) if mode == "diff" else effective_yaml(self.config)

    def _runtime_text(self, mode: str) -> str:
        return runtime_yaml(self.config, self.runtime.settings, changed_only=mode == "diff")

    def _application(self) -> Application:
        around = Surroundings(
            clock=self.clock,
            offload=self.offload,
            metrics=HttpMetrics(self.metrics),
            tenants=TenantResolver(
                multitenancy=self.config.multitenancy_enabled, no_auth_tenant=self.config.no_auth_tenant
            ),
            traffic=self.gate,
            log=get_logger(component="api"),
            read_seconds_max=self.config.server.http_server_read_timeout / 1000,
        )
        return Application(
            components=self.apis,
            prefixes=self.prefixes,
            form_bytes_max=self.config.frontend.max_body_size,
            around=around,
        )

    def _describe_build(self) -> None:
        labels = ("branch", "goversion", "revision", "version")
        self.metrics.gauges("cortex_build_info", "A constant 1 with the version of this build.", labels).labels(
            "", f"python{platform.python_version()}", "", mimir_rw.__version__
        ).set(1)


def _log_change(service: Service) -> None:
    log = get_logger(component="modules")
    if service.failure is not None:
        log.error("module failed", module=service.name, err=str(service.failure))
    elif service.state in (ServiceState.RUNNING, ServiceState.TERMINATED):
        log.info("module " + service.state.value.lower(), module=service.name)
    else:
        log.debug("module " + service.state.value.lower(), module=service.name)
