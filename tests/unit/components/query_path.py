"""Query-frontends, query-schedulers and queriers on one loop, joined by their contracts, for tests of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from mimir_rw.components.querier.executor import QueryExecutor
from mimir_rw.components.querier.service import QuerierService
from mimir_rw.components.query_frontend.dispatch import Dispatcher, DispatchSettings
from mimir_rw.components.query_frontend.service import QueryFrontendService
from mimir_rw.components.query_scheduler.service import QuerySchedulerService
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import FrontendConfig
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import Service, ServiceState
from mimir_rw.model.errors import Unavailable
from mimir_rw.promql.engine import Engine
from mimir_rw.promql.parsed import ParsedTexts
from mimir_rw.rpc.contracts.scheduler import CancelledQuery, QueuedQuery, Scheduler, SchedulerTarget
from mimir_rw.rpc.transport import Message
from tests.unit.promql.memory_storage import MemoryQueryable, series


class FakeIngester:
    """The part of the contract that queries use. `calls`: what was asked. hang: selects never end. fail: raised by
    the next selects, one each."""

    def __init__(self, *lines):
        self.memory = MemoryQueryable([series(line) for line in lines])
        self.calls = []
        self.hang = False
        self.fail = []
        self.exemplar_sets = []
        self.hanging = asyncio.Event()
        self.stopped = asyncio.Event()

    async def select(self, tenant, matchers, hints, charge=None):
        self.calls.append(tenant)
        if self.fail:
            raise self.fail.pop(0)
        if self.hang:
            self.hanging.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
        found = await self.memory.select(matchers, hints)
        if charge is not None:
            charge(len(found.labels), 100)
        return found

    async def series(self, tenant, matcher_sets, mint, maxt):
        self.calls.append((tenant, mint, maxt))
        return (await self.memory.select((), None)).labels

    async def label_names(self, tenant, matchers, mint, maxt):
        return {(): ["a", "b"], "x": ["b", "c"], "y": ["a"]}[matchers and matchers[0].value]

    async def label_values(self, tenant, name, matchers, mint, maxt):
        return [name]

    async def exemplars(self, tenant, matcher_sets, mint, maxt):
        self.calls.append((tenant, matcher_sets, mint, maxt))
        return self.exemplar_sets

    async def metadata(self, tenant, metric=None):
        return []


class Line:
    """A scheduler as seen over a connection that can be cut: what is under way fails, and so does all that follows
    until it is mended."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.alive = True
        self.calls: list[str] = []
        self._works: dict[asyncio.Task[object], None] = {}

    def cut(self) -> None:
        self.alive = False
        for work in list(self._works):
            work.cancel("cut")

    def mend(self) -> None:
        self.alive = True

    async def _through(self, work):
        """As a connection does it: the other side sees a cancellation, this one an error."""
        if not self.alive:
            work.close()
            raise Unavailable("no connection")
        task = asyncio.ensure_future(work)
        self._works[task] = None
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not self.alive:
                raise Unavailable("connection lost") from None
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            raise
        finally:
            del self._works[task]

    async def enqueue(self, query: QueuedQuery) -> str:
        self.calls.append("enqueue")
        return await self._through(self.scheduler.enqueue(query))

    async def finished(self, querier_id: str, frontend_address: str, query_id: str) -> None:
        await self._through(self.scheduler.finished(querier_id, frontend_address, query_id))

    async def leave(self, querier_id: str) -> None:
        self.calls.append("leave")
        await self._through(self.scheduler.leave(querier_id))

    async def pull(self, querier_id: str, slots: int) -> AsyncGenerator[QueuedQuery | CancelledQuery, None]:
        items = self.scheduler.pull(querier_id, slots)
        try:
            while True:
                try:
                    yield await self._through(anext(items))
                except StopAsyncIteration:
                    return
        finally:
            await items.aclose()


class Directory:
    """Schedulers by address; the first `used` of them are in use."""

    def __init__(self, lines: dict[str, Line], used: int = 2) -> None:
        self._lines = dict(lines)
        self._used = used
        self._changed = asyncio.Event()

    def targets(self) -> Sequence[SchedulerTarget]:
        return [
            SchedulerTarget(address, line, number < self._used, lambda line=line: line.alive, self._connect)
            for number, (address, line) in enumerate(sorted(self._lines.items()))
        ]

    async def changed(self) -> None:
        await self._changed.wait()

    def replace(self, lines: dict[str, Line]) -> None:
        self._lines = dict(lines)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _connect(self) -> None:
        raise Unavailable("no connection")


class Unencoded:
    """A frontend that only takes messages, as across processes."""

    def __init__(self, frontend: QueryFrontendService) -> None:
        self.frontend = frontend
        self.alive = True
        self.refused = asyncio.Event()
        self.delivered: list[Message] = []

    async def deliver(self, query_id: str, answer: Message, querier_id: str) -> None:
        if not self.alive:
            self.refused.set()
            raise Unavailable("no connection")
        self.delivered.append(answer)
        await self.frontend.deliver(query_id, answer, querier_id)


@dataclass
class Parts:
    limits: TenantLimits = field(default_factory=TenantLimits)
    timeout_s: float = 10.0
    slots: int = 4
    waiting_max: int = 100
    tries_max: int = 6
    config: FrontendConfig = field(default_factory=lambda: FrontendConfig(query_stats_enabled=False))

    def __post_init__(self) -> None:
        self.clock, self.offload, self.rng = SystemClock(), InlineOffload(), seeded_rng(1)
        self.tenants = Limits(defaults=self.limits)

    def scheduler(self, drain_s: float = 1.0) -> QuerySchedulerService:
        return QuerySchedulerService(
            waiting_per_tenant_max=self.waiting_max,
            forget_delay_s=0,
            drain_s=drain_s,
            queriers_max=lambda tenant: self.limits.max_queriers_per_tenant,
            clock=self.clock,
            metrics=Metrics(),
        )

    def frontend(self, directory: Directory) -> QueryFrontendService:
        self.metrics = Metrics()
        dispatcher = Dispatcher(
            address="frontend",
            directory=directory,
            settings=DispatchSettings(tries_max=self.tries_max, scheduler_wait_s=0.3),
            offload=self.offload,
            clock=self.clock,
            rng=self.rng,
            metrics=self.metrics,
        )
        return QueryFrontendService(
            config=self.config,
            timeout_s=self.timeout_s,
            limits=self.tenants,
            directory=directory,
            dispatcher=dispatcher,
            parsed=ParsedTexts(),
            offload=self.offload,
            clock=self.clock,
            metrics=self.metrics,
        )

    def querier(self, name: str, ingester, directory: Directory, frontend, *, local: bool = True) -> QuerierService:
        """frontend: a function that gives it, or its `Unencoded` side where not local."""
        engine = Engine(clock=self.clock, offload=self.offload)
        return QuerierService(
            refresh=(),
            querier_id=name,
            executor=QueryExecutor(limits=self.tenants, ingesters=ingester, engine=engine, clock=self.clock),
            directory=directory,
            slots=self.slots,
            drain_s=1.0,
            local=lambda _: frontend() if local else None,
            frontend=lambda _: frontend(),
            offload=self.offload,
            rng=self.rng,
            metrics=Metrics(),
        )


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """All of them Running, in order; stopped in the reverse order."""
    lives = []
    for service in services:
        lives.append(asyncio.ensure_future(service.live()))
        await service.wait_state(ServiceState.RUNNING)
    try:
        yield
    finally:
        for service, life in zip(reversed(services), reversed(lives), strict=True):
            service.request_stop()
            await life
            assert service.failure is None, service.failure


@asynccontextmanager
async def query_path(ingester, parts: Parts | None = None) -> AsyncIterator[QueryFrontendService]:
    """One of each, as in a process with everything."""
    parts = parts or Parts()
    scheduler = parts.scheduler()
    directory = Directory({"s": Line(scheduler)})
    frontend = parts.frontend(directory)
    async with running(scheduler, parts.querier("q", ingester, directory, lambda: frontend), frontend):
        yield frontend
