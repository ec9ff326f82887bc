"""Settings of the stores that hold rings: gossip, etcd, consul, and the client side of TLS."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.config.settings import (
    Category,
    Departure,
    duration,
    integer,
    names,
    number,
    repeated,
    section,
    switch,
    text,
)

ADVANCED = Category.ADVANCED
EXPERIMENTAL = Category.EXPERIMENTAL
PORT_MAX = 65_535
TLS_VERSIONS = ("", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13")
SINGLE_STORES = ("memberlist", "inmemory", "etcd", "consul")
STORES = (*SINGLE_STORES, "multi")
ALONE = "one process has nobody to gossip with and holds one copy"


@dataclass(frozen=True, slots=True)
class ClientTlsConfig:
    """TLS of connections that this process makes."""

    tls_enabled: bool = switch(False, flag=".tls-enabled", help="Connect with TLS.", category=ADVANCED)
    tls_cert_path: str = text(
        "", flag=".tls-cert-path", help="File with the client certificate (PEM).", category=ADVANCED
    )
    tls_key_path: str = text(
        "", flag=".tls-key-path", help="File with the key of the client certificate (PEM).", category=ADVANCED
    )
    tls_ca_path: str = text(
        "",
        flag=".tls-ca-path",
        help="File with the certificates (PEM) of the authorities that sign server certificates; empty means the "
        "host's.",
        category=ADVANCED,
    )
    tls_server_name: str = text(
        "", flag=".tls-server-name", help="Name that the server certificate must have.", category=ADVANCED
    )
    tls_insecure_skip_verify: bool = switch(
        False, flag=".tls-insecure-skip-verify", help="Do not check the server certificate.", category=ADVANCED
    )
    tls_cipher_suites: tuple[str, ...] = names(
        (), flag=".tls-cipher-suites", help="TLS cipher suites to offer; empty means a sound choice.", category=ADVANCED
    )
    tls_min_version: str = text(
        "",
        flag=".tls-min-version",
        help="Lowest TLS version to accept; empty means TLS 1.2.",
        category=ADVANCED,
        choices=TLS_VERSIONS,
    )


@dataclass(frozen=True, slots=True)
class ConsulConfig:
    host: str = text("localhost:8500", flag=".hostname", help="Host and port of Consul.")
    acl_token: str = text("", flag=".acl-token", help="ACL token for Consul.", category=ADVANCED, secret=True)
    http_client_timeout: int = duration(
        "20s", flag=".client-timeout", help="Longest time of a request to Consul.", category=ADVANCED, low="1ms"
    )
    consistent_reads: bool = switch(
        False, flag=".consistent-reads", help="Read from Consul's leader only.", category=ADVANCED
    )
    watch_rate_limit: float = number(
        1,
        flag=".watch-rate-limit",
        help="Requests per second for watching a key. 0 means no limit.",
        category=ADVANCED,
    )
    watch_burst_size: int = integer(
        1, flag=".watch-burst-size", help="Requests for watching a key that may come at once.", category=ADVANCED
    )
    cas_retry_delay: int = duration(
        "1s",
        flag=".cas-retry-delay",
        help="Longest wait before a lost compare-and-swap is tried again.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class EtcdConfig(ClientTlsConfig):
    """etcd, over its HTTP API."""

    endpoints: tuple[str, ...] = repeated((), flag=".endpoints", help="Addresses of etcd, host:port.")
    dial_timeout: int = duration(
        "10s", flag=".dial-timeout", help="Longest time for connecting to etcd.", category=ADVANCED, low="1ms"
    )
    max_retries: int = integer(
        10, flag=".max-retries", help="How often a failed operation is tried again.", category=ADVANCED
    )
    username: str = text("", flag=".username", help="User name for etcd.")
    password: str = text("", flag=".password", help="Password for etcd.", secret=True)


@dataclass(frozen=True, slots=True)
class MultiConfig:
    """Two stores at once, for moving from one to the other."""

    primary: str = text("", flag=".primary", help="Store that is read and written.", category=ADVANCED)
    secondary: str = text("", flag=".secondary", help="Store that gets a copy of each write.", category=ADVANCED)
    mirror_enabled: bool = switch(
        False, flag=".mirror-enabled", help="Copy writes to the secondary store.", category=ADVANCED
    )
    mirror_timeout: int = duration(
        "2s",
        flag=".mirror-timeout",
        help="Longest time of a write to the secondary store.",
        category=ADVANCED,
        low="1ms",
    )


@dataclass(frozen=True, slots=True)
class MultiRuntimeConfig:
    """`multi_kv_config` of the runtime file: what it leaves out is as configured."""

    primary: str = text("memberlist", flag=None, help="Store that is read and written.", choices=SINGLE_STORES)
    mirror_enabled: bool = switch(False, flag=None, help="Copy writes to the secondary store.")


@dataclass(frozen=True, slots=True)
class KvStoreConfig:
    store: str = text(
        "memberlist",
        flag=".store",
        help="Where the ring is kept.",
        choices=STORES,
        departure=Departure("memberlist", ALONE, alone="inmemory"),
    )
    prefix: str = text("collectors/", flag=".prefix", help="What keys in the store begin with.", category=ADVANCED)
    consul: ConsulConfig = section(ConsulConfig, flag_prefix=".consul")
    etcd: EtcdConfig = section(EtcdConfig, flag_prefix=".etcd")
    multi: MultiConfig = section(MultiConfig, flag_prefix=".multi")


@dataclass(frozen=True, slots=True)
class MemberlistConfig(ClientTlsConfig):
    """Gossip. With TLS on, the certificate is also what this process shows to those that connect to it."""

    node_name: str = text(
        "",
        flag="memberlist.nodename",
        help="Name of this member; empty means common.instance_id, and else the host's name.",
        category=ADVANCED,
    )
    randomize_node_name: bool = switch(
        True, flag="memberlist.randomize-node-name", help="Append chance letters to the name.", category=ADVANCED
    )
    stream_timeout: int = duration(
        "2s",
        flag="memberlist.stream-timeout",
        help="Longest time for connecting to a member, and for an exchange of the whole state.",
        category=ADVANCED,
        low="1ms",
    )
    retransmit_factor: int = integer(
        4,
        flag="memberlist.retransmit-factor",
        help="A message is sent this many times the logarithm of the number of members.",
        category=ADVANCED,
        low=1,
    )
    pull_push_interval: int = duration(
        "30s",
        flag="memberlist.pullpush-interval",
        help="How often the whole state is exchanged with another member. 0 means never.",
        category=ADVANCED,
    )
    gossip_interval: int = duration(
        "200ms", flag="memberlist.gossip-interval", help="How often news are sent.", category=ADVANCED, low="10ms"
    )
    gossip_nodes: int = integer(
        3, flag="memberlist.gossip-nodes", help="How many members news are sent to at a time.", category=ADVANCED, low=1
    )
    gossip_to_dead_nodes_time: int = duration(
        "30s",
        flag="memberlist.gossip-to-dead-nodes-time",
        help="How long a dead member is told news, so that it can object.",
        category=ADVANCED,
    )
    dead_node_reclaim_time: int = duration(
        "0s",
        flag="memberlist.dead-node-reclaim-time",
        help="How long after its death a member's name may come back with another address. 0 means never.",
        category=ADVANCED,
    )
    compression_enabled: bool = switch(
        True, flag="memberlist.compression-enabled", help="Compress messages.", category=ADVANCED
    )
    advertise_addr: str = text(
        "",
        flag="memberlist.advertise-addr",
        help="Address that other members reach this one at; empty means that of its rings.",
    )
    advertise_port: int = integer(
        0,
        flag="memberlist.advertise-port",
        help="Port that other members reach this one at; 0 means the one it listens on.",
        high=PORT_MAX,
        departure=Departure("7946", "a changed bind_port need not be said twice"),
    )
    cluster_label: str = text(
        "mimir-rw",
        flag="memberlist.cluster-label",
        help="Name of the cluster; members with another label are not listened to.",
        category=ADVANCED,
        departure=Departure("", "instances must never gossip with a Mimir cluster by accident"),
    )
    cluster_label_verification_disabled: bool = switch(
        False,
        flag="memberlist.cluster-label-verification-disabled",
        help="Listen to members with another label too, while the label is being changed.",
        category=ADVANCED,
    )
    join_members: tuple[str, ...] = repeated(
        (),
        flag="memberlist.join",
        help="Members to join: host:port, or a name behind dns+, dnssrv+ or dnssrvnoa+ that stands for several.",
    )
    min_join_backoff: int = duration(
        "1s",
        flag="memberlist.min-join-backoff",
        help="Shortest wait between tries to join.",
        category=ADVANCED,
        low="1ms",
    )
    max_join_backoff: int = duration(
        "1m",
        flag="memberlist.max-join-backoff",
        help="Longest wait between tries to join.",
        category=ADVANCED,
        low="1ms",
    )
    max_join_retries: int = integer(
        10,
        flag="memberlist.max-join-retries",
        help="How often joining is tried before abort_if_cluster_join_fails counts; it is tried on after that.",
        category=ADVANCED,
    )
    abort_if_cluster_fast_join_fails: bool = switch(
        False,
        flag="memberlist.abort-if-fast-join-fails",
        help="End the process when no member can be joined at once at start.",
        category=ADVANCED,
    )
    abort_if_cluster_join_fails: bool = switch(
        False,
        flag="memberlist.abort-if-join-fails",
        help="End the process when no member could be joined after all retries.",
        category=ADVANCED,
    )
    rejoin_interval: int = duration(
        "15s",
        flag="memberlist.rejoin-interval",
        help="How often join_members are joined again, which heals a cluster that has split. 0 means never.",
        category=ADVANCED,
        departure=Departure("0s", "a cluster that was cut in two finds together again by itself"),
    )
    left_ingesters_timeout: int = duration(
        "5m",
        flag="memberlist.left-ingesters-timeout",
        help="How long instances that have left are remembered in rings.",
        category=ADVANCED,
    )
    obsolete_entries_timeout: int = duration(
        "30s",
        flag="memberlist.obsolete-entries-timeout",
        help="How long deleted keys are remembered.",
        category=EXPERIMENTAL,
    )
    leave_timeout: int = duration(
        "20s", flag="memberlist.leave-timeout", help="Longest time for leaving the cluster.", category=ADVANCED
    )
    broadcast_timeout_for_local_updates_on_shutdown: int = duration(
        "10s",
        flag="memberlist.broadcast-timeout-for-local-updates-on-shutdown",
        help="How long news of this process may take to be sent before it leaves.",
        category=ADVANCED,
    )
    message_history_buffer_bytes: int = integer(
        0,
        flag="memberlist.message-history-buffer-bytes",
        help="Bytes of messages sent, and of those received, that are kept for /memberlist. 0 keeps none.",
        category=ADVANCED,
    )
    bind_addr: tuple[str, ...] = repeated(
        (), flag="memberlist.bind-addr", help="Addresses to listen on for gossip; none means all."
    )
    bind_port: int = integer(7946, flag="memberlist.bind-port", help="Port to listen on for gossip.", high=PORT_MAX)
    packet_dial_timeout: int = duration(
        "500ms",
        flag="memberlist.packet-dial-timeout",
        help="Longest time for connecting to a member to send it news.",
        category=ADVANCED,
        low="1ms",
    )
    packet_write_timeout: int = duration(
        "500ms",
        flag="memberlist.packet-write-timeout",
        help="Longest time for sending news to a member.",
        category=ADVANCED,
        low="1ms",
    )
    max_concurrent_writes: int = integer(
        5, flag="memberlist.max-concurrent-writes", help="Packets sent at once.", category=ADVANCED, low=1
    )
    acquire_writer_timeout: int = duration(
        "1s",
        flag="memberlist.acquire-writer-timeout",
        help="How long a packet waits for its turn to be sent before it is dropped.",
        category=ADVANCED,
    )
