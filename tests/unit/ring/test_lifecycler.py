"""Lives of members in virtual time, over a store in memory."""

import asyncio
import dataclasses

import pytest

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.memory import MemoryKV
from mimir_rw.model.errors import Unavailable
from mimir_rw.ring.basic_lifecycler import BasicLifecycler, BasicLifecyclerSettings
from mimir_rw.ring.codec import RING_CODEC
from mimir_rw.ring.desc import EMPTY, InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.entry import MembershipMetrics
from mimir_rw.ring.lifecycler import Lifecycler, LifecyclerSettings
from mimir_rw.ring.membership import Identity
from mimir_rw.ring.service import RingMetrics, RingService
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.tokens import RandomTokens, SpreadMinimizingTokens
from mimir_rw.testing.simulation import Simulation
from tests.unit.ring.rings import OURS, instance

S = InstanceState


class FlakyKV(MemoryKV):
    down = False

    async def cas(self, key, change):
        if self.down:
            raise Unavailable("the store is away")
        await super().cas(key, change)

    async def get(self, key):
        if self.down:
            raise Unavailable("the store is away")
        return await super().get(key)


class World:
    def __init__(self, sim):
        self.sim = sim
        self.kv = FlakyKV(RING_CODEC)
        self.metrics = Metrics()
        self.membership_metrics = MembershipMetrics(self.metrics)
        self.ring_metrics = RingMetrics(metrics=self.metrics, clock=sim.clock)
        self.rng = sim.rng("tokens")
        self.flushed = []
        self.announced = []
        self.lives = []

    @property
    def now_s(self):
        return self.sim.clock.now_ms() // 1000

    async def ring(self):
        return await self.kv.get("ring") or EMPTY

    async def put(self, *members):
        await self.kv.cas("ring", lambda ring: RingDesc([*(ring or EMPTY).values(), *members]))

    def service(self, name="ingester"):
        settings = RingSettings(replication_factor=3, zone_awareness=True)
        return RingService(
            name, kv=self.kv, key="ring", settings=settings, clock=self.sim.clock, metrics=self.ring_metrics
        )

    def lifecycler(
        self, ring, *, id="me-1", tokens=None, count=4, departs=None, read_only_first=lambda: False, **settings
    ):
        async def flush():
            self.flushed.append(life.own.state)
            await asyncio.sleep(40)

        life = Lifecycler(
            ring=ring,
            me=Identity(id=id, addr="me:9095", zone="a", versions=OURS, tokens_count=count),
            settings=LifecyclerSettings(**settings),
            tokens=tokens or RandomTokens(rng=self.rng),
            flush=flush,
            told=self.told,
            departs=departs,
            read_only_first=read_only_first,
            clock=self.sim.clock,
            offload=InlineOffload(),
            metrics=self.membership_metrics,
        )
        return life

    def basic(self, ring, *, id="me-1", **settings):
        return BasicLifecycler(
            ring=ring,
            me=Identity(id=id, addr="me:9095", versions=OURS, tokens_count=1),
            settings=BasicLifecyclerSettings(**settings),
            tokens=RandomTokens(rng=self.rng),
            clock=self.sim.clock,
            offload=InlineOffload(),
            metrics=self.membership_metrics,
        )

    async def told(self):
        self.announced.append([(each.id, each.state) for each in (await self.ring()).values()])
        await asyncio.sleep(2)

    async def start(self, *services, running=True):
        for service in services:
            self.lives.append(asyncio.ensure_future(service.live()))
            if running:
                assert await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING

    async def stop(self, service):
        service.request_stop()
        assert await service.wait_state() is ServiceState.TERMINATED


def simulated(script):
    def test(*args, **kwargs):
        with Simulation(7) as sim:
            sim.run(script(World(sim), *args, **kwargs))

    test.__name__ = script.__name__
    return test


@simulated
async def test_a_whole_life(world):
    ring = world.service()
    life = world.lifecycler(ring)
    await world.start(ring, life)
    entry = (await world.ring())["me-1"]
    assert (entry.state, len(entry.tokens), entry.zone, entry.addr) == (S.ACTIVE, 4, "a", "me:9095")
    assert entry.registered_s == world.now_s
    await asyncio.sleep(31)
    assert world.now_s - (await world.ring())["me-1"].timestamp_s <= 1
    assert ring.view().instances[0].timestamp_s == (await world.ring())["me-1"].timestamp_s
    began = world.now_s
    await world.stop(life)
    assert world.flushed == [S.LEAVING]
    assert world.now_s - began == 40
    text = world.metrics.render().decode()
    assert 'cortex_shutdown_duration_seconds_sum{name="ingester",op="flush",status="success"} 40.0' in text
    assert 'cortex_member_consul_heartbeats_total{name="ingester"} 4.0' in text
    assert 'cortex_member_ring_tokens_owned{name="ingester"} 4.0' in text
    assert await world.ring() == EMPTY


@simulated
async def test_others_hear_of_an_ingester_before_it_takes_writes(world):
    await world.put(instance("other", tokens=(1,)))
    ring = world.service()
    life = world.lifecycler(ring)
    await world.start(ring)
    await asyncio.sleep(1)
    await world.start(life)
    assert world.announced == [[("me-1", S.PENDING), ("other", S.ACTIVE)]]
    assert (await world.ring())["me-1"].state is S.ACTIVE


@simulated
async def test_the_first_ingester_has_nobody_to_tell(world):
    ring = world.service()
    await world.start(ring, world.lifecycler(ring))
    assert world.announced == []


@simulated
async def test_heartbeats_go_on_while_it_flushes_and_none_comes_after(world):
    ring = world.service()
    life = world.lifecycler(ring, unregister_on_shutdown=False, final_sleep_s=100)
    await world.start(ring, life)
    life.request_stop()
    await asyncio.sleep(39)
    left = (await world.ring())["me-1"]
    assert left.state is S.LEAVING
    assert world.now_s - left.timestamp_s <= 15
    await life.wait_state()
    left = (await world.ring())["me-1"]
    assert left.state is S.LEAVING
    assert world.now_s - left.timestamp_s >= 100
    again = world.lifecycler(ring)
    await world.start(again)
    assert again.own.state is S.ACTIVE
    assert again.own.tokens == left.tokens
    assert again.own.registered_s == left.registered_s


@simulated
async def test_an_entry_that_vanished_comes_back(world):
    ring = world.service()
    life = world.lifecycler(ring)
    await world.start(ring, life)
    await world.kv.cas("ring", lambda _: RingDesc())
    await asyncio.sleep(16)
    assert (await world.ring())["me-1"] == life.own
    assert len(life.own.tokens) == 4


@simulated
async def test_tokens_are_observed(world):
    ring = world.service()
    life = world.lifecycler(ring, observe_s=10, join_after_s=5)
    await world.start(ring)
    await world.start(life, running=False)
    await asyncio.sleep(4)
    assert (await world.ring())["me-1"].state is S.PENDING
    await asyncio.sleep(2)
    first = (await world.ring())["me-1"]
    assert first.state is S.JOINING
    await world.put(dataclasses.replace(first, tokens=first.tokens[1:]))
    await asyncio.sleep(10)
    second = (await world.ring())["me-1"]
    assert (second.state, len(second.tokens)) == (S.JOINING, 4)
    assert set(first.tokens[1:]) < set(second.tokens)
    await asyncio.sleep(10)
    assert (await world.ring())["me-1"].state is S.ACTIVE
    assert life.state is ServiceState.RUNNING


@simulated
async def test_instances_may_join_in_order(world):
    ring = world.service()
    tokens = SpreadMinimizingTokens(id="me-1", zone="a", zones=["a"], join_in_order=True)
    life = world.lifecycler(ring, tokens=tokens)
    await world.start(ring)
    await world.start(life, running=False)
    await asyncio.sleep(50)
    assert (await world.ring())["me-1"].state is S.PENDING
    await world.put(instance("me-0", tokens=[0]))
    await asyncio.sleep(1.5)
    assert (await world.ring())["me-1"].tokens == (4194304, 12582912, 20971520, 29360128)
    late = world.lifecycler(
        ring, id="me-9", tokens=SpreadMinimizingTokens(id="me-9", zone="a", zones=["a"], join_in_order=True)
    )
    await world.start(late)
    assert late.own.state is S.ACTIVE


def test_tokens_survive_in_a_file(tmp_path):
    path = str(tmp_path / "tokens")

    @simulated
    async def lives(world):
        ring = world.service()
        life = world.lifecycler(ring, tokens_path=path)
        await world.start(ring, life)
        tokens = life.own.tokens
        await world.stop(life)
        assert await world.ring() == EMPTY
        again = world.lifecycler(ring, tokens_path=path)
        await world.start(again)
        assert (again.own.tokens, again.own.state) == (tokens, S.ACTIVE)
        await world.stop(again)
        (tmp_path / "tokens").write_text("nonsense")
        third = world.lifecycler(ring, tokens_path=path)
        await world.start(third)
        assert len(third.own.tokens) == 4
        assert third.own.tokens != tokens

    lives()


@simulated
async def test_readiness(world):
    await world.put(instance("other", tokens=[5], timestamp_s=world.now_s, state=S.LEAVING))
    ring = world.service()
    life = world.lifecycler(ring, min_ready_s=15)
    await world.start(ring, life)
    text = life.readiness()
    assert "found an existing instance(s) with a problem in the ring" in text
    assert "instance other in state LEAVING" in text
    await world.put(instance("other", tokens=[5], timestamp_s=world.now_s + 1000))
    await asyncio.sleep(0.1)
    assert life.readiness() == "waiting for 15s after being ready"
    await asyncio.sleep(15)
    assert life.readiness() is None
    await world.put(instance("other", tokens=[5], timestamp_s=world.now_s - 1000))
    await asyncio.sleep(0.1)
    assert life.readiness() is None
    await life.change_state(S.LEAVING)
    assert life.readiness() == "this instance is LEAVING in the ring"


@simulated
async def test_foreign_instances_keep_a_process_from_being_ready(world):
    ring = world.service()
    life = world.lifecycler(ring)
    await world.start(ring, life)
    assert ring.readiness() is None
    await world.put(InstanceDesc(id="mimir-ingester-0", addr="10.1.1.1:9095", tokens=(3,), timestamp_s=world.now_s))
    await asyncio.sleep(0.1)
    assert "mimir-ingester-0" in ring.readiness()
    assert "-memberlist.cluster-label" in ring.readiness()
    assert life.readiness() is None
    text = world.metrics.render().decode()
    assert 'mimir_rw_ring_foreign_members{name="ingester"} 1.0' in text
    assert 'cortex_ring_members{name="ingester",state="ACTIVE"} 2.0' in text
    assert 'cortex_ring_tokens_total{name="ingester"} 5.0' in text
    assert 'mimir_rw_ring_cached_shards{name="ingester"} 0.0' in text


@simulated
async def test_changes_of_state_that_do_not_exist(world):
    ring = world.service()
    life = world.lifecycler(ring)
    await world.start(ring, life)
    with pytest.raises(ValueError, match="no change from ACTIVE to PENDING"):
        await life.change_state(S.PENDING)


@simulated
async def test_read_only(world):
    ring = world.service()
    life = world.lifecycler(ring)
    await world.start(ring, life)
    await life.set_read_only(True)
    entry = (await world.ring())["me-1"]
    assert (entry.read_only, entry.read_only_updated_s) == (True, world.now_s)
    await asyncio.sleep(20)
    assert (await world.ring())["me-1"].read_only


@simulated
async def test_a_store_that_is_away(world):
    world.kv.down = True
    ring = world.service()
    life = world.lifecycler(ring)
    await world.start(ring, running=False)
    await asyncio.sleep(3)
    assert ring.state is ServiceState.STARTING
    world.kv.down = False
    await ring.wait_state(ServiceState.RUNNING)
    await world.start(life)
    world.kv.down = True
    await asyncio.sleep(20)
    assert life.state is ServiceState.RUNNING
    assert 'mimir_rw_ring_member_heartbeat_failures_total{name="ingester"} 1.0' in world.metrics.render().decode()
    await world.stop(life)


@simulated
async def test_a_clock_that_jumps_back_keeps_the_heartbeats_newer(world):
    await world.put(instance("me-1", tokens=[1, 2, 3, 4], timestamp_s=world.now_s + 500))
    ring = world.service()
    life = world.lifecycler(ring)
    await world.start(ring, life)
    assert life.own.timestamp_s == world.now_s + 501


@simulated
async def test_a_basic_member(world):
    await world.put(instance("gone", timestamp_s=world.now_s - 601), instance("late", timestamp_s=world.now_s - 500))
    ring = world.service("distributor")
    life = world.basic(ring, initial_state=S.JOINING)
    await world.start(ring, life)
    assert (life.own.state, len(life.own.tokens)) == (S.JOINING, 1)
    await life.change_state(S.ACTIVE)
    assert (await world.ring())["me-1"].state is S.ACTIVE
    await asyncio.sleep(16)
    assert set(await world.ring()) == {"late", "me-1"}
    await asyncio.sleep(100)
    assert set(await world.ring()) == {"me-1"}
    await life.change_state(S.PENDING)
    await asyncio.sleep(20)
    assert (await world.ring())["me-1"].state is S.PENDING
    await world.stop(life)
    assert await world.ring() == EMPTY


@simulated
async def test_a_basic_member_that_stays(world):
    ring = world.service("store-gateway")
    life = world.basic(ring, unregister_on_shutdown=False)
    await world.start(ring, life)
    tokens = life.own.tokens
    await world.stop(life)
    assert (await world.ring())["me-1"].state is S.LEAVING
    again = world.basic(ring)
    await world.start(again)
    assert (again.own.state, again.own.tokens) == (S.ACTIVE, tokens)


@simulated
async def test_watchers_of_a_ring(world):
    ring = world.service()
    await world.start(ring)
    seen = []
    end = ring.watch(lambda view: seen.append(len(view)))
    await world.put(instance("a", tokens=[1]))
    await asyncio.sleep(0.1)
    await world.put(instance("b", tokens=[2]))
    await asyncio.sleep(0.1)
    end()
    await world.put(instance("c", tokens=[3]))
    await asyncio.sleep(0.1)
    assert seen == [1, 2]
    assert len(ring.view()) == 3


@pytest.mark.parametrize("kind", ["lifecycler", "basic"])
def test_two_processes_with_one_id_notice_and_are_not_ready_until_one_is_gone(kind):
    @simulated
    async def script(world):
        ring = world.service()
        life = getattr(world, kind)(ring)
        await world.start(ring, life)
        await asyncio.sleep(31)
        assert life.readiness() is None
        other = dataclasses.replace((await world.ring())["me-1"], addr="elsewhere:9095", timestamp_s=world.now_s + 1)
        await world.put(other)
        await asyncio.sleep(15)
        assert "elsewhere:9095" in life.readiness()
        assert "-common.instance-id" in life.readiness()
        assert (await world.ring())["me-1"].addr == "me:9095"
        await asyncio.sleep(15)
        assert life.readiness() is None

    script()


@simulated
async def test_one_that_is_back_with_another_address_is_itself(world):
    ring = world.service()
    before = InstanceDesc(
        "me-1", addr="before:9095", zone="a", timestamp_s=world.now_s + 5, tokens=(1, 2, 3, 4), versions=OURS
    )
    await world.put(before)
    life = world.lifecycler(ring)
    await world.start(ring, life)
    assert life.readiness() is None
    assert (await world.ring())["me-1"].addr == "me:9095"


async def in_the_ring(world, **more):
    ring = world.service()
    life = world.lifecycler(ring, **more)
    await world.start(ring, life)
    return life


@simulated
async def test_an_ingester_that_leaves_while_its_process_goes_on_does_not_come_back(world):
    life = await in_the_ring(world, heartbeat_period_s=1.0)
    await life.leave()
    assert await world.ring() == EMPTY
    await life.leave()
    await asyncio.sleep(10)
    assert await world.ring() == EMPTY
    assert life.readiness() == "this instance has left the ring"
    await world.stop(life)
    assert world.flushed == []
    assert await world.ring() == EMPTY


@simulated
async def test_leaving_while_the_store_is_away_may_be_tried_again(world):
    life = await in_the_ring(world)
    world.kv.down = True
    with pytest.raises(Unavailable):
        await life.leave()
    world.kv.down = False
    assert life.readiness() is None
    await life.leave()
    assert await world.ring() == EMPTY


async def stops(world, may_go):
    states = []

    async def departs():
        states.append(life.own.state)
        return may_go

    life = await in_the_ring(world, departs=departs)
    await world.stop(life)
    assert states == [S.ACTIVE]
    return await world.ring()


@simulated
async def test_an_ingester_that_somebody_may_need_stays_in_the_ring(world):
    assert (await stops(world, may_go=False))["me-1"].state is S.LEAVING


@simulated
async def test_an_ingester_that_nobody_needs_leaves_the_ring(world):
    assert await stops(world, may_go=True) == EMPTY


@simulated
async def test_an_ingester_whose_hand_over_is_unfinished_is_never_shown_as_one_that_takes_writes(world):
    shown = []
    cas = world.kv.cas

    async def watched(key, change):
        await cas(key, change)
        shown.extend((await world.ring()).values())

    world.kv.cas = watched
    life = await in_the_ring(world, read_only_first=lambda: True)
    assert life.own.state is S.ACTIVE
    assert life.read_only_since_s == world.now_s
    assert [each.read_only for each in shown] == [True] * len(shown)
    assert len(shown) > 1
