"""Configuration as YAML: effective, against defaults, defaults alone; limits of tenants; secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.settings import Kind, Leaf, Placed, Value, build, value_at, walk
from mimir_rw.config.tree import Config, chosen_defaults, departures

MASK = "********"

Nested = dict[str, Any]


def effective_yaml(config: Config) -> str:
    """Every setting with its value; a configuration file that gives the same configuration, but for secrets."""
    return dump(_document(config, list(walk(Config))))


def defaults_yaml() -> str:
    return effective_yaml(Config())


def diff_yaml(config: Config) -> str:
    """The settings whose values are not our defaults, and as a comment which defaults are not Mimir 2.17's."""
    defaults = build(Config, chosen_defaults(config.target, config.memberlist.join_members))
    changed = [placed for placed in walk(Config) if value_at(config, placed.path) != value_at(defaults, placed.path)]
    lines = [f"#   {line}\n" for line in departure_lines(config)]
    comment = "".join(("# In force here, where the defaults differ from Mimir 2.17's:\n", *lines)) if lines else ""
    return dump(_document(config, changed)) + comment


def departure_lines(config: Config) -> list[str]:
    """`KEY: VALUE (Mimir: VALUE)` for every departing default that is in force in `config`."""
    lines = []
    for placed, departure in departures():
        value = value_at(config, placed.path)
        shown = placed.leaf.format(value)
        if shown == (placed.leaf.format(placed.leaf.default) if departure.alone is None else departure.alone):
            lines.append(f"{placed.key}: {shown} (Mimir: {departure.mimir or chr(34) * 2})")
    return lines


def limits_document(limits: TenantLimits) -> Mapping[str, object]:
    """One tenant's limits by YAML name, durations as text, ready for JSON."""
    return _document(limits, list(walk(TenantLimits)))


def section_document(tree: Any, *, changed_from: Any = None) -> Nested:
    """A section as nested plain values; with `changed_from`, another of its class, only what differs from that."""
    wanted = [
        placed
        for placed in walk(type(tree))
        if changed_from is None or value_at(tree, placed.path) != value_at(changed_from, placed.path)
    ]
    return _document(tree, wanted)


def _document(tree: Any, wanted: list[Placed]) -> Nested:
    root: Nested = {}
    for placed in wanted:
        section = root
        for key in placed.path[:-1]:
            section = section.setdefault(key, {})
        section[placed.path[-1]] = _plain(value_at(tree, placed.path), placed.leaf)
    return root


def _plain(value: Value, leaf: Leaf) -> object:
    """A value as YAML and JSON show it."""
    if leaf.secret:
        return MASK if value else ""
    if leaf.kind is Kind.REPEATED:
        assert isinstance(value, tuple)
        return list(value)
    if leaf.kind in (Kind.DURATION, Kind.NAMES):
        return leaf.format(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def dump(document: Nested) -> str:
    """Nested plain values as YAML, in their order; nothing for an empty document."""
    if not document:
        return ""
    text: str = yaml.dump(
        document, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=120
    )
    return text
