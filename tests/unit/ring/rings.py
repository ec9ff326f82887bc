"""Rings to test with, and plain-Python twins written straight from the specification."""

from __future__ import annotations

import random

from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, InstanceState, RingDesc

NOW_S = 1_600_000_000
OURS = {RPC_VERSION_KEY: 2}


def instance(id, zone="", tokens=(), **fields):
    fields.setdefault("timestamp_s", NOW_S)
    fields.setdefault("versions", OURS)
    return InstanceDesc(id=id, addr=f"{id}:9095", zone=zone, tokens=tuple(sorted(tokens)), **fields)


def random_ring(seed, *, zones=("a", "b", "c"), per_zone=2, tokens=16, **fields):
    draw = random.Random(seed)
    drawn = draw.sample(range(1 << 32), len(zones) * per_zone * tokens)
    ids = [(zone, f"i-{zone}-{n}") for zone in zones for n in range(per_zone)]
    return RingDesc(
        instance(id, zone, drawn[k * tokens : (k + 1) * tokens], **fields) for k, (zone, id) in enumerate(ids)
    )


def plain_set(ring, key, op, *, factor, zone_aware):
    """Ids of the replica set of section 4.1, in the order of the walk."""
    by_token = sorted(((token, i) for i in ring.values() for token in i.tokens), key=lambda pair: pair[0])
    zones = sorted({i.zone for i in ring.values()})
    found = dict.fromkeys(zones, 0)
    wanted, taken = factor, []
    start = next((n for n, (token, _) in enumerate(by_token) if token > key), 0)
    for _, met in by_token[start:] + by_token[:start]:
        if len(taken) >= min(len(ring), wanted):
            break
        zoned = zone_aware and met.zone != ""
        if met in taken or (zoned and found[met.zone]):
            continue
        if op.extends_on(met.state):
            wanted += 1
        elif zoned:
            found[met.zone] += 1
        taken.append(met)
    return [i.id for i in taken]


STATES = [InstanceState.ACTIVE, InstanceState.LEAVING, InstanceState.PENDING, InstanceState.JOINING]
