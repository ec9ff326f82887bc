"""Builds a process and lives its life: a dull builder per module, run in graph order.

Ports are bound before anything else starts. SIGTERM and SIGINT stop everything in order; a second one ends the process
at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import mimir_rw
from mimir_rw.api.application import Application
from mimir_rw.api.routes import SERVER
from mimir_rw.api.server import HTTP_ALPN, HttpServer
from mimir_rw.app.build.backend import Backend
from mimir_rw.app.build.base import Base, server_settings
from mimir_rw.app.build.buckets import Buckets
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.app.build.pages import Pages
from mimir_rw.app.build.read import Read
from mimir_rw.app.build.store import Store
from mimir_rw.app.build.world import World, real_world
from mimir_rw.app.build.write import Write
from mimir_rw.app.modules import (
    ANNOUNCEMENT,
    BUCKET,
    GATE,
    GOSSIP,
    HAND_OVERS,
    LEAVING,
    NEEDS,
    RINGS,
    RPC,
    STORES,
    checked_components,
    lifecycler_module,
    modules_of,
    ring_module,
)
from mimir_rw.app.process import pid_file, settle_heap, settle_streams, tune
from mimir_rw.app.welcome import first_screen
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.tree import Config
from mimir_rw.kit.listen import ListenError, bind_listener, check_port
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.service import Service, ServiceFailed, ServiceSet, ServiceState
from mimir_rw.kit.tasks import alongside
from mimir_rw.kit.tls import TlsError, server_context

_READY_LOOK_S = 0.05
SECOND_SIGNAL_AFTER_S = 0.5
"""What comes sooner is the first one again: supervisors signal a process and then its whole group."""


def run(config: Config) -> int:
    """Live until a signal or a failure; the exit status."""
    tune()
    log = get_logger(component="main")
    try:
        components = checked_components(config)
        settings = server_settings(config)
        tls = server_context(settings.tls, flags="server.http-tls", alpn=HTTP_ALPN) if settings.tls.enabled else None
        http = config.server
        listener = bind_listener(http.http_listen_address, http.http_listen_port, flags="server.http-listen")
        _check_ports(config, modules_of(config, components))
        with pid_file(config.server.pid_file, os.getpid()):
            server = HttpServer(listener=listener, settings=settings, tls=tls, log=get_logger(component="server"))
            return asyncio.run(_live(config, components, server, log))
    except (ConfigError, ListenError, TlsError) as error:
        sys.stderr.write(f"mimir-rw: {error}\n")
    except OSError as error:
        sys.stderr.write(f"mimir-rw: {error.filename or ''}: {error.strerror or error}\n")
    finally:
        settle_streams()
    return 1


def _check_ports(config: Config, modules: Sequence[str]) -> None:
    """Say a taken port before anything starts. Raises ListenError."""
    server, gossip = config.server, config.memberlist
    if RPC in modules:
        check_port(server.grpc_listen_address, server.grpc_listen_port, flags="server.grpc-listen")
    if GOSSIP in modules:
        for address in gossip.bind_addr or ("",):
            check_port(address, gossip.bind_port, flags="memberlist.bind")


async def _live(config: Config, components: tuple[str, ...], server: HttpServer, log: Logger) -> int:
    process = Process(config=config, components=components, world=real_world(), server=server)
    services = process.services()
    server.serve(process.application(services))
    settle_heap()
    _stop_on_signals(services, config.server.pid_file, log)
    log.info("starting mimir-rw", version=mimir_rw.__version__, target=",".join(config.target), pid=os.getpid())
    try:
        async with alongside(_welcome(services, config, server.port, log)):
            await services.run()
    except ServiceFailed as error:
        log.error("stopped because a module failed", module=error.service, err=str(error.__cause__))
        return 1
    log.info("mimir-rw stopped")
    return 0


async def _welcome(services: ServiceSet, config: Config, port: int, log: Logger) -> None:
    await ready(services, log)
    log.info("mimir-rw is ready", port=port)
    if sys.stdout.isatty():
        sys.stdout.write(first_screen(config, port))
        sys.stdout.flush()


async def ready(services: ServiceSet, log: Logger) -> None:
    """Return once the process is ready, as /ready says it; what it waits for when all run is logged."""
    await services.running.wait()
    said = ""
    while (reason := services.not_ready()) is not None:
        if reason != said:
            log.info("not ready yet", reason=reason)
            said = reason
        await asyncio.sleep(_READY_LOOK_S)


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


class Process:
    """The parts of one process."""

    def __init__(self, *, config: Config, components: tuple[str, ...], world: World, server: Service) -> None:
        """server: what takes requests from outside; it starts first and stops last."""
        self._server = server
        self.base = Base(config=config, components=components, world=world)
        self.cluster = Cluster(self.base)
        self.write = Write(self.base, self.cluster)
        self.store = Store(self.base, self.cluster)
        self.read = Read(self.base, self.cluster, self.write, self.store)
        self.backend = Backend(self.base, self.cluster)

    def services(self) -> ServiceSet:
        """All services, made in graph order: each builder finds what it needs made before it."""
        builders = self._builders()
        modules = modules_of(self.base.config, self.base.components)
        services = ServiceSet([builders[name]() for name in modules if name in builders], NEEDS)
        for service in services.services:
            service.on_change = _log_change
        return services

    def application(self, services: ServiceSet) -> Application:
        """What the HTTP server serves."""
        pages = Pages(self.base)
        pages.cluster(self.cluster)
        self.base.apis[SERVER] = pages.admin(services)
        pages.describe_build()
        return pages.application()

    def _bucket(self) -> Service:
        self.base.buckets = Buckets(self.base)
        return self.base.buckets

    def _builders(self) -> Mapping[str, Callable[[], Service]]:
        base, cluster, write = self.base, self.cluster, self.write
        return {
            "server": lambda: self._server,
            "event-loop-lag": base.event_loop_lag,
            "free-memory": base.free_memory,
            "runtime-config": base.runtime_config,
            BUCKET: self._bucket,
            GOSSIP: cluster.gossip,
            STORES: lambda: cluster.stores,
            RPC: lambda: cluster.router,
            "rpc-pool": lambda: cluster.pool,
            **{ring_module(ring): partial(cluster.ring, ring) for ring in RINGS},
            HAND_OVERS: cluster.follow_hand_overs,
            "series-key": cluster.find_series_key,
            "ingester": write.ingester,
            LEAVING: write.hand_over,
            "distributor": write.distributor,
            "query-scheduler": self.read.query_scheduler,
            "query-frontend": self.read.query_frontend,
            "store-gateway": self.store.gateway,
            "querier": self.read.querier,
            "overrides-exporter": self.backend.overrides_exporter,
            "compactor": self.backend.compactor,
            **{lifecycler_module(ring): partial(cluster.lifecycler, ring) for ring in RINGS},
            ANNOUNCEMENT: cluster.announcement,
            GATE: lambda: base.gate,
        }


def _log_change(service: Service) -> None:
    log = get_logger(component="modules")
    if service.failure is not None:
        log.error("module failed", module=service.name, err=str(service.failure))
    elif service.state in (ServiceState.RUNNING, ServiceState.TERMINATED):
        log.info("module " + service.state.value.lower(), module=service.name)
    else:
        log.debug("module " + service.state.value.lower(), module=service.name)
