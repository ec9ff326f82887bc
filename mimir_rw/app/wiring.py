"""Builds a process and lives its life: a dull builder per module, run in graph order.

Ports are bound before anything else starts. SIGTERM and SIGINT stop everything in order; a second one ends the process
at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from functools import partial

import mimir_rw
from mimir_rw.api.routes import SERVER
from mimir_rw.api.server import HTTP_ALPN, ListenError, ServerSettings, bind_listener
from mimir_rw.app.build.backend import Backend
from mimir_rw.app.build.base import Base, server_settings
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.app.build.pages import Pages
from mimir_rw.app.build.read import Read
from mimir_rw.app.build.write import Write
from mimir_rw.app.identity import Machine
from mimir_rw.app.modules import GATE, GOSSIP, NEEDS, RINGS, RPC, checked_components, modules_of, ring_module
from mimir_rw.app.process import pid_file, settle_heap, settle_streams, tune
from mimir_rw.app.welcome import first_screen
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.tree import Config
from mimir_rw.kit.host import host_name, interface_addresses
from mimir_rw.kit.logging import Logger, get_logger
from mimir_rw.kit.service import Service, ServiceFailed, ServiceSet, ServiceState
from mimir_rw.kit.tasks import alongside
from mimir_rw.kit.tls import TlsError, server_context

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
        listener = bind_listener(settings)
        with pid_file(config.server.pid_file, os.getpid()):
            return asyncio.run(_live(config, components, settings, listener, tls, log))
    except (ConfigError, ListenError, TlsError) as error:
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
        async with alongside(_welcome(services, config, process.port, log)):
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
        self._base = Base(config=config, components=components, settings=settings, listener=listener, tls=tls)

    @property
    def port(self) -> int:
        """Where HTTP is served."""
        return self._base.server.port

    def build(self) -> ServiceSet:
        """All services of this process, in graph order."""
        base = self._base
        cluster = Cluster(base, Machine(host_name(), interface_addresses()))
        write = Write(base, cluster)
        read = Read(base, write)
        backend = Backend(base)
        builders: Mapping[str, Callable[[], Service]] = {
            "server": lambda: base.server,
            "event-loop-lag": base.event_loop_lag,
            "runtime-config": base.runtime_config,
            GOSSIP: cluster.gossip,
            RPC: lambda: cluster.router,
            "rpc-pool": lambda: cluster.pool,
            **{ring_module(ring): partial(cluster.ring, ring) for ring in RINGS},
            "series-key": cluster.find_series_key,
            "ingester": write.ingester,
            "distributor": write.distributor,
            "query-frontend": read.query_frontend,
            "overrides-exporter": backend.overrides_exporter,
            GATE: lambda: base.gate,
        }
        modules = modules_of(base.config, base.components)
        services = ServiceSet([builders[name]() for name in modules if name in builders], NEEDS)
        for service in services.services:
            service.on_change = _log_change
        pages = Pages(base)
        base.apis[SERVER] = pages.admin(services)
        base.server.serve(pages.application())
        pages.describe_build()
        return services


def _log_change(service: Service) -> None:
    log = get_logger(component="modules")
    if service.failure is not None:
        log.error("module failed", module=service.name, err=str(service.failure))
    elif service.state in (ServiceState.RUNNING, ServiceState.TERMINATED):
        log.info("module " + service.state.value.lower(), module=service.name)
    else:
        log.debug("module " + service.state.value.lower(), module=service.name)
