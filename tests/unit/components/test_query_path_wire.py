"""The whole way of a query over real connections: a frontend, schedulers and queriers, each as if it were alone."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from mimir_rw.kit.trace import current_trace, tracing
from mimir_rw.rpc.contracts.query import InstantQuery
from mimir_rw.rpc.stubs.scheduler import QueryResultsClient, SchedulerClient, register_query_results, register_scheduler
from tests.unit.components.query_path import Directory, FakeIngester, Parts, running
from tests.unit.rpc.harness import CLIENT_ID, Ends, until

UP = b'[{"metric":{"__name__":"up","job":"a"},"value":[60,"1"]}]'


class WireDirectory(Directory):
    """Schedulers behind connections of one process."""

    def __init__(self, pool, ports):
        self.peers = {f"127.0.0.1:{port}": pool.peer(f"127.0.0.1:{port}") for port in ports}
        super().__init__({address: SchedulerClient(peer, timeout_s=5) for address, peer in self.peers.items()})

    def targets(self):
        def reachable(peer):
            return lambda: peer.healthy and peer.protocol > 0

        return [
            replace(target, reachable=reachable(self.peers[address]), connect=self.peers[address].connect)
            for address, target in zip(sorted(self._lines), self._raw(), strict=True)
        ]

    def _raw(self):
        return super().targets()


class Wire:
    """Closing the stack of a part cuts it off, as the death of a process would."""

    def __init__(self, stack):
        self._stack = stack
        self.parts = Parts()
        self.ends = Ends()
        self.servers, self.schedulers = {}, {}
        self.ports = []

    async def scheduler(self, name):
        service = self.parts.scheduler(drain_s=0.0)
        await self._stack.enter_async_context(running(service))
        own = await self._stack.enter_async_context(AsyncExitStack())
        ends = Ends()
        ends.server_settings = replace(ends.server_settings, graceful_s=0.0)
        server = await own.enter_async_context(ends.server(lambda server: register_scheduler(server, service)))
        self.servers[f"127.0.0.1:{server.port}"] = own
        self.schedulers[f"127.0.0.1:{server.port}"] = service
        self.ports.append(server.port)

    async def frontend(self):
        pool = await self._pool("frontend")
        self.directory = WireDirectory(pool, self.ports)
        self.service = self.parts.frontend(self.directory)
        server = await self._stack.enter_async_context(
            self.ends.server(lambda server: register_query_results(server, self.service))
        )
        self.address = f"127.0.0.1:{server.port}"
        await self._stack.enter_async_context(running(self.service))
        return self.service

    async def querier(self, name, ingester):
        """Its own exit stack: closing it takes the connections away under a querier that still works."""
        own = await self._stack.enter_async_context(AsyncExitStack())
        pool = await own.enter_async_context(Ends().pool(identity=replace(CLIENT_ID, instance=name)))
        querier = self.parts.querier(
            name,
            ingester,
            WireDirectory(pool, self.ports),
            lambda: QueryResultsClient(pool.peer(self.address), timeout_s=5),
            local=False,
        )
        await self._stack.enter_async_context(running(querier))
        return own

    async def _pool(self, name):
        return await self._stack.enter_async_context(Ends().pool(identity=replace(CLIENT_ID, instance=name)))

    def ask(self):
        return asyncio.ensure_future(self.service.query("t", InstantQuery("up", 60_000)))


@asynccontextmanager
async def wired(schedulers=1):
    async with AsyncExitStack() as stack:
        wire = Wire(stack)
        for number in range(schedulers):
            await wire.scheduler(f"s{number}")
        await wire.frontend()
        yield wire


async def test_a_query_and_its_answer():
    async with wired() as wire:
        await wire.querier("q", FakeIngester('up{job="a"} 1 1'))
        await until(lambda: wire.service.readiness() is None)
        assert UP in await asyncio.wait_for(wire.ask(), 10)
        assert await wire.service.label_values("t", "name", [], 0, 1) == ["name"]


async def test_a_query_is_known_by_one_id_in_all_processes():
    class Ingester(FakeIngester):
        async def select(self, tenant, matchers, hints, charge=None):
            self.traces = [*getattr(self, "traces", []), current_trace()]
            return await super().select(tenant, matchers, hints, charge)

    ingester = Ingester('up{job="a"} 1 1')
    async with wired() as wire:
        await wire.querier("q", ingester)
        for trace in ("first", "second"):
            with tracing(trace):
                assert UP in await asyncio.wait_for(wire.ask(), 10)
    assert ingester.traces == ["first", "second"]


async def test_a_client_that_leaves_stops_its_query_at_the_querier():
    ingester = FakeIngester()
    ingester.hang = True
    async with wired() as wire:
        await wire.querier("q", ingester)
        query = wire.ask()
        await asyncio.wait_for(ingester.hanging.wait(), 10)
        query.cancel()
        await asyncio.wait_for(ingester.stopped.wait(), 10)


async def test_a_querier_that_is_killed_with_the_query():
    hung = FakeIngester()
    hung.hang = True
    async with wired() as wire:
        first = await wire.querier("first", hung)
        query = wire.ask()
        await asyncio.wait_for(hung.hanging.wait(), 10)
        await wire.querier("second", FakeIngester('up{job="a"} 1 1'))
        await first.aclose()
        assert UP in await asyncio.wait_for(query, 10)
        await asyncio.wait_for(hung.stopped.wait(), 10)


async def test_a_scheduler_that_is_killed_with_the_query():
    ingester = FakeIngester('up{job="a"} 1 1')
    ingester.hang = True
    async with wired(schedulers=2) as wire:
        await wire.querier("q", ingester)
        await until(lambda: all(target.reachable() for target in wire.directory.targets()))
        query = wire.ask()
        await asyncio.wait_for(ingester.hanging.wait(), 10)
        ingester.hang = False
        (used,) = [address for address, scheduler in wire.schedulers.items() if not scheduler._core.idle]
        await wire.servers[used].aclose()
        assert UP in await asyncio.wait_for(query, 10)
