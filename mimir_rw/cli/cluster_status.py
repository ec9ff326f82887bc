"""What a process says of its cluster, as rows to show. Pure: answers in, rows out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from mimir_rw.app.modules import RINGS, targets
from mimir_rw.ring.desc import HTTP_PORT_KEY


@dataclass(frozen=True, slots=True)
class RingEntry:
    """An instance of a ring. http_port: where its pages are, 0 if it does not say."""

    ring: str
    id: str
    state: str
    zone: str
    address: str
    http_port: int


@dataclass(slots=True)
class Process:
    """An instance of all the rings that it is in. readiness: what its /ready says; "" when it was not asked."""

    id: str
    zone: str
    url: str
    states: dict[str, str]
    """By ring."""
    readiness: str = ""

    @property
    def group(self) -> str:
        """The target that it probably runs: the smallest that has all its rings, and something more to it than one."""
        holding = [target for target in targets().values() if set(self.states) <= set(target.components)]
        groups = [target for target in holding if len(target.components) > 1]
        return min(groups or holding, key=lambda target: len(target.components)).name if holding else ""


def ring_entries(ring: str, body: bytes) -> list[RingEntry]:
    """What a ring's page says, as JSON; nothing if it is something else."""
    try:
        return [
            RingEntry(
                ring,
                str(shard["id"]),
                str(shard["state"]),
                str(shard.get("zone", "")),
                str(shard["address"]),
                int(shard.get("versions", {}).get(str(HTTP_PORT_KEY), 0)),
            )
            for shard in json.loads(body)["shards"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def processes(entries: Iterable[RingEntry], scheme: str) -> list[Process]:
    """The entries by process, in the order of their groups, zones and names."""
    found: dict[tuple[str, str], Process] = {}
    for entry in entries:
        host = urlsplit(f"//{entry.address}").hostname or ""
        shown = f"[{host}]" if ":" in host else host
        url = f"{scheme}://{shown}:{entry.http_port}" if host and entry.http_port else ""
        process = found.setdefault((entry.id, entry.address), Process(entry.id, entry.zone, url, {}))
        process.states[entry.ring] = entry.state
    return sorted(found.values(), key=lambda process: (process.group, process.zone, process.id))


def document(services: Mapping[str, str], found: Iterable[Process], ready: bool, reason: str) -> dict[str, object]:
    """All of it for --json."""
    return {
        "ready": ready,
        "reason": reason,
        "services": dict(services),
        "processes": [
            {
                "id": process.id,
                "group": process.group,
                "zone": process.zone,
                "url": process.url,
                "rings": process.states,
                "readiness": process.readiness,
            }
            for process in found
        ],
    }


def ring_paths() -> dict[str, str]:
    """The page of each ring."""
    return {ring: f"/{ring}/ring" for ring in RINGS}
