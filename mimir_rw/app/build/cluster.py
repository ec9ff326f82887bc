"""What makes processes a cluster: the stores of rings, gossip, calls between processes, rings, the series key."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace

import mimir_rw
from mimir_rw.app.announcement import Announcement
from mimir_rw.app.build.base import Base, tls_settings
from mimir_rw.app.build.gossip import client_tls_settings, gossip_tls, member_meta, memberlist_settings
from mimir_rw.app.build.stores import KvStores
from mimir_rw.app.identity import RingIdentity, joined_address, process_address, process_id, ring_identity
from mimir_rw.config.consistency import ring_name, rings
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.kvstore import ClientTlsConfig
from mimir_rw.config.rings import ForgettingRingConfig, StoreGatewayRingConfig
from mimir_rw.kit.host import is_ip_address
from mimir_rw.kit.service import Service
from mimir_rw.kit.tls import client_context, server_context
from mimir_rw.kv.contract import KV
from mimir_rw.kv.hand_over import STORE_KEY as HAND_OVER_KEY
from mimir_rw.kv.hand_over import HandOverCodec, HandOverRecords
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.prefix import PrefixKV
from mimir_rw.kv.series_key import SeriesKeyCodec, SeriesKeyService
from mimir_rw.ring.basic_lifecycler import BasicLifecycler, BasicLifecyclerSettings
from mimir_rw.ring.codec import RING_CODEC
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceState, RingDesc
from mimir_rw.ring.entry import MembershipMetrics
from mimir_rw.ring.lifecycler import Lifecycler, LifecyclerSettings
from mimir_rw.ring.membership import Identity as RingMember
from mimir_rw.ring.service import RingMetrics, RingService
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.tokens import RandomTokens, SpreadMinimizingTokens, TokenGenerator
from mimir_rw.rpc.connection import ConnectionSettings
from mimir_rw.rpc.framing import FrameBounds
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.peer import ClientTls, PeerSettings
from mimir_rw.rpc.pool import RpcPools
from mimir_rw.rpc.server import RpcServer, ServerSettings

_JOIN_WAIT_S = 0.5
"""What a first process of a cluster waits for others before it makes a series key by itself; should it have been too
hasty, the older key of the others wins."""
_ANNOUNCE_S = 3.0
"""Longest wait until others have been told of this process before it is ready."""
_TOKENS = {"compactor": 512}
"""Of rings that share keys out; in the others an instance has one."""
_RECONNECT_MAX_S = 0.25
"""Between two tries to reach a process: less than what lies between its listening and its being ready, so that it has
been reached by then, and the next one may be restarted."""
_EPOCH_BYTES = 8
_JOINING_FIRST = ("distributor", "store-gateway")
"""Rings in which a process becomes ACTIVE later, when its component says so."""


def ring_key(ring: str) -> str:
    """Where a ring is kept, behind its store's prefix: Mimir's names."""
    return "ring" if ring == "ingester" else ring


class Cluster:
    """`rings` has every ring once its module has been built; `router` takes handlers whether or not a port is bound,
    which it is not in a process that is alone."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._machine = machine = base.world.machine
        config = base.config
        self._ring_keys = {ring_name(key): key for key in rings(config)}
        self._ring_configs = {ring_name(key): ring for key, ring in rings(config).items()}
        self.stores = KvStores(base)
        self._forgetting_configs: dict[str, ForgettingRingConfig] = {
            "distributor": config.distributor.ring,
            "query-scheduler": config.query_scheduler.ring,
            "querier": config.querier.ring,
            "store-gateway": config.store_gateway.sharding_ring,
            "overrides-exporter": config.overrides_exporter.ring,
            "compactor": config.compactor.sharding_ring,
        }
        self._membership_metrics = MembershipMetrics(base.metrics)
        self._ring_metrics = RingMetrics(metrics=base.metrics, clock=base.clock)
        self.memberlist: MemberlistService | None = None
        self.rings: dict[str, RingService] = {}
        self.lifecyclers: dict[str, BasicLifecycler] = {}
        self.ingester_lifecycler: Lifecycler
        self.flush_ingester: Callable[[], Awaitable[None]] = _keep_in_the_log
        """What its ingester does when it leaves the ring."""
        self.ingester_departs: Callable[[], Awaitable[bool]] | None = None
        self.ingester_read_only_first: Callable[[], bool] = lambda: False
        """See `Lifecycler`."""
        self.series_key: SeriesKeyService
        self.hand_over_records: HandOverRecords
        identity = Identity(
            cluster=config.memberlist.cluster_label,
            instance=process_id(config, machine),
            epoch=base.world.secret(_EPOCH_BYTES).hex(),
            software=mimir_rw.__version__,
            protocol_max=config.server.rpc_protocol_max,
            check_cluster=not config.memberlist.cluster_label_verification_disabled,
        )
        connection = ConnectionSettings(
            bounds=FrameBounds(payload_bytes_max=config.server.grpc_server_max_recv_msg_size),
            calls_max=config.server.grpc_server_max_concurrent_streams,
        )
        metrics = RpcMetrics(base.metrics, served=base.http_metrics.duration)
        self.router = RpcServer(
            host=config.server.grpc_listen_address,
            port=config.server.grpc_listen_port,
            identity=identity,
            settings=ServerSettings(
                connection=connection,
                connections_max=config.server.grpc_listen_conn_limit,
                inflight_bytes_max=config.server.rpc_max_inflight_bytes,
                graceful_s=config.server.graceful_shutdown_timeout / 1000,
            ),
            metrics=metrics,
            tls=_listener_tls(base),
        )
        self.pool = RpcPools(
            identity=identity,
            settings=PeerSettings(connection=connection, backoff_max_s=_RECONNECT_MAX_S),
            rng=base.rng,
            metrics=metrics,
            tls=_client_tls(config.ingester_client.grpc_client_config),
        )

    def ring_identity(self, ring: str) -> RingIdentity:
        """How this process is shown in a ring."""
        port = self._base.config.server.grpc_listen_port
        key = self._ring_keys[ring]
        return ring_identity(key, self._ring_configs[ring], self._base.config, self._machine, port=port)

    @property
    def instance_id(self) -> str:
        """The name of this process."""
        return process_id(self._base.config, self._machine)

    def frontend_address(self) -> str:
        """Where queriers deliver what came of the queries of this process."""
        config = self._base.config
        frontend = config.frontend
        key = "frontend.instance_interface_names"
        host = frontend.address or process_address(config, self._machine, key, frontend.instance_interface_names)
        return joined_address(host, frontend.port or config.server.grpc_listen_port)

    def gossip(self) -> Service:
        base = self._base
        config = base.config.memberlist
        own = process_address(base.config, self._machine)
        name = process_id(base.config, self._machine)
        meta = member_meta(base.config, instance_id=name)
        self.memberlist = MemberlistService(
            settings=memberlist_settings(
                config, instance_id=name, advertise_addr=own if is_ip_address(own) else "", meta=meta
            ),
            codecs=(RING_CODEC, SeriesKeyCodec(), HandOverCodec()),
            clock=base.clock,
            rng=base.rng,
            metrics=base.metrics,
            tls=gossip_tls(config),
            hostname=name,
            inline=base.world.one_loop,
        )
        self.stores.memberlist = self.memberlist
        return self.memberlist

    def ring(self, name: str) -> Service:
        ring = self.rings[name] = RingService(
            name,
            kv=self.ring_kv(name),
            key=ring_key(name),
            settings=self._ring_settings(name),
            clock=self._base.clock,
            metrics=self._ring_metrics,
        )
        return ring

    def _ring_settings(self, name: str) -> RingSettings:
        ingesters, gateways = self._base.config.ingester.ring, self._base.config.store_gateway.sharding_ring
        settings = RingSettings(
            heartbeat_timeout_s=self._ring_configs[name].heartbeat_timeout // 1000,
            shards_cached_max=ingesters.shards_cached_max,
        )
        if name == "ingester":
            return replace(
                settings,
                replication_factor=ingesters.replication_factor,
                zone_awareness=ingesters.zone_awareness_enabled,
                excluded_zones=ingesters.excluded_zones,
            )
        if name == "store-gateway":
            return replace(
                settings,
                replication_factor=gateways.replication_factor,
                zone_awareness=gateways.zone_awareness_enabled,
                ignore_unhealthy=True,
            )
        return settings

    def ring_kv(self, name: str) -> KV[RingDesc]:
        kvstore = self._ring_configs[name].kvstore
        return PrefixKV(self.stores.kv(name, kvstore, RING_CODEC), kvstore.prefix)

    def lifecycler(self, name: str) -> Service:
        """What keeps this process's entry in a ring."""
        if name == "ingester":
            return self._ingester_lifecycler()
        base, config = self._base, self._forgetting_configs[name]
        settings = BasicLifecyclerSettings(
            heartbeat_period_s=config.heartbeat_period / 1000,
            forget_after_s=config.heartbeat_timeout * config.auto_forget_unhealthy_periods // 1000,
            initial_state=InstanceState.JOINING if name in _JOINING_FIRST else InstanceState.ACTIVE,
        )
        tokens_count = 1
        if isinstance(config, StoreGatewayRingConfig):
            tokens_count = config.num_tokens
            settings = replace(
                settings,
                forget_after_s=settings.forget_after_s if config.auto_forget_enabled else 0,
                unregister_on_shutdown=config.unregister_on_shutdown,
                tokens_path=config.tokens_file_path,
            )
        lifecycler = self.lifecyclers[name] = BasicLifecycler(
            ring=self.rings[name],
            me=self._member(name, tokens_count=_TOKENS.get(name, tokens_count)),
            settings=settings,
            tokens=RandomTokens(rng=base.rng),
            clock=base.clock,
            offload=base.offload,
            metrics=self._membership_metrics,
        )
        return lifecycler

    def _ingester_lifecycler(self) -> Service:
        base, config = self._base, self._base.config.ingester.ring
        me = self._member("ingester", tokens_count=config.num_tokens)
        self.ingester_lifecycler = Lifecycler(
            ring=self.rings["ingester"],
            me=me,
            settings=LifecyclerSettings(
                heartbeat_period_s=config.heartbeat_period / 1000,
                observe_s=config.observe_period / 1000,
                min_ready_s=config.min_ready_duration / 1000,
                final_sleep_s=config.final_sleep / 1000,
                unregister_on_shutdown=config.unregister_on_shutdown,
                tokens_path=config.tokens_file_path,
            ),
            tokens=_ingester_tokens(base, me),
            flush=self.flush_ingester,
            told=self._told,
            departs=self.ingester_departs,
            read_only_first=self.ingester_read_only_first,
            clock=base.clock,
            offload=base.offload,
            metrics=self._membership_metrics,
        )
        return self.ingester_lifecycler

    def _member(self, ring: str, *, tokens_count: int) -> RingMember:
        found = self.ring_identity(ring)
        versions = {RPC_VERSION_KEY: self._base.config.server.rpc_protocol_max}
        return RingMember(found.id, found.address, found.zone, versions=versions, tokens_count=tokens_count)

    def announcement(self) -> Service:
        return Announcement(told=self._told)

    async def _told(self) -> None:
        if self.memberlist is not None:
            await self.memberlist.told(_ANNOUNCE_S)

    def follow_hand_overs(self) -> Service:
        kvstore = self._ring_configs["ingester"].kvstore
        self.hand_over_records = HandOverRecords(
            kv=PrefixKV(self.stores.kv("ingester", kvstore, HandOverCodec()), kvstore.prefix),
            key=HAND_OVER_KEY,
            clock=self._base.clock,
        )
        return self.hand_over_records

    def find_series_key(self) -> Service:
        base = self._base
        self.series_key = SeriesKeyService(
            kv=self.stores.kv("ingester", self._ring_configs["ingester"].kvstore, SeriesKeyCodec()),
            clock=base.clock,
            secret=base.world.secret,
            joined=self._joined,
            join_wait_s=_JOIN_WAIT_S,
        )
        return self.series_key

    def _joined(self) -> bool:
        return self.memberlist is None or self.memberlist.joined


def _ingester_tokens(base: Base, me: RingMember) -> TokenGenerator:
    config = base.config.ingester.ring
    if config.token_generation_strategy == "random":
        return RandomTokens(rng=base.rng)
    try:
        return SpreadMinimizingTokens(
            id=me.id,
            zone=me.zone,
            zones=config.spread_minimizing_zones,
            join_in_order=config.spread_minimizing_join_ring_in_order,
        )
    except ValueError as error:
        raise ConfigError(f"ingester.ring.token_generation_strategy: {error}") from None


async def _keep_in_the_log() -> None:
    """All samples of an ingester that stops are in its write-ahead log, and are read from there when it is back."""


def _listener_tls(base: Base) -> ssl.SSLContext | None:
    settings = tls_settings(base.config, base.config.server.grpc_tls_config)
    return server_context(settings, flags="server.grpc-tls") if settings.enabled else None


def _client_tls(config: ClientTlsConfig) -> ClientTls | None:
    if not config.tls_enabled:
        return None
    return ClientTls(client_context(client_tls_settings(config), flags="ingester.client.tls"), config.tls_server_name)
