"""Gossip's settings, from the configuration to the numbers that it runs by."""

from __future__ import annotations

import msgspec

from mimir_rw.config.consistency import zone_of
from mimir_rw.config.kvstore import ClientTlsConfig, MemberlistConfig
from mimir_rw.config.tree import Config
from mimir_rw.kit.tls import ClientTlsSettings, TlsSettings, client_context, server_context
from mimir_rw.kv.memberlist.messages import META_BYTES_MAX
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.transport import TlsContexts

_TLS_FLAGS = "memberlist.tls"


def memberlist_settings(
    config: MemberlistConfig, *, instance_id: str, advertise_addr: str, meta: bytes
) -> MemberlistSettings:
    """instance_id and advertise_addr count where the section leaves its own ones empty."""
    return MemberlistSettings(
        bind_addr=config.bind_addr,
        bind_port=config.bind_port,
        advertise_addr=config.advertise_addr or advertise_addr,
        advertise_port=config.advertise_port,
        node_name=config.node_name or instance_id,
        meta=meta,
        randomize_node_name=config.randomize_node_name,
        cluster_label=config.cluster_label,
        cluster_label_verification_disabled=config.cluster_label_verification_disabled,
        join_members=config.join_members,
        min_join_backoff_s=config.min_join_backoff / 1000,
        max_join_backoff_s=config.max_join_backoff / 1000,
        max_join_retries=config.max_join_retries,
        abort_if_join_fails=config.abort_if_cluster_join_fails,
        abort_if_fast_join_fails=config.abort_if_cluster_fast_join_fails,
        rejoin_interval_s=config.rejoin_interval / 1000,
        leave_timeout_s=config.leave_timeout / 1000,
        local_broadcast_timeout_s=config.broadcast_timeout_for_local_updates_on_shutdown / 1000,
        stream_timeout_s=config.stream_timeout / 1000,
        packet_dial_timeout_s=config.packet_dial_timeout / 1000,
        packet_write_timeout_s=config.packet_write_timeout / 1000,
        max_concurrent_writes=config.max_concurrent_writes,
        acquire_writer_timeout_s=config.acquire_writer_timeout / 1000,
        compression_enabled=config.compression_enabled,
        retransmit_factor=config.retransmit_factor,
        gossip_interval_s=config.gossip_interval / 1000,
        gossip_nodes=config.gossip_nodes,
        gossip_to_dead_s=config.gossip_to_dead_nodes_time / 1000,
        push_pull_interval_s=config.pull_push_interval / 1000,
        dead_node_reclaim_s=config.dead_node_reclaim_time / 1000,
        left_ingesters_timeout_s=config.left_ingesters_timeout / 1000,
        obsolete_entries_timeout_s=config.obsolete_entries_timeout / 1000,
        message_history_bytes=config.message_history_buffer_bytes,
    )


def member_meta(config: Config, *, instance_id: str) -> bytes:
    """What members tell of themselves, for tools that look at the cluster: as much of it as members may tell."""
    told = {
        "id": instance_id,
        "target": ",".join(config.target),
        "zone": zone_of(config),
        "http_port": config.server.http_listen_port,
        "https": bool(config.server.http_tls_config.cert or config.server.http_tls_config.cert_file),
    }
    meta = msgspec.json.encode(told)
    return meta if len(meta) <= META_BYTES_MAX else b""


def gossip_tls(config: MemberlistConfig) -> TlsContexts | None:
    """None without TLS. The certificate serves both ways; with an authority of their own, members verify each other.
    Raises TlsError."""
    if not config.tls_enabled:
        return None
    serving = TlsSettings(
        cert_file=config.tls_cert_path,
        key_file=config.tls_key_path,
        client_ca_file=config.tls_ca_path,
        client_auth="RequireAndVerifyClientCert" if config.tls_ca_path else "",
        min_version=config.tls_min_version,
        cipher_suites=config.tls_cipher_suites,
    )
    client = client_context(client_tls_settings(config), flags=_TLS_FLAGS)
    return TlsContexts(server_context(serving, flags=_TLS_FLAGS), client, config.tls_server_name)


def client_tls_settings(config: ClientTlsConfig) -> ClientTlsSettings:
    return ClientTlsSettings(
        cert_file=config.tls_cert_path,
        key_file=config.tls_key_path,
        ca_file=config.tls_ca_path,
        skip_verify=config.tls_insecure_skip_verify,
        min_version=config.tls_min_version,
        cipher_suites=config.tls_cipher_suites,
    )
