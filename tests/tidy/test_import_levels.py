"""Imports point down: a module may import its own room and rooms of a lower level, nothing else.

The levels are those of the package map in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.tidy.source import PACKAGE, Module, modules

LEVELS = {
    "_native": 0, "model": 0, "kit": 0,
    "formats": 1, "wire": 1, "config": 1,
    "objstore": 2, "cache": 2, "rpc": 2, "kv": 2, "ring": 2, "storage": 2,
    "blocks": 3, "tsdb": 3, "bucket": 3, "promql": 3,
    "components": 4,
    "api": 5,
    "app": 6,
    "runner": 7, "cli": 7,
}  # fmt: skip

# Same-level imports that the map allows. rpc -> storage: the contracts of components speak of series sets.
ALLOWED = {
    ("model", "_native"),
    ("ring", "kv"),
    ("tsdb", "blocks"),
    ("bucket", "blocks"),
    ("rpc", "storage"),
    ("cli", "runner"),
}


def imports(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.place}:{node.lineno}: relative import; name the module in full"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def room(dotted: str) -> str | None:
    """The room of a dotted name of this package: its second part, and the third one among components."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "mimir_rw" and len(parts) > 1 and parts[1] in LEVELS else None


def component(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "components" else None


def violations(module: Module) -> Iterator[str]:
    here = room(module.name)
    if here is None:
        return
    for line, target in imports(module):
        there = room(target)
        if there is None:
            continue
        if there == here:
            if here == "components" and component(target) not in (None, component(module.name)):
                yield f"{module.place}:{line}: components meet in rpc/contracts/, not by importing {target}"
            continue
        if LEVELS[there] >= LEVELS[here] and (here, there) not in ALLOWED:
            yield f"{module.place}:{line}: {here} (level {LEVELS[here]}) imports {target} (level {LEVELS[there]})"


def test_imports_point_down() -> None:
    assert [v for module in modules() for v in violations(module)] == []


def test_every_room_has_a_level() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and list(p.glob("*.py"))}
    assert rooms - {"_data", "testing", "ui"} <= set(LEVELS)


def test_a_violation_is_seen() -> None:
    tree = ast.parse("from mimir_rw.app import wiring\nfrom mimir_rw.components.querier import service\n")
    low = Module(PACKAGE / "kit" / "sample.py", tree)
    peer = Module(PACKAGE / "components" / "ingester" / "sample.py", tree)
    assert len(list(violations(low))) == 4
    assert any("rpc/contracts" in v for v in violations(peer))
