"""What /memberlist shows, in the shape of dskit's JSON (ring-and-gossip.md 16)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from mimir_rw.kv.memberlist.core import Member
from mimir_rw.kv.memberlist.history import Passed
from mimir_rw.kv.memberlist.node import GossipNode
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.store import Store


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value, removed entries included. shown: JSON-ready."""

    key: str
    version: int
    codec_id: str
    encoded: bytes
    shown: Any


def shown_value(store: Store, key: str) -> ShownValue | None:
    stored = store.current(key)
    if stored is None:
        return None
    codec = store.codecs[stored.codec_id]
    return ShownValue(key, stored.version, codec.id, codec.encode(stored.value), codec.show(stored.value))


def shown_message(node: GossipNode | None, store: Store, id: int) -> ShownValue | None:
    """A message that is still in the history; one whose codec is not known here is shown by its size."""
    for message in (*node.sent.messages(), *node.received.messages()) if node is not None else ():
        if message.id == id:
            pair = message.pair
            codec = store.codecs.get(pair.codec_id)
            shown = codec.show(codec.decode(pair.value)) if codec is not None else {"bytes": len(pair.value)}
            return ShownValue(pair.key, message.version, pair.codec_id, pair.value, shown)
    return None


def snapshot(node: GossipNode | None, store: Store, *, now_ms: int, settings: MemberlistSettings) -> dict[str, Any]:
    sizes = {key: len(store.encoded(key)) for key in store.all_keys()}
    members = node.members.members if node is not None else {}
    return {
        "Now": _time(now_ms),
        "Memberlist": {
            "NumMembers": node.members.count() if node is not None else 0,
            "HealthScore": node.members.health_score if node is not None else 0,
            "LocalNode": node.members.name if node is not None else "",
            "ClusterLabel": settings.cluster_label,
        },
        "SortedMembers": [_member(member) for _, member in sorted(members.items())],
        "Store": {key: _stored(store, key) for key in sizes},
        "StoreSizes": sizes,
        "TotalStoreSize": sum(sizes.values()),
        "MessageHistoryBufferBytes": settings.message_history_bytes,
        "SentMessages": _messages(node.sent.messages() if node is not None else ()),
        "ReceivedMessages": _messages(node.received.messages() if node is not None else ()),
        "ZoneAwareRouting": {"Enabled": False},
    }


def _member(member: Member) -> dict[str, Any]:
    return {
        "Name": member.name,
        "Addr": str(ip_address(member.endpoint.addr)),
        "Port": member.endpoint.port,
        "State": int(member.state),
        "Incarnation": member.incarnation,
        "Meta": member.meta.hex(),
        "Versions": list(member.versions),
    }


def _stored(store: Store, key: str) -> dict[str, Any]:
    stored = store.current(key)
    assert stored is not None
    return {
        "Version": stored.version,
        "CodecID": stored.codec_id,
        "Deleted": stored.deleted,
        "UpdateTime": _time(stored.update_time_ms) if stored.update_time_ms else None,
    }


def _messages(messages: Iterable[Passed]) -> list[dict[str, Any]]:
    return [
        {
            "ID": message.id,
            "Time": _time(message.time_ms),
            "Size": message.size,
            "Pair": {
                "Key": message.pair.key,
                "Codec": message.pair.codec_id,
                "Deleted": message.pair.deleted,
                "Size": len(message.pair.value),
            },
            "Version": message.version,
            "Changes": list(message.changes),
        }
        for message in reversed(tuple(messages))
    ]


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
