"""What goes wrong in a simulated cluster, and when: drawn from the seed, within the promise.

The promise is that one group of processes (a zone, or one process without a zone) may be disturbed at a time, in any
way; the next is disturbed once the cluster is whole again. Within the group processes are killed, stopped, frozen, cut
off, slowed, and their clocks set wrong, several at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

from mimir_rw.testing.network import GOOD_LINK, Link, SimNetwork
from mimir_rw.testing.node import Node

SKEW_MS_MAX = 5_000
LASTS_S = (2.0, 75.0)
PAUSE_S = (1.0, 15.0)

AnyNode = Node[Any]
Disturb = Callable[[Sequence[AnyNode]], Awaitable[None]]


class Nemesis:
    def __init__(
        self,
        *,
        network: SimNetwork,
        rng: Random,
        groups: Mapping[str, Sequence[AnyNode]],
        whole: Callable[[], Awaitable[None]],
        crashed: Callable[[AnyNode, Random], None] = lambda node, rng: None,
        more: Mapping[str, Disturb] | None = None,
    ) -> None:
        """whole: returns once the cluster has recovered; it complains if that takes too long. crashed: what else a
        killed process leaves behind. more: other disturbances, by name."""
        self._network = network
        self._rng = rng
        self._groups = groups
        self._whole = whole
        self._crashed = crashed
        self._everywhere = [node.host for nodes in groups.values() for node in nodes]
        self._disturb: Mapping[str, Disturb] = {
            "kill": self._kill,
            "stop": self._stop,
            "freeze": self._freeze,
            "cut": self._cut,
            "slow": self._slow,
            "flaky": self._flaky,
            "skew": self._skew,
            **(more or {}),
        }

    async def run(self, until_s: float) -> None:
        """Disturb one group after the other until that time of the loop; the cluster is whole when this returns."""
        loop = self._network.loop
        while loop.time() < until_s:
            group = self._rng.choice(sorted(self._groups))
            await self._strike(group, min(until_s - loop.time(), self._rng.uniform(*LASTS_S)))
            await self._whole()
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))

    async def _strike(self, group: str, lasts_s: float) -> None:
        """One to three things go wrong in the group at moments of their own; at the end all is put right."""
        nodes = self._groups[group]
        moments = sorted(self._rng.random() * lasts_s for _ in range(self._rng.choice((1, 1, 2, 3))))
        for wait_s in (after - before for before, after in zip([0.0, *moments], [*moments, lasts_s], strict=False)):
            await asyncio.sleep(wait_s)
            victims = self._victims(nodes)
            kind = self._rng.choice(sorted(self._disturb))
            self._network.saw(f"nemesis {kind} {' '.join(node.name for node in victims)}")
            await self._disturb[kind](victims)
        self.restore(nodes)

    def _victims(self, nodes: Sequence[AnyNode]) -> list[AnyNode]:
        """All, one, or some."""
        count = self._rng.choice((len(nodes), 1, self._rng.randint(1, len(nodes))))
        chosen = self._rng.sample(range(len(nodes)), count)
        return [nodes[n] for n in sorted(chosen)]

    def restore(self, nodes: Sequence[AnyNode]) -> None:
        self._network.saw("nemesis rests")
        self._network.heal()
        for node in nodes:
            self._network.set_link(node.host, GOOD_LINK)
            node.host.skew_ms = 0
            node.thaw()
            if node.process is None:
                node.start()

    async def _kill(self, nodes: Sequence[AnyNode]) -> None:
        for node in nodes:
            if node.process is not None:
                node.kill()
                self._crashed(node, self._rng)
        if self._rng.random() < 0.5:
            await asyncio.sleep(self._rng.uniform(0.0, 5.0))
            self._start(nodes)

    async def _stop(self, nodes: Sequence[AnyNode]) -> None:
        """SIGTERM, and SIGKILL for those that have not ended in half a minute."""
        stopping = [asyncio.ensure_future(node.stop()) for node in nodes if node.alive]
        if stopping:
            await asyncio.wait(stopping, timeout=30)
        for task in stopping:
            task.cancel()
        for node in nodes:
            node.kill()
        if self._rng.random() < 0.5:
            self._start(nodes)

    async def _freeze(self, nodes: Sequence[AnyNode]) -> None:
        for node in nodes:
            node.freeze()

    async def _cut(self, nodes: Sequence[AnyNode]) -> None:
        mine = [node.host for node in nodes]
        self._network.cut(mine, [host for host in self._everywhere if host not in mine])

    async def _slow(self, nodes: Sequence[AnyNode]) -> None:
        link = Link(latency_s=self._rng.uniform(0.01, 1.0), jitter_s=self._rng.random(), bytes_per_s=200_000)
        self._relink(nodes, link)

    async def _flaky(self, nodes: Sequence[AnyNode]) -> None:
        self._relink(nodes, Link(refuse=0.3 * self._rng.random(), breaks=0.05 * self._rng.random()))

    async def _skew(self, nodes: Sequence[AnyNode]) -> None:
        for node in nodes:
            node.host.skew_ms = self._rng.randint(-SKEW_MS_MAX, SKEW_MS_MAX)

    def _relink(self, nodes: Sequence[AnyNode], link: Link) -> None:
        for node in nodes:
            self._network.set_link(node.host, link)

    def _start(self, nodes: Sequence[AnyNode]) -> None:
        for node in nodes:
            if node.process is None:
                node.start()
