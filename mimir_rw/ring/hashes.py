"""Hashes that place things on rings, where no kernel computes them (ring-and-gossip.md section 6): 32 bits each."""

from __future__ import annotations

import hashlib

from mimir_rw.formats.ulid import ulid_bytes

_BASIS = 2166136261
_PRIME = 16777619
_U32 = 0xFFFF_FFFF


def fnv1(*parts: bytes, state: int = _BASIS) -> int:
    """Of the parts one after another. Series, metadata and blocks."""
    for part in parts:
        for byte in part:
            state = (state * _PRIME & _U32) ^ byte
    return state


def metadata_token(tenant: str, metric: str) -> int:
    """Where the metadata of a metric belongs on the ingesters' ring."""
    return fnv1(tenant.encode(), metric.encode())


def block_token(ulid: str) -> int:
    """Where a block belongs on the store-gateways' ring. Raises BadRequest if it is no ULID."""
    return fnv1(ulid_bytes(ulid))


def shard_seed(identifier: str, zone: str) -> int:
    """Seed of the draws that make a shuffle shard: an int64."""
    text = identifier.encode() + (b"\0" + zone.encode() if zone else b"")
    return int.from_bytes(hashlib.md5(text, usedforsecurity=False).digest()[:8], "big", signed=True)


def fnv1a(*parts: bytes, state: int = _BASIS) -> int:
    """Of the parts one after another. Tenants and jobs on the compactors' ring."""
    for part in parts:
        for byte in part:
            state = (state ^ byte) * _PRIME & _U32
    return state
