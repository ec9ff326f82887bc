"""Decides which limits are shown, and which of several exporters shows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from mimir_rw.config.limits import TenantLimits

LEADER_TOKEN = 0
"""The exporter that owns this token shows the limits of all tenants."""

_KNOWN = frozenset(field.name for field in dataclasses.fields(TenantLimits))


def shown_limits(enabled: Sequence[str]) -> tuple[str, ...]:
    """Those of the enabled limits that there are."""
    return tuple(dict.fromkeys(name for name in enabled if name in _KNOWN))


def limit_values(names: Sequence[str], limits: TenantLimits) -> list[tuple[str, float]]:
    """Each limit and its value."""
    return [(name, float(getattr(limits, name))) for name in names]


def override_values(
    names: Sequence[str], overrides: Mapping[str, TenantLimits]
) -> Iterable[tuple[tuple[str, str], float]]:
    """(limit, tenant) and value, for every tenant that has limits of its own."""
    for tenant, limits in overrides.items():
        for name, value in limit_values(names, limits):
            yield (name, tenant), value


def leader(tokens: Mapping[str, Sequence[int]]) -> str | None:
    """The instance that owns LEADER_TOKEN, of those given with their tokens: the one with the smallest token above it,
    as every ring gives keys away. None without any token."""
    owned = [((token - LEADER_TOKEN - 1) % (1 << 32), name) for name, held in tokens.items() for token in held]
    return min(owned)[1] if owned else None
