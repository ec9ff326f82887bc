"""Connections that begin, break and come back: on a simulated network in virtual time, so that seconds can be told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.service import ServiceState
from mimir_rw.model.errors import MimirError, Unavailable
from mimir_rw.rpc.handshake import Identity
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.peer import PeerSettings
from mimir_rw.rpc.pool import RpcPools
from mimir_rw.rpc.server import RpcServer, ServerSettings
from mimir_rw.rpc.transport import Message, RpcPeer
from mimir_rw.testing.network import Link
from mimir_rw.testing.process import SimProcess
from mimir_rw.testing.simulation import Simulation
from tests.unit.rpc.harness import CLIENT_ID, SERVER_ID, value
from tests.unit.rpc.test_calls import Component

Script = Callable[[RpcPeer], Awaitable[None]]


class World:
    """One host that answers, one that calls."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.near, self.far = sim.network.add_host("near"), sim.network.add_host("far")
        self.peer_settings = PeerSettings()
        self.server_metrics, self.client_metrics = Metrics(), Metrics()
        self.component = Component()
        self.server: RpcServer | None = None

    def serve(self, identity: Identity = SERVER_ID) -> SimProcess:
        process = self.sim.network.spawn(self.far)
        self.server_metrics = Metrics()
        self.component = Component()

        async def main() -> None:
            self.server = RpcServer(
                host="",
                port=9095,
                identity=identity,
                settings=ServerSettings(),
                metrics=RpcMetrics(self.server_metrics),
            )
            self.component.register(self.server)
            await self.server.live()

        process.run(main())
        return process

    def call(self, script: Script, identity: Identity = CLIENT_ID) -> None:
        """Run the script in the process that calls, to its end."""

        async def main() -> None:
            pool = RpcPools(
                identity=identity,
                settings=self.peer_settings,
                rng=self.sim.rng("peers"),
                metrics=RpcMetrics(self.client_metrics),
            )
            life = asyncio.create_task(pool.live())
            await pool.wait_state(ServiceState.RUNNING)
            await script(pool.peer("far:9095"))
            pool.request_stop()
            await life
            assert pool.failure is None

        async def run() -> None:
            await self.sim.network.spawn(self.near).run(main())

        self.sim.run(run())
        assert self.sim.loop.complaints == []

    @property
    def now_s(self) -> float:
        return self.sim.loop.time()


@pytest.fixture
def world() -> Iterator[World]:
    with Simulation(11) as sim:
        yield World(sim)


async def echo(peer: RpcPeer, timeout_s: float = 10) -> None:
    await peer.call("test.echo", Message(), timeout_s=timeout_s)


async def failure(call: Awaitable[object]) -> MimirError:
    try:
        await call
    except MimirError as error:
        return error
    raise AssertionError("it did not fail")


def test_both_labels_are_named_when_clusters_differ(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        error = await failure(echo(peer))
        assert type(error) is Unavailable
        assert 'cluster labels differ: "other" calls "c" (server-1)' in str(error)
        assert "-memberlist.cluster-label" in str(error)
        assert not peer.healthy

    world.serve()
    world.call(script, replace(CLIENT_ID, cluster="other"))
    incompatible = 'mimir_rw_rpc_handshake_failures_total{reason="incompatible",side="server"}'
    assert value(world.server_metrics, incompatible) == 1


def test_labels_may_differ_where_neither_side_checks_them(world: World) -> None:
    world.serve(replace(SERVER_ID, check_cluster=False))
    world.call(echo, replace(CLIENT_ID, cluster="other", check_cluster=False))


@pytest.mark.parametrize(("near", "far", "spoken"), [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 2)])
def test_the_highest_common_version_is_spoken(world: World, near: int, far: int, spoken: int) -> None:
    async def script(peer: RpcPeer) -> None:
        await echo(peer)
        assert peer.protocol == world.component.contexts[0].protocol == spoken

    world.serve(replace(SERVER_ID, protocol_max=far))
    world.call(script, replace(CLIENT_ID, protocol_max=near))


def test_a_restarted_process_is_called_again_and_has_another_epoch(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        await echo(peer)
        assert peer.epoch == "e1"
        world.process.kill()
        await asyncio.sleep(0.2)
        assert not peer.healthy
        assert isinstance(await failure(echo(peer)), Unavailable)
        world.serve(replace(SERVER_ID, epoch="e2"))
        await asyncio.sleep(1.1)  # the longest pause between tries
        assert peer.healthy
        await echo(peer)
        assert peer.epoch == "e2"

    world.process = world.serve()
    world.call(script)


def test_calls_in_flight_fail_when_the_process_is_killed(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        call = asyncio.create_task(failure(peer.call("test.wait", Message(), timeout_s=60)))
        async with contextlib.aclosing(peer.stream("test.flood", Message(), timeout_s=0)) as stream:
            await anext(stream)
            world.process.kill()
            killed_s = world.now_s
            assert type(await call) is Unavailable

            async def rest() -> None:
                async for _ in stream:
                    pass

            assert type(await failure(rest())) is Unavailable
        assert world.now_s - killed_s < 0.5

    world.process = world.serve()
    world.call(script)


def test_a_process_that_is_stopped_is_noticed_within_about_three_seconds(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        await echo(peer)
        for pause_s in (0.0, 2.3, 7.7):
            await asyncio.sleep(pause_s)
            calls = [asyncio.create_task(failure(peer.call("test.wait", Message(), timeout_s=60))) for _ in range(3)]
            await asyncio.sleep(1.3)
            world.process.freeze()
            frozen_s = world.now_s
            for call in calls:
                assert "no sign of life" in str(await call)
            assert 2.0 <= world.now_s - frozen_s <= 4.0
            at_once_s = world.now_s
            assert type(await failure(echo(peer))) is Unavailable
            assert not peer.healthy
            assert world.now_s == at_once_s
            world.process.thaw()
            await asyncio.sleep(4.2)  # a try that was under way, and a pause
            await echo(peer)

    world.process = world.serve()
    world.call(script)


def test_a_call_to_a_process_stopped_while_idle_fails_soon(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        await echo(peer)
        await asyncio.sleep(20)
        world.process.freeze()
        start_s = world.now_s
        assert "no sign of life" in str(await failure(echo(peer, timeout_s=60)))
        assert world.now_s - start_s <= 3.5

    world.process = world.serve()
    world.call(script)


def test_a_quiet_call_is_not_taken_for_a_dead_one(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        waiting = asyncio.create_task(peer.call("test.wait", Message({"n": 1}), timeout_s=600))
        await asyncio.sleep(300)
        world.component.gate.set()
        assert (await waiting).header == {"n": 1}

    world.serve()
    world.call(script)


def test_a_large_message_on_a_slow_link_is_a_sign_of_life(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        start_s = world.now_s
        answer = await peer.call("test.echo", Message({}, bytes(20 << 20)), timeout_s=600)
        assert len(answer.payload) == 20 << 20
        assert world.now_s - start_s > 30  # there and back

    world.sim.network.set_link(world.far, Link(bytes_per_s=1e6))
    world.serve()
    world.call(script)


def test_the_callee_lets_go_of_a_caller_that_is_cut_off(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        waiting = asyncio.create_task(failure(peer.call("test.wait", Message(), timeout_s=600)))
        await asyncio.sleep(1)
        world.sim.network.cut([world.near], [world.far])
        await asyncio.sleep(4)
        assert world.component.ends.get_nowait() == "cancelled"
        assert world.server is not None
        assert world.server.inflight == 0
        await waiting
        world.sim.network.heal()
        await asyncio.sleep(70)
        await echo(peer)

    world.serve()
    world.call(script)


def test_this_process_being_stopped_itself_kills_no_connection(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        await echo(peer)
        waiting = asyncio.create_task(peer.call("test.wait", Message({"n": 1}), timeout_s=600))
        await asyncio.sleep(1)
        (near,) = [end.peer.process for end in world.process.transports]
        world.sim.loop.call_later(2.5, near.thaw, context=world.sim.network.context)
        world.sim.loop.call_later(0.1, near.freeze, context=world.sim.network.context)
        await asyncio.sleep(5)
        world.component.gate.set()
        assert (await waiting).header == {"n": 1}

    world.process = world.serve()
    world.call(script)


def test_nobody_listening_fails_calls_at_once_and_without_a_storm(world: World) -> None:
    async def script(peer: RpcPeer) -> None:
        assert "refused" in str(await failure(echo(peer)))
        for _ in range(100):
            await asyncio.sleep(0.1)
            start_s = world.now_s
            assert type(await failure(echo(peer))) is Unavailable
            assert world.now_s == start_s
        tries = value(world.client_metrics, 'mimir_rw_rpc_handshake_failures_total{reason="unreachable",side="client"}')
        assert 10 <= tries <= 25

    world.call(script)


def test_an_idle_connection_is_closed_and_opened_again(world: World) -> None:
    world.peer_settings = PeerSettings(idle_s=30)

    def connections() -> float:
        return value(world.server_metrics, 'mimir_rw_rpc_connections{side="server"}')

    async def script(peer: RpcPeer) -> None:
        await echo(peer)
        assert connections() == 1
        await asyncio.sleep(61)
        assert connections() == 0
        assert peer.healthy
        await echo(peer)
        async with contextlib.aclosing(peer.stream("test.flood", Message(), timeout_s=0)) as stream:
            await anext(stream)
            await asyncio.sleep(100)  # a stream is use, however quiet
            assert connections() == 1

    world.serve()
    world.call(script)


def test_a_peer_that_says_nothing_is_given_up(world: World) -> None:
    async def mute() -> None:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "", 9095)
        await server.serve_forever()

    async def script(peer: RpcPeer) -> None:
        start_s = world.now_s
        assert "did not answer within 3 s" in str(await failure(echo(peer)))
        assert world.now_s - start_s <= 3.1

    world.sim.network.spawn(world.far).run(mute())
    world.call(script)


def test_a_greeting_that_comes_as_its_time_ends(world: World) -> None:
    """Held up meanwhile, the caller finds its timer and the other side's greeting waiting, in this order."""
    process = world.sim.network.spawn(world.near)

    async def main() -> None:
        pool = RpcPools(
            identity=CLIENT_ID,
            settings=world.peer_settings,
            rng=world.sim.rng("peers"),
            metrics=RpcMetrics(world.client_metrics),
        )
        life = asyncio.create_task(pool.live())
        await pool.wait_state(ServiceState.RUNNING)
        assert "did not answer within 3 s" in str(await failure(echo(pool.peer("far:9095"))))
        pool.request_stop()
        await life

    async def run() -> None:
        world.sim.network.set_link(world.far, Link(latency_s=0.8, jitter_s=0.0))
        calling = process.run(main())
        await asyncio.sleep(2.5)
        process.freeze()
        await asyncio.sleep(1)
        process.thaw()
        await calling

    world.serve()
    world.sim.run(run())
    assert world.sim.loop.complaints == []


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", bytes(16), b"\x01" + bytes(15), b""], ids=repr)
def test_a_caller_that_speaks_otherwise_is_turned_away(world: World, said: bytes) -> None:
    async def main() -> None:
        reader, writer = await asyncio.open_connection("far", 9095)
        writer.write(said)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    async def run() -> None:
        start_s = world.now_s
        await world.sim.network.spawn(world.near).run(main())
        assert world.now_s - start_s <= 3.1

    world.serve()
    world.sim.run(run())
    reason = "malformed" if said else "timeout"
    failures = f'mimir_rw_rpc_handshake_failures_total{{reason="{reason}",side="server"}}'
    assert value(world.server_metrics, failures) == 1


def test_equal_seeds_give_equal_traces() -> None:
    def trace() -> str:
        with Simulation(5) as sim:
            world = World(sim)

            async def script(peer: RpcPeer) -> None:
                for _ in range(30):
                    await asyncio.gather(*(echo(peer) for _ in range(3)), return_exceptions=True)
                    await asyncio.sleep(0.3)

            world.serve()
            world.call(script)
            return str(sim.trace.digest())

    assert trace() == trace()
