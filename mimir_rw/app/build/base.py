"""What every process has, and what the builders of all areas find made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimir_rw.api.endpoint import HttpMetrics
from mimir_rw.api.routes import Prefixes
from mimir_rw.api.server import ServerSettings
from mimir_rw.api.traffic import TrafficGate
from mimir_rw.app.build.world import World
from mimir_rw.config.limits import Limits
from mimir_rw.config.load import read_bytes
from mimir_rw.config.process import ServerTlsConfig
from mimir_rw.config.runtime_config import RuntimeConfig
from mimir_rw.config.tree import Config
from mimir_rw.kit.free_memory import FreeMemory
from mimir_rw.kit.loop_lag import LoopLag
from mimir_rw.kit.metrics import Counter, Family, Metrics
from mimir_rw.kit.service import Service
from mimir_rw.kit.tls import TlsSettings

if TYPE_CHECKING:
    from mimir_rw.app.build.buckets import Buckets


class Base:
    """Collaborators and services of every process. `runtime` is there once `runtime_config` has been built,
    `buckets` once the bucket has."""

    def __init__(self, *, config: Config, components: tuple[str, ...], world: World) -> None:
        self.config = config
        self.components = components
        self.world = world
        self.clock = world.clock
        self.rng = world.rng
        self.offload = world.offload
        self.metrics = Metrics()
        self.metrics.watch_process()
        self.limits = Limits(defaults=config.limits)
        self.prefixes = Prefixes(
            root=config.server.http_path_prefix.rstrip("/"), prometheus=config.api.prometheus_http_prefix.rstrip("/")
        )
        self.gate = TrafficGate(
            delay_s=config.shutdown_delay / 1000, graceful_s=config.server.graceful_shutdown_timeout / 1000
        )
        self.http_metrics = HttpMetrics(self.metrics)
        self.discarded_exemplars: Family[Counter] = self.metrics.counters(
            "cortex_discarded_exemplars_total", "Exemplars that were discarded.", ("reason", "user")
        )
        self.discarded_samples: Family[Counter] = self.metrics.counters(
            "cortex_discarded_samples_total", "Samples that were discarded.", ("reason", "user")
        )
        self.apis: dict[str, object] = {}
        """For each component that runs here, what serves its routes."""
        self.runtime: RuntimeConfig
        self.buckets: Buckets

    def event_loop_lag(self) -> Service:
        return LoopLag(clock=self.clock, metrics=self.metrics)

    def free_memory(self) -> Service:
        return FreeMemory(offload=self.offload, metrics=self.metrics)

    def runtime_config(self) -> Service:
        self.runtime = RuntimeConfig(
            config=self.config, limits=self.limits, offload=self.offload, metrics=self.metrics, read=read_bytes
        )
        return self.runtime


def server_settings(config: Config) -> ServerSettings:
    server = config.server
    return ServerSettings(
        tls=tls_settings(config, server.http_tls_config),
        graceful_s=server.graceful_shutdown_timeout / 1000,
        idle_s=server.http_server_idle_timeout / 1000,
    )


def tls_settings(config: Config, tls: ServerTlsConfig) -> TlsSettings:
    """Those of one of the process's listeners."""
    return TlsSettings(
        cert=tls.cert,
        key=tls.key,
        client_ca=tls.client_ca,
        cert_file=tls.cert_file,
        key_file=tls.key_file,
        client_auth=tls.client_auth_type,
        client_ca_file=tls.client_ca_file,
        min_version=config.server.tls_min_version,
        cipher_suites=config.server.tls_cipher_suites,
    )
