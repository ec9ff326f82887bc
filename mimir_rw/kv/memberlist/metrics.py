"""Metrics of the gossiped store, by dskit's names. All are read at the scrape from what the parts count themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mimir_rw.kit.metrics import Metrics, Reading
from mimir_rw.kv.memberlist.node import GossipNode
from mimir_rw.kv.memberlist.store import Store

_PREFIX = "cortex_memberlist_client_"
_TRANSPORT = "cortex_memberlist_tcp_transport_"


@dataclass(slots=True)
class CasCounts:
    attempts: int = 0
    successes: int = 0
    failures: int = 0


class Counted(Protocol):
    node: GossipNode | None
    store: Store
    cas_counts: CasCounts


def register(metrics: Metrics, of: Counted) -> None:
    _store_metrics(metrics, of)
    _cluster_metrics(metrics, of)
    _transport_metrics(metrics, of)


def _store_metrics(metrics: Metrics, of: Counted) -> None:
    cas, store = of.cas_counts, of.store
    count = _Counters(metrics, _PREFIX)
    count("cas_attempt_total", "Attempted CAS operations.", lambda: cas.attempts)
    count("cas_success_total", "Successful CAS operations.", lambda: cas.successes)
    count("cas_failure_total", "Failed CAS operations.", lambda: cas.failures)
    count(
        "received_broadcasts_invalid_total", "Received user messages that were invalid.", lambda: store.counts.invalid
    )
    count(
        "received_broadcasts_dropped_total",
        "Received user messages that were dropped: over a bound, or of an unknown codec.",
        lambda: store.counts.dropped,
    )
    metrics.gauges_read(
        "cortex_memberlist_client_kv_store_count", "Keys in the store.", (), lambda: [((), float(len(store)))]
    )


def _cluster_metrics(metrics: Metrics, of: Counted) -> None:
    count = _Counters(metrics, _PREFIX)
    node = _OfNode(of)
    count("received_broadcasts_total", "Received user messages.", node(lambda n: n.exchanged.messages))
    count(
        "received_broadcasts_bytes_total", "Bytes of received user messages.", node(lambda n: n.exchanged.message_bytes)
    )
    count("state_pushes_total", "Full states sent to another member.", node(lambda n: n.exchanged.pushes))
    count("state_pushes_bytes_total", "Bytes of full states sent.", node(lambda n: n.exchanged.push_bytes))
    count("state_pulls_total", "Full states taken from another member.", node(lambda n: n.exchanged.pulls))
    count("state_pulls_bytes_total", "Bytes of full states taken.", node(lambda n: n.exchanged.pull_bytes))
    count(
        "messages_to_broadcast_dropped_total",
        "Messages dropped from the broadcast queues for want of room.",
        node(lambda n: n.members.local.dropped + n.members.forwarded.dropped),
    )
    count(
        "name_conflicts_total",
        "Messages of processes that have the name of another member.",
        node(lambda n: n.members.name_conflicts),
    )
    count("refused_nodes_total", "Members not taken up for want of room.", node(lambda n: n.members.refused_nodes))

    def queued() -> Reading:
        members = of.node.members if of.node is not None else None
        local, forwarded = (len(members.local), len(members.forwarded)) if members is not None else (0, 0)
        return [(("local",), float(local)), (("gossip",), float(forwarded))]

    metrics.gauges_read(
        "cortex_memberlist_client_messages_in_broadcast_queue", "Messages waiting to be gossiped.", ("queue",), queued
    )
    for name, help, read in (
        (
            "cortex_memberlist_client_messages_in_broadcast_queue_bytes",
            "Bytes of messages waiting to be gossiped.",
            node(lambda n: n.members.local.size + n.members.forwarded.size),
        ),
        (
            "cortex_memberlist_client_cluster_members_count",
            "Members of the cluster that are alive or suspect.",
            node(lambda n: n.members.count()),
        ),
        (
            "cortex_memberlist_client_cluster_node_health_score",
            "Health of this member: 0 is well, 7 is worst.",
            node(lambda n: n.members.health_score),
        ),
    ):
        metrics.gauges_read(name, help, (), _reading(read))


def _transport_metrics(metrics: Metrics, of: Counted) -> None:
    count = _Counters(metrics, _TRANSPORT)
    node = _OfNode(of)
    count("packets_sent_total", "Packets sent.", node(lambda n: n.transport.counts.sent_packets))
    count("packets_sent_bytes_total", "Bytes of packets sent.", node(lambda n: n.transport.counts.sent_packet_bytes))
    count(
        "packets_sent_errors_total",
        "Packets that could not be sent.",
        node(lambda n: n.transport.counts.send_failures),
    )
    count(
        "packets_dropped_total",
        "Packets dropped because too many were being sent.",
        node(lambda n: n.exchanged.overflowed),
    )
    count("packets_received_total", "Packets received.", node(lambda n: n.transport.counts.received_packets))
    count(
        "packets_received_bytes_total",
        "Bytes of packets received.",
        node(lambda n: n.transport.counts.received_packet_bytes),
    )
    count(
        "packets_received_errors_total",
        "Packets and streams that were damaged or not for this cluster.",
        node(lambda n: n.transport.counts.damaged_packets),
    )
    count(
        "packets_received_wrong_digest_total",
        "Packets whose digest does not match.",
        node(lambda n: n.transport.counts.wrong_digests),
    )
    count(
        "connections_refused_total",
        "Connections refused because too many were open.",
        node(lambda n: n.transport.counts.refused_connections),
    )


class _Counters:
    def __init__(self, metrics: Metrics, prefix: str) -> None:
        self._metrics = metrics
        self._prefix = prefix

    def __call__(self, name: str, help: str, read: Callable[[], float]) -> None:
        self._metrics.counters_read(self._prefix + name, help, (), _reading(read))


class _OfNode:
    """Reads a number of the member, 0 before it has started."""

    def __init__(self, of: Counted) -> None:
        self._of = of

    def __call__(self, read: Callable[[GossipNode], float]) -> Callable[[], float]:
        return lambda: read(self._of.node) if self._of.node is not None else 0.0


def _reading(read: Callable[[], float]) -> Callable[[], Reading]:
    return lambda: [((), float(read()))]
