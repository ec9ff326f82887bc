import asyncio
from types import SimpleNamespace

import pytest

from mimir_rw.api.traffic import TrafficGate
from mimir_rw.kit.service import ServiceSet
from mimir_rw.model.errors import BadRequest, Internal, Unavailable
from mimir_rw.testing.gateway import Door, Gateway
from mimir_rw.testing.node import Node
from mimir_rw.testing.simulation import Simulation


class Site:
    """Two nodes whose handler does what the test says, and a gateway."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.calls = []
        self.act = {}
        self.nodes = {name: self._node(name) for name in ("a", "b")}
        self.gateway = Gateway(process=sim.network.spawn(sim.network.add_host("gateway")), read_s=5)

    def _node(self, name):
        def build(process):
            async def handler(text):
                self.calls.append(name)
                act = self.act.get(name)
                if isinstance(act, Exception):
                    raise act
                if act:
                    await asyncio.sleep(act)
                return f"{text} from {name}"

            gate = TrafficGate(delay_s=0, graceful_s=30)
            door = Door({"echo": handler})
            door.gate = gate
            return SimpleNamespace(services=ServiceSet([door, gate], {"api": ["server"]}))

        return Node(
            network=self.sim.network,
            host=self.sim.network.add_host(name),
            build=build,
            services=lambda parts: parts.services,
        )

    async def begin(self):
        for node in self.nodes.values():
            node.start()
        await asyncio.sleep(1)
        assert [node.not_ready() for node in self.nodes.values()] == [None, None]

    async def ask(self, *names):
        return await self.gateway.ask(names or ("a", "b"), "echo", "hello")


@pytest.fixture
def sim():
    with Simulation(5) as sim:
        yield sim


@pytest.fixture
def site(sim):
    return Site(sim)


def test_an_answer_passes(sim, site):
    async def script():
        await site.begin()
        return await site.ask("a")

    reply = sim.run(script())
    assert (reply.status, reply.answer) == (200, "hello from a")


@pytest.mark.parametrize(
    ("act", "calls", "status"),
    [
        (Unavailable("no"), 2, 200),
        (60, 2, 200),
        (BadRequest("no"), 1, 400),
        (Internal("no"), 1, 500),
    ],
    ids=["503 is tried elsewhere", "a timeout is tried elsewhere", "400 is final", "500 is final"],
)
def test_what_is_tried_again(sim, site, act, calls, status):
    async def script():
        await site.begin()
        site.gateway._failed_at["b"] = sim.loop.time()  # so that a comes first
        site.act["a"] = act
        return await site.ask()

    assert sim.run(script()).status == status
    assert len(site.calls) == calls


def test_a_killed_node_is_passed_over(sim, site):
    async def script():
        await site.begin()
        site.nodes["a"].kill()
        assert site.nodes["a"].not_ready() == "a is not running"
        replies = [await site.ask() for _ in range(20)]
        assert {reply.status for reply in replies} == {200}
        site.nodes["b"].kill()
        reply = await site.ask()
        assert reply.status == 502
        assert len(reply.tries) == 2
        site.nodes["a"].start()
        await asyncio.sleep(1)
        assert (await site.ask()).status == 200

    sim.run(script())


def test_a_node_that_is_stopped_ends_what_it_has_begun(sim, site):
    async def script():
        await site.begin()
        site.act["a"] = 3
        asking = asyncio.ensure_future(site.ask("a"))
        await asyncio.sleep(1)
        await site.nodes["a"].stop()
        assert site.nodes["a"].process is None
        assert (await asking).status == 200
        assert (await site.ask("a")).status == 502

    sim.run(script())
