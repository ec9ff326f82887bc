"""Two stores at once, for moving from one to the other while running: one is read and written, the other may be given a
copy of each write. Which is which can change at any time (`multi_kv_config` in the runtime file).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.tasks import Interrupted, unless
from mimir_rw.kv.contract import KV
from mimir_rw.model.errors import Unavailable

V = TypeVar("V")

_log = get_logger(component="multikv")


@dataclass(frozen=True, slots=True)
class Roles:
    """primary: name of the store that counts. mirroring: whether writes are copied to the others."""

    primary: str
    mirroring: bool


class MultiMetrics:
    """Made once for the process; label `name` says whose stores they are."""

    def __init__(self, metrics: Metrics) -> None:
        self.primary = metrics.gauges("cortex_multikv_primary_store", "The store that counts is 1.", ("name", "store"))
        self.mirroring = metrics.gauges("cortex_multikv_mirror_enabled", "Whether writes are copied.", ("name",))
        self.writes = metrics.counters(
            "cortex_multikv_mirror_writes_total", "Writes copied to the secondary store.", ("name",)
        )
        self.failures = metrics.counters(
            "cortex_multikv_mirror_write_errors_total", "Writes whose copying failed.", ("name",)
        )


class MultiRoles:
    """The roles as they are now, shared by all `MultiKV`s of one pair of stores. Changed on the event loop only."""

    def __init__(
        self, name: str, stores: tuple[str, str], roles: Roles, *, mirror_timeout_s: float, metrics: MultiMetrics
    ) -> None:
        """name: for metrics and log. stores: the names of both. Raises ValueError when the primary is none of them."""
        _check(stores, roles)
        self.name = name
        self.stores = stores
        self.current = roles
        self.mirror_timeout_s = mirror_timeout_s
        self._changed = asyncio.Event()
        self._metrics = metrics
        self.writes = metrics.writes.labels(name)
        self.failures = metrics.failures.labels(name)
        self._show()

    def change(self, roles: Roles) -> None:
        """Take up new roles; watches go on with the new primary. Raises ValueError when it is none of the stores."""
        _check(self.stores, roles)
        if roles == self.current:
            return
        _log.info("stores have new roles", name=self.name, primary=roles.primary, mirroring=roles.mirroring)
        self.current = roles
        self._show()
        self._changed.set()
        self._changed = asyncio.Event()

    async def primary_left(self, primary: str) -> None:
        """Wait until `primary` is not the primary any more."""
        while self.current.primary == primary:
            await self._changed.wait()

    def _show(self) -> None:
        for store in self.stores:
            self._metrics.primary.labels(self.name, store).set(store == self.current.primary)
        self._metrics.mirroring.labels(self.name).set(self.current.mirroring)


class MultiKV(Generic[V]):
    def __init__(self, stores: Mapping[str, KV[V]], roles: MultiRoles) -> None:
        assert sorted(stores) == sorted(roles.stores)
        self._stores = stores
        self._roles = roles

    async def get(self, key: str) -> V | None:
        return await self._primary().get(key)

    async def cas(self, key: str, change: Callable[[V | None], V | None]) -> None:
        made: V | None = None

        def noting(value: V | None) -> V | None:
            nonlocal made
            made = change(value)
            return made

        roles = self._roles.current
        await self._stores[roles.primary].cas(key, noting)
        if roles.mirroring and made is not None:
            await self._mirror(key, made, roles.primary)

    async def delete(self, key: str) -> None:
        """In the primary only: what a mirror has too much, it has had before."""
        await self._primary().delete(key)

    async def list(self, prefix: str) -> list[str]:
        return await self._primary().list(prefix)

    async def watch(self, key: str) -> AsyncIterator[V]:
        while True:
            primary = self._roles.current.primary
            watching = cast("AsyncGenerator[V, None]", self._stores[primary].watch(key))
            async with contextlib.aclosing(watching):
                try:
                    while True:
                        yield await unless(_next(watching), self._roles.primary_left(primary))
                except Interrupted:
                    continue

    def _primary(self) -> KV[V]:
        return self._stores[self._roles.current.primary]

    async def _mirror(self, key: str, value: V, primary: str) -> None:
        """Copy a value to the other store. What fails is counted; the primary has it, and later writes are copied."""
        roles = self._roles
        for name in roles.stores:
            if name == primary:
                continue
            roles.writes.inc()
            try:
                async with asyncio.timeout(roles.mirror_timeout_s):
                    await self._stores[name].cas(key, lambda _: value)
            except (Unavailable, TimeoutError) as error:
                roles.failures.inc()
                _log.warning("a write was not copied", key=key, store=name, err=str(error) or "it took too long")


async def _next(watching: AsyncIterator[V]) -> V:
    return await anext(watching)


def _check(stores: tuple[str, str], roles: Roles) -> None:
    if roles.primary not in stores:
        raise ValueError(f"{roles.primary!r} is neither {stores[0]} nor {stores[1]}")
