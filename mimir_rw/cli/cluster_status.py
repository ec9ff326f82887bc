"""What a process says of its cluster, as rows to show. Pure: answers in, rows out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_ALIVE = (0, 1)
"""States of members that take part: alive and suspect."""


@dataclass(slots=True)
class Process:
    """A process as its cluster knows it. readiness: what its /ready says; "" when it was not asked."""

    id: str
    target: str
    zone: str
    url: str
    rings: dict[str, str] = field(default_factory=dict)
    """Its state in each ring that it is in."""
    readiness: str = ""


def cluster_processes(memberlist: bytes, rings: bytes) -> list[Process]:
    """The processes that gossip, with the rings they are in, and what is in rings without gossiping, in the order of
    targets, zones and names. memberlist, rings: what /memberlist and /ring answer, as JSON; anything else says nothing.
    """
    found = {process.id: process for process in _members(memberlist)}
    for ring, shard in _shards(rings):
        id = str(shard.get("id", ""))
        process = found.setdefault(id, Process(id, "", str(shard.get("zone", "")), ""))
        process.rings[ring] = str(shard.get("state", ""))
    return sorted(found.values(), key=lambda process: (process.target, process.zone, process.id))


def _members(body: bytes) -> Iterable[Process]:
    for member in _list(_object(body).get("SortedMembers")):
        told = _object(_unhex(member.get("Meta")))
        if member.get("State") in _ALIVE and "id" in told:
            host = str(member.get("Addr", ""))
            shown = f"[{host}]" if ":" in host else host
            scheme = "https" if told.get("https") else "http"
            url = f"{scheme}://{shown}:{told['http_port']}" if told.get("http_port") else ""
            yield Process(str(told["id"]), str(told.get("target", "")), str(told.get("zone", "")), url)


def _shards(body: bytes) -> Iterable[tuple[str, Mapping[str, object]]]:
    rings = _object(body).get("rings")
    for name, ring in rings.items() if isinstance(rings, dict) else ():
        if isinstance(ring, dict):
            yield from ((name, shard) for shard in _list(ring.get("shards")))


def document(ready: bool, reason: str, services: Mapping[str, str], processes: Iterable[Process]) -> dict[str, object]:
    """All of it for --json."""
    return {
        "ready": ready,
        "reason": reason,
        "services": dict(services),
        "processes": [
            {
                "id": process.id,
                "target": process.target,
                "zone": process.zone,
                "url": process.url,
                "rings": process.rings,
                "readiness": process.readiness,
            }
            for process in processes
        ],
    }


def _object(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _list(found: object) -> list[dict[str, object]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _unhex(found: object) -> bytes:
    try:
        return bytes.fromhex(found) if isinstance(found, str) else b""
    except ValueError:
        return b""
