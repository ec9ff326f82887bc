"""What makes processes a cluster: the stores of rings, gossip, calls between processes, rings, the series key."""

from __future__ import annotations

import ssl
from typing import TypeVar

import mimir_rw
from mimir_rw.app.build.base import Base, tls_settings
from mimir_rw.app.identity import RingIdentity, process_address, process_id, ring_identity
from mimir_rw.config.consistency import rings
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.kvstore import ClientTlsConfig, KvStoreConfig
from mimir_rw.kit.host import is_ip_address
from mimir_rw.kit.service import Service
from mimir_rw.kit.tls import ClientTlsSettings, TlsSettings, client_context, server_context
from mimir_rw.kv.contract import KV, Codec
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.transport import TlsContexts
from mimir_rw.kv.memory import MemoryKV, MemoryStore
from mimir_rw.kv.prefix import PrefixKV
from mimir_rw.kv.series_key import SeriesKeyCodec, SeriesKeyService
from mimir_rw.ring.codec import RING_CODEC
from mimir_rw.ring.desc import RingDesc
from mimir_rw.ring.service import RingMetrics, RingService
from mimir_rw.ring.settings import RingSettings
from mimir_rw.rpc.connection import ConnectionSettings
from mimir_rw.rpc.framing import FrameBounds
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.peer import ClientTls, PeerSettings
from mimir_rw.rpc.pool import RpcPools
from mimir_rw.rpc.server import RpcServer, ServerSettings

V = TypeVar("V")

_JOIN_WAIT_S = 1.5
"""What a first process of a cluster waits for others before it makes a series key by itself; should it have been too
hasty, the older key of the others wins."""
_EPOCH_BYTES = 8


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
        self._ring_configs = {key.partition(".")[0].replace("_", "-"): ring for key, ring in rings(config).items()}
        self._memory = MemoryStore()
        self._ring_metrics = RingMetrics(metrics=base.metrics, clock=base.clock)
        self.memberlist: MemberlistService | None = None
        self.rings: dict[str, RingService] = {}
        self.series_key: SeriesKeyService
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
        metrics = RpcMetrics(base.metrics)
        self.router = RpcServer(
            host=config.server.grpc_listen_address,
            port=config.server.grpc_listen_port,
            identity=identity,
            settings=ServerSettings(connection=connection, graceful_s=config.server.graceful_shutdown_timeout / 1000),
            metrics=metrics,
            tls=_listener_tls(base),
        )
        self.pool = RpcPools(
            identity=identity,
            settings=PeerSettings(connection=connection),
            rng=base.rng,
            metrics=metrics,
            tls=_client_tls(config.ingester_client.grpc_client_config),
        )

    def ring_identity(self, ring: str) -> RingIdentity:
        """How this process is shown in a ring."""
        key = f"{ring.replace('-', '_')}.ring"
        port = self._base.config.server.grpc_listen_port
        return ring_identity(key, self._ring_configs[ring], self._base.config, self._machine, port=port)

    def gossip(self) -> Service:
        base = self._base
        config = base.config.memberlist
        tls = None
        if config.tls_enabled:
            files = TlsSettings(cert_file=config.tls_cert_path, key_file=config.tls_key_path)
            client = client_context(_client_settings(config), flags="memberlist.tls")
            tls = TlsContexts(server_context(files, flags="memberlist.tls"), client, config.tls_server_name)
        self.memberlist = MemberlistService(
            settings=self._memberlist_settings(),
            codecs=(RING_CODEC, SeriesKeyCodec()),
            clock=base.clock,
            rng=base.rng,
            metrics=base.metrics,
            tls=tls,
            hostname=process_id(base.config, self._machine),
            inline=base.world.one_loop,
        )
        return self.memberlist

    def ring(self, name: str) -> Service:
        config = self._ring_configs[name]
        ingesters = self._base.config.ingester.ring
        replicated = name == "ingester"
        ring = self.rings[name] = RingService(
            name,
            kv=self.ring_kv(name),
            key=ring_key(name),
            settings=RingSettings(
                replication_factor=ingesters.replication_factor if replicated else 1,
                zone_awareness=ingesters.zone_awareness_enabled if replicated else False,
                heartbeat_timeout_s=config.heartbeat_timeout // 1000,
            ),
            clock=self._base.clock,
            metrics=self._ring_metrics,
        )
        return ring

    def ring_kv(self, name: str) -> KV[RingDesc]:
        kvstore = self._ring_configs[name].kvstore
        return PrefixKV(self._kv(kvstore, RING_CODEC), kvstore.prefix)

    def find_series_key(self) -> Service:
        base = self._base
        self.series_key = SeriesKeyService(
            kv=self._kv(self._ring_configs["ingester"].kvstore, SeriesKeyCodec()),
            clock=base.clock,
            secret=base.world.secret,
            joined=self._joined,
            join_wait_s=_JOIN_WAIT_S,
        )
        return self.series_key

    def _joined(self) -> bool:
        return self.memberlist is None or not self._base.config.memberlist.join_members or self.memberlist.joined

    def _kv(self, kvstore: KvStoreConfig, codec: Codec[V]) -> KV[V]:
        if kvstore.store == "inmemory":
            return MemoryKV(codec, store=self._memory)
        if kvstore.store == "memberlist":
            assert self.memberlist is not None
            return self.memberlist.kv(codec)
        raise ConfigError(f"kvstore.store: {kvstore.store} is not available yet, use memberlist")

    def _memberlist_settings(self) -> MemberlistSettings:
        config = self._base.config
        gossip = config.memberlist
        own = process_address(config, self._machine)
        return MemberlistSettings(
            bind_addr=gossip.bind_addr,
            bind_port=gossip.bind_port,
            advertise_addr=gossip.advertise_addr or (own if is_ip_address(own) else ""),
            advertise_port=gossip.advertise_port,
            node_name=gossip.node_name or process_id(config, self._machine),
            randomize_node_name=gossip.randomize_node_name,
            cluster_label=gossip.cluster_label,
            cluster_label_verification_disabled=gossip.cluster_label_verification_disabled,
            join_members=gossip.join_members,
            min_join_backoff_s=gossip.min_join_backoff / 1000,
            max_join_backoff_s=gossip.max_join_backoff / 1000,
            max_join_retries=gossip.max_join_retries,
            abort_if_join_fails=gossip.abort_if_cluster_join_fails,
            abort_if_fast_join_fails=gossip.abort_if_cluster_fast_join_fails,
            rejoin_interval_s=gossip.rejoin_interval / 1000,
            leave_timeout_s=gossip.leave_timeout / 1000,
            local_broadcast_timeout_s=gossip.broadcast_timeout_for_local_updates_on_shutdown / 1000,
            stream_timeout_s=gossip.stream_timeout / 1000,
            packet_dial_timeout_s=gossip.packet_dial_timeout / 1000,
            packet_write_timeout_s=gossip.packet_write_timeout / 1000,
            max_concurrent_writes=gossip.max_concurrent_writes,
            acquire_writer_timeout_s=gossip.acquire_writer_timeout / 1000,
            compression_enabled=gossip.compression_enabled,
            retransmit_factor=gossip.retransmit_factor,
            gossip_interval_s=gossip.gossip_interval / 1000,
            gossip_nodes=gossip.gossip_nodes,
            gossip_to_dead_s=gossip.gossip_to_dead_nodes_time / 1000,
            push_pull_interval_s=gossip.pull_push_interval / 1000,
            dead_node_reclaim_s=gossip.dead_node_reclaim_time / 1000,
            left_ingesters_timeout_s=gossip.left_ingesters_timeout / 1000,
            obsolete_entries_timeout_s=gossip.obsolete_entries_timeout / 1000,
            message_history_bytes=gossip.message_history_buffer_bytes,
        )


def _listener_tls(base: Base) -> ssl.SSLContext | None:
    settings = tls_settings(base.config, base.config.server.grpc_tls_config)
    return server_context(settings, flags="server.grpc-tls") if settings.enabled else None


def _client_tls(config: ClientTlsConfig) -> ClientTls | None:
    if not config.tls_enabled:
        return None
    return ClientTls(client_context(_client_settings(config), flags="ingester.client.tls"), config.tls_server_name)


def _client_settings(config: ClientTlsConfig) -> ClientTlsSettings:
    return ClientTlsSettings(
        cert_file=config.tls_cert_path,
        key_file=config.tls_key_path,
        ca_file=config.tls_ca_path,
        skip_verify=config.tls_insecure_skip_verify,
        min_version=config.tls_min_version,
        cipher_suites=config.tls_cipher_suites,
    )
