"""Where query-schedulers are: `rpc.contracts.scheduler.SchedulerDirectory` for the one of this process, and for those
of a ring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from mimir_rw.components.query_scheduler.service import QuerySchedulerService
from mimir_rw.kit.service import ServiceState
from mimir_rw.ring.operations import QUERY_SCHEDULER
from mimir_rw.ring.service import RingService
from mimir_rw.ring.view import RingView
from mimir_rw.rpc.contracts.scheduler import Scheduler, SchedulerTarget
from mimir_rw.rpc.transport import RpcPeer

LOCAL_ADDRESS = "local"


async def _connected() -> None:
    """There is no connection to make."""


def local_target(address: str, scheduler: QuerySchedulerService, *, in_use: bool = True) -> SchedulerTarget:
    """The scheduler of this process."""
    return SchedulerTarget(
        address=address,
        scheduler=scheduler,
        in_use=in_use,
        reachable=lambda: scheduler.state is ServiceState.RUNNING,
        connect=_connected,
    )


class LocalScheduler:
    """The only scheduler is in this process."""

    def __init__(self, scheduler: QuerySchedulerService) -> None:
        self._targets = (local_target(LOCAL_ADDRESS, scheduler),)

    def targets(self) -> Sequence[SchedulerTarget]:
        """See `rpc.contracts.scheduler.SchedulerDirectory`."""
        return self._targets

    async def changed(self) -> None:
        """Never."""
        await asyncio.get_running_loop().create_future()


class RingSchedulers:
    """The active members of the ring. What is asked for at each query is worked out once a second at most."""

    def __init__(
        self,
        *,
        ring: RingService,
        used_max: int,
        peer: Callable[[str], RpcPeer],
        client: Callable[[RpcPeer], Scheduler],
        local: tuple[str, QuerySchedulerService] | None,
    ) -> None:
        """used_max: how many are in use; 0 for all. peer: of an address; client: the scheduler behind it. local:
        address and scheduler of this process."""
        self._ring = ring
        self._used_max = used_max
        self._peer = peer
        self._client = client
        self._local = local
        self._changed = asyncio.Event()
        self._known: tuple[tuple[str, bool], ...] = ()
        self._targets: tuple[SchedulerTarget, ...] = ()
        self._asked: tuple[RingView, int] | None = None
        ring.watch(lambda _: self._update())

    def targets(self) -> Sequence[SchedulerTarget]:
        """See `rpc.contracts.scheduler.SchedulerDirectory`."""
        self._update()
        return self._targets

    async def changed(self) -> None:
        """See `rpc.contracts.scheduler.SchedulerDirectory`."""
        await self._changed.wait()

    def _update(self) -> None:
        view, now_s = self._ring.view(), self._ring.now_s()
        if self._asked == (view, now_s):
            return
        self._asked = (view, now_s)
        known = schedulers_of(view, self._used_max, now_s)
        if known != self._known:
            self._known = known
            self._targets = tuple(self._target(address, in_use) for address, in_use in known)
            self._changed.set()
            self._changed = asyncio.Event()

    def _target(self, address: str, in_use: bool) -> SchedulerTarget:
        if self._local is not None and address == self._local[0]:
            return local_target(*self._local, in_use=in_use)
        peer = self._peer(address)
        return SchedulerTarget(
            address=address,
            scheduler=self._client(peer),
            in_use=in_use,
            reachable=lambda: peer.healthy and peer.protocol > 0,
            connect=peer.connect,
        )


def schedulers_of(view: RingView, used_max: int, now_s: int) -> tuple[tuple[str, bool], ...]:
    """(address, in use) of the healthy schedulers, sorted. Pure.

    In use are those of the shard that every process finds alike, and others in place of those that are not healthy.
    """
    alive = view.healthy_instances(QUERY_SCHEDULER, now_s=now_s)
    shard = view.shuffle_shard("", used_max) if used_max else view
    ranked = sorted(alive, key=lambda instance: (instance.id not in shard, instance.id))
    used = {instance.addr for instance in (ranked[:used_max] if used_max else ranked)}
    return tuple(sorted((instance.addr, instance.addr in used) for instance in alive))
