"""Time, chance, ids and threads are collaborators from `kit/`; nothing else may reach for the real ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.tidy.source import PACKAGE, Module, modules

REPLACEMENTS = {
    "time.time": "kit.clock.Clock.now_ms",
    "time.time_ns": "kit.clock.Clock.now_ms",
    "time.monotonic": "kit.clock.Clock.monotonic",
    "time.perf_counter": "kit.clock.Clock.monotonic",
    "time.sleep": "asyncio.sleep",
    "datetime.now": "kit.clock.Clock.now_ms",
    "datetime.datetime.now": "kit.clock.Clock.now_ms",
    "datetime.utcnow": "kit.clock.Clock.now_ms",
    "datetime.datetime.utcnow": "kit.clock.Clock.now_ms",
    "uuid.uuid4": "kit.rng",
    "uuid4": "kit.rng",
    "os.urandom": "kit.rng",
    "secrets.token_bytes": "kit.rng",
    "secrets.token_hex": "kit.rng",
    "asyncio.to_thread": "kit.offload.Offload.run",
    "threading.Thread": "kit.offload.Offload.run",
    "asyncio.create_task": "kit.tasks",
    "asyncio.ensure_future": "kit.tasks",
    "loop.create_task": "kit.tasks",
}
# `kit/` owns the real ones, `testing/` stands in for them. Commands of `cli/` are programs of their own on a terminal.
EXEMPT = ("mimir_rw/kit/", "mimir_rw/cli/", "mimir_rw/testing/")


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def violations(module: Module) -> Iterator[str]:
    if module.place.startswith(EXEMPT):
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        banned = name if name in REPLACEMENTS else None
        if name.startswith("random.") and name != "random.Random":
            yield f"{module.place}:{node.lineno}: {name}(): use kit.rng instead"
        elif banned:
            yield f"{module.place}:{node.lineno}: {name}(): use {REPLACEMENTS[banned]} instead"


def test_banned_calls() -> None:
    assert [v for module in modules() for v in violations(module)] == []


def test_a_banned_call_is_seen() -> None:
    tree = ast.parse("import time, random\nt = time.time()\nr = random.random()\n")
    found = list(violations(Module(PACKAGE / "tsdb" / "sample.py", tree)))
    assert len(found) == 2
    assert "kit.clock" in found[0]
