"""What a target runs: targets as data (`targets/`, packed under `_data`), modules with what they need.

A module is a service of the process. Those every process has come by themselves; a component brings what it needs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from mimir_rw.config.errors import ConfigError

BASE = ("server", "event-loop-lag", "runtime-config")
"""Modules of every process."""
GATE = "api"
"""The gate before the components: after all of them."""

# What must be Running before it; only modules of the same process count.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "server": (),
    "event-loop-lag": (),
    "runtime-config": ("server",),
    "ingester": ("server", "runtime-config"),
    "distributor": ("server", "runtime-config", "ingester"),
    "querier": ("server", "runtime-config", "ingester"),
    GATE: ("server", "runtime-config", "ingester", "distributor", "querier"),
}

# A component that cannot yet reach these in another process.
_BESIDE: Mapping[str, tuple[str, ...]] = {"distributor": ("ingester",), "querier": ("ingester",)}
_GROUPS = ("read", "write", "backend")


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    description: str
    components: tuple[str, ...]
    routes: tuple[str, ...]
    """Paths that a component serves, as in `api/routes.py`; empty for a target of several components."""


@cache
def targets() -> Mapping[str, Target]:
    """Every target by name, `all` first."""
    found = {}
    for file in resources.files("mimir_rw._data").joinpath("targets").iterdir():
        name, dot, suffix = file.name.rpartition(".")
        if dot and suffix == "toml":
            found[name] = _target(name, tomllib.loads(file.read_text(encoding="utf-8")))
    return {name: found[name] for name in sorted(found, key=lambda name: (name != "all", name))}


def _target(name: str, data: Mapping[str, object]) -> Target:
    lists = {key: data.get(key, []) for key in ("components", "routes")}
    description = data["description"]
    assert isinstance(description, str)
    values = {}
    for key, value in lists.items():
        assert isinstance(value, list), f"target {name}: {key} is not a list"
        values[key] = tuple(str(each) for each in value)
    return Target(name, description, values["components"], values["routes"])


def known_targets() -> list[str]:
    """Names that `-target` takes."""
    return [*targets(), *_GROUPS]


def components_of(names: Sequence[str]) -> tuple[str, ...]:
    """The components that a list of targets runs, in the order in which they start. Raises ConfigError."""
    chosen: set[str] = set()
    for name in names:
        if name in _GROUPS:
            raise ConfigError(
                f"target (-target): the groups {', '.join(_GROUPS)} are not available yet; "
                "use all, which runs everything in one process"
            )
        target = targets().get(name)
        if target is None:
            raise ConfigError(f'target (-target): "{name}" is not one of {", ".join(known_targets())}')
        chosen.update(target.components)
    for component in sorted(chosen):
        missing = [other for other in _BESIDE.get(component, ()) if other not in chosen]
        if missing:
            raise ConfigError(
                f"target (-target): {component} needs {missing[0]} in the same process, because calls between "
                f"processes are not available yet; use -target=all or -target={missing[0]},{component}"
            )
    return tuple(name for name in NEEDS if name in chosen)


def modules_text() -> str:
    """What -modules prints: the targets, and which of them are part of `all`."""
    part = set(targets()["all"].components)
    lines = [f"{'* ' if name in part else '  '}{name:<14}{target.description}\n" for name, target in targets().items()]
    return "".join(lines) + "\n* part of all\n"
