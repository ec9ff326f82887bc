"""Numbers that the protocol runs by. Times are seconds, sizes bytes.

Bounds without a setting keep what others send from filling the memory. They are far from what a cluster needs (a ring
of a thousand ingesters with 512 tokens takes some 3 MiB of `value_bytes_max` and of `stream_bytes_max`); memberlist has
its own as constants too. What is over one is counted (metrics.py: dropped, refused)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberlistSettings:
    """`memberlist.*`; the defaults are Mimir's."""

    bind_addr: tuple[str, ...] = ()
    """Addresses to listen on; none: all."""
    bind_port: int = 7946
    advertise_addr: str = ""
    """IP address that others reach this process at; empty: the first one of the host that is not loopback."""
    advertise_port: int = 0
    """0: the bind port."""
    node_name: str = ""
    """Empty: the host name."""
    randomize_node_name: bool = True
    meta: bytes = b""
    """What this member tells of itself to all others, at most 512 bytes."""
    cluster_label: str = "mimir-rw"
    cluster_label_verification_disabled: bool = False
    join_members: tuple[str, ...] = ()
    min_join_backoff_s: float = 1.0
    max_join_backoff_s: float = 60.0
    max_join_retries: int = 10
    abort_if_join_fails: bool = False
    abort_if_fast_join_fails: bool = False
    fast_join_members_max: int = 4
    rejoin_interval_s: float = 0.0
    """0: never."""
    leave_timeout_s: float = 20.0
    local_broadcast_timeout_s: float = 10.0
    """How long a stop waits until own changes have been sent."""

    stream_timeout_s: float = 2.0
    packet_dial_timeout_s: float = 0.5
    packet_write_timeout_s: float = 0.5
    max_concurrent_writes: int = 5
    acquire_writer_timeout_s: float = 1.0
    packet_bytes_max: int = 10 << 20
    stream_bytes_max: int = 40 << 20
    streams_max: int = 128
    packet_connections_max: int = 1024
    compression_enabled: bool = True

    retransmit_factor: int = 4
    gossip_interval_s: float = 0.2
    gossip_nodes: int = 3
    gossip_to_dead_s: float = 30.0
    push_pull_interval_s: float = 30.0
    """0: never but when joining."""
    dead_node_reclaim_s: float = 0.0
    """0: a dead node's name is never taken over from another address."""
    probe_interval_s: float = 5.0
    probe_timeout_s: float = 2.0
    indirect_checks: int = 3
    suspicion_factor: int = 4
    suspicion_max_factor: int = 6
    awareness_max: int = 8
    nodes_max: int = 65536
    broadcasts_max: int = 4096
    """Messages waiting to be gossiped, in each of the queues."""

    left_ingesters_timeout_s: float = 300.0
    """How long tombstones are kept."""
    obsolete_entries_timeout_s: float = 30.0
    """How long deleted keys are kept."""
    keys_max: int = 65536
    value_bytes_max: int = 16 << 20
    message_history_bytes: int = 0
    """For each of the sent and the received messages; 0: none are kept."""
