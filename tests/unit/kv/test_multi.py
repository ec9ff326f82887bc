"""Roles of two stores: what is read, what is copied, what happens when they change."""

from __future__ import annotations

import asyncio

import pytest

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kv.memory import MemoryKV
from mimir_rw.kv.multi import MultiKV, MultiMetrics, MultiRoles, Roles
from mimir_rw.model.errors import Unavailable
from tests.kv_values import ENTRIES, Entries


class Broken(MemoryKV[Entries]):
    async def cas(self, key, change) -> None:
        raise Unavailable("down")


class Slow(MemoryKV[Entries]):
    async def cas(self, key, change) -> None:
        await asyncio.Event().wait()


def make(new: MemoryKV[Entries] | None = None, *, mirroring: bool = False):
    old, new = MemoryKV(ENTRIES), new or MemoryKV(ENTRIES)
    metrics = Metrics()
    roles = MultiRoles(
        "rings", ("old", "new"), Roles("old", mirroring), mirror_timeout_s=0.01, metrics=MultiMetrics(metrics)
    )
    return MultiKV({"old": old, "new": new}, roles), old, new, roles, metrics


def value(metrics: Metrics, name: str) -> float:
    (line,) = (line for line in metrics.render().decode().splitlines() if line.startswith(name + "{"))
    return float(line.split()[1])


async def test_without_mirroring_only_the_primary_is_used() -> None:
    kv, old, new, _, _ = make()
    await kv.cas("key", lambda v: Entries().put("a", 1))
    assert await old.get("key") == await kv.get("key")
    assert await new.get("key") is None
    await kv.delete("key")
    assert await kv.list("") == []


async def test_writes_are_copied() -> None:
    kv, _, new, _, metrics = make(mirroring=True)
    await kv.cas("key", lambda v: Entries().put("a", 1))
    assert await new.get("key") == Entries().put("a", 1)
    await kv.cas("key", lambda v: None)
    assert value(metrics, "cortex_multikv_mirror_writes_total") == 1


@pytest.mark.parametrize("secondary", [Broken, Slow])
async def test_a_secondary_that_fails_does_not_hurt(secondary: type[MemoryKV[Entries]]) -> None:
    kv, old, _, _, metrics = make(secondary(ENTRIES), mirroring=True)
    await kv.cas("key", lambda v: Entries().put("a", 1))
    assert await old.get("key") == Entries().put("a", 1)
    assert value(metrics, "cortex_multikv_mirror_write_errors_total") == 1


async def test_a_watch_goes_on_with_the_new_primary() -> None:
    kv, old, new, roles, metrics = make()
    await kv.cas("key", lambda v: Entries().put("old", 1))
    await new.cas("key", lambda v: Entries().put("new", 1))
    watch = aiter(kv.watch("key"))
    assert list((await anext(watch)).by_name) == ["old"]
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    roles.change(Roles("new", mirroring=True))
    assert list((await waiting).by_name) == ["new"]
    await old.cas("key", lambda v: Entries().put("unseen", 1))
    await kv.cas("key", lambda v: v.put("later", 1))
    assert list((await anext(watch)).by_name) == ["new", "later"]
    assert list((await old.get("key")).by_name) == ["new", "later"], "roles are exchanged"
    assert 'cortex_multikv_primary_store{name="rings",store="new"} 1' in metrics.render().decode()
    assert value(metrics, "cortex_multikv_mirror_enabled") == 1
    await watch.aclose()


async def test_an_unknown_primary_is_refused() -> None:
    _, _, _, roles, _ = make()
    with pytest.raises(ValueError, match="other"):
        roles.change(Roles("other", mirroring=False))
    assert roles.current.primary == "old"
