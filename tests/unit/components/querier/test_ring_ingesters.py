import asyncio

import pytest

from mimir_rw._native import Head, LabelFrame
from mimir_rw.components.querier.charges import ReplicaCharges
from mimir_rw.components.querier.ring_ingesters import RingIngesters, RingReadSettings
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.model.errors import BadRequest, Internal, LimitExceeded, Unavailable
from mimir_rw.model.exemplars import Exemplar, SeriesExemplars
from mimir_rw.ring.desc import InstanceState, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view
from mimir_rw.rpc.contracts.ingester import MetricMetadata
from mimir_rw.storage.contract import SelectHints
from tests.unit.ring.rings import instance
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

ZONES = ("a", "b", "c")
ALL = SelectHints(0, 1 << 60)


class Ingester:
    """Answers with what it holds; `delay_s` later, or with an error. `left`: its callers have gone away."""

    def __init__(self, name):
        self.name = name
        self.names = ["common", name]
        self.error = None
        self.delay_s = 0.0
        self.calls = 0
        self.left = asyncio.Event()
        self.called = asyncio.Event()
        self.series_set = None
        self.charges = [(1, 10)]

    async def _answer(self, answer):
        self.calls += 1
        self.called.set()
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.left.set()
            raise
        if self.error is not None:
            raise self.error
        return answer

    async def select(self, tenant, matchers, hints, charge=None):
        for series, size in self.charges:
            charge(series, size)
        return await self._answer(self.series_set)

    async def series(self, tenant, matcher_sets, mint, maxt):
        return await self._answer(LabelFrame.from_rows([{"name": name} for name in sorted(self.names)]))

    async def label_names(self, tenant, matchers, mint, maxt):
        return await self._answer(sorted(self.names))

    async def label_values(self, tenant, name, matchers, mint, maxt):
        return await self._answer([name, self.name])

    async def exemplars(self, tenant, matcher_sets, mint, maxt):
        found = (Exemplar((), 1.0, 5), Exemplar((("of", self.name),), 2.0, 6))
        return await self._answer([SeriesExemplars((("__name__", "m"),), found)])

    async def metadata(self, tenant, metric=None):
        return await self._answer([MetricMetadata("m", "gauge", "help", ""), MetricMetadata(self.name, "", "", "")])


class Cluster:
    """per_zone ingesters in each of three zones, the querier in zone a."""

    def __init__(self, *, per_zone=1, zone="a", hedge_s=60.0, minimise=True, limits=None, aware=True, states=None):
        names = [f"{zone}{number}" for zone in ZONES for number in range(per_zone)]
        clock = SystemClock()
        now_s = clock.now_ms() // 1000
        self.desc = RingDesc(
            instance(
                name,
                name[0],
                [n * 1000],
                timestamp_s=now_s,
                registered_s=now_s - 10**6,
                state=(states or {}).get(name, InstanceState.ACTIVE),
            )
            for n, name in enumerate(names)
        )
        self.view = ring_view(self.desc, RingSettings(replication_factor=3, zone_awareness=aware))
        self.ingesters = {name: Ingester(name) for name in names}
        self.metrics = Metrics()
        self.reads = RingIngesters(
            view=lambda: self.view,
            client=lambda member: self.ingesters[member.id],
            settings=RingReadSettings(minimise=minimise, hedge_s=hedge_s, zone=zone, shards=True),
            limits=Limits(defaults=limits or TenantLimits()),
            offload=InlineOffload(),
            clock=clock,
            rng=seeded_rng(1),
            metrics=self.metrics,
        )

    def __getitem__(self, name):
        return self.ingesters[name]

    def asked(self):
        return sorted(name for name, ingester in self.ingesters.items() if ingester.calls)

    async def names(self):
        return await asyncio.wait_for(self.reads.label_names("t", (), 0, 1), 5)


async def test_as_many_zones_as_a_quorum_needs_the_own_one_first():
    seen = set()
    for _ in range(8):
        cluster = Cluster(per_zone=2)
        cluster.reads._rng = seeded_rng(len(seen) + _)
        await cluster.names()
        asked = cluster.asked()
        assert len(asked) == 4
        assert asked[:2] == ["a0", "a1"]
        seen.add(asked[2][0])
    assert seen == {"b", "c"}


async def test_everybody_where_requests_are_not_minimised():
    cluster = Cluster(minimise=False)
    assert "common" in await cluster.names()
    assert cluster.asked() == ["a0", "b0", "c0"]


async def test_a_dead_ingester_is_replaced_at_once_by_another_zone():
    cluster = Cluster(per_zone=2)
    cluster["a1"].error = Unavailable("no connection")
    found = await cluster.names()
    assert cluster.asked() == sorted(cluster.ingesters)
    assert found == ["b0", "b1", "c0", "c1", "common"], "a zone that is not whole does not count"


async def test_what_goes_on_in_a_failed_zone_is_cancelled():
    cluster = Cluster(per_zone=2)
    cluster["a0"].delay_s = 60.0
    cluster["a1"].error = Unavailable("no connection")
    await cluster.names()
    assert cluster["a0"].left.is_set()


async def test_a_slow_ingester_is_hedged_and_left():
    cluster = Cluster(hedge_s=0.01)
    cluster["a0"].delay_s = 60.0
    assert await cluster.names() == ["b0", "c0", "common"]
    assert cluster["a0"].left.is_set()
    assert "requests_hedged_total 1.0" in cluster.metrics.render().decode()


async def test_a_slow_zone_counts_when_it_is_faster_than_the_hedge():
    cluster = Cluster(hedge_s=0.005)
    cluster["a0"].delay_s = 0.03
    cluster["b0"].delay_s = cluster["c0"].delay_s = 60.0
    query = asyncio.ensure_future(cluster.names())
    await cluster["c0"].called.wait()
    await cluster["b0"].called.wait()
    cluster["b0"].delay_s = 0.0
    query.cancel()
    await asyncio.wait([query])
    assert all(cluster[name].left.is_set() for name in ("b0", "c0"))


async def test_a_wrong_answer_is_no_answer():
    cluster = Cluster()
    cluster["a0"].error = Internal("the answer does not decode")
    assert await cluster.names() == ["b0", "c0", "common"]


async def test_a_broken_client_is_no_answer():
    cluster = Cluster()
    cluster["a0"].error = RuntimeError("oops")
    assert await cluster.names() == ["b0", "c0", "common"]


async def test_too_few_zones_are_an_error_never_a_part():
    cluster = Cluster()
    cluster["a0"].error = Unavailable("no connection")
    cluster["b0"].error = cluster["c0"].error = Unavailable("replaying")
    with pytest.raises(Unavailable, match=r"too many unhealthy instances in the ring: .*replaying"):
        await cluster.names()


async def test_zones_known_to_be_down_are_not_asked():
    cluster = Cluster(states={"a0": InstanceState.JOINING})
    assert await cluster.names() == ["b0", "c0", "common"]
    assert cluster.asked() == ["b0", "c0"]
    both = Cluster(states={"a0": InstanceState.JOINING, "b0": InstanceState.JOINING})
    with pytest.raises(Unavailable, match="too many unhealthy instances in the ring"):
        await both.names()
    assert both.asked() == []


async def test_what_the_client_did_wrong_is_said_at_once():
    cluster = Cluster()
    cluster["a0"].error = BadRequest("bad regex")
    cluster["b0"].delay_s = cluster["c0"].delay_s = 60.0
    with pytest.raises(BadRequest, match="bad regex"):
        await cluster.names()
    assert len(cluster.asked()) == 2


async def test_leaving_cancels_every_call():
    cluster = Cluster(minimise=False)
    for name in cluster.ingesters:
        cluster[name].delay_s = 60.0
    query = asyncio.ensure_future(cluster.names())
    for name in cluster.ingesters:
        await cluster[name].called.wait()
    query.cancel()
    await asyncio.wait([query])
    assert query.cancelled()
    assert all(ingester.left.is_set() for ingester in cluster.ingesters.values())


async def test_only_the_shard_of_the_tenant_is_asked():
    cluster = Cluster(per_zone=3, minimise=False, limits=TenantLimits(ingestion_tenant_shard_size=3))
    await cluster.names()
    asked = cluster.asked()
    assert len(asked) == 3
    assert {name[0] for name in asked} == set(ZONES)


async def test_without_zones_one_instance_may_fail():
    cluster = Cluster(aware=False, zone="")
    cluster["b0"].error = Unavailable("no connection")
    assert await cluster.names() == ["a0", "c0", "common"]
    cluster["c0"].error = Unavailable("no connection")
    with pytest.raises(Unavailable):
        await cluster.names()


async def test_other_questions_are_united():
    cluster = Cluster(minimise=False)
    assert await cluster.reads.label_values("t", "x", (), 0, 1) in (
        ["a0", "b0", "x"],
        ["a0", "c0", "x"],
        ["b0", "c0", "x"],
    )
    rows = (await cluster.reads.series("t", [()], 0, 1)).rows()
    assert rows == sorted(rows, key=lambda row: row["name"])
    assert {"name": "common"} in rows
    metrics = [entry.metric for entry in await cluster.reads.metadata("t")]
    assert metrics.count("m") == 1
    assert len(metrics) == 3
    (exemplars,) = await cluster.reads.exemplars("t", [()], 0, 9)
    assert [each.ts for each in exemplars.exemplars] == [5, 6, 6]


def held(directory, *rows):
    head = Head(str(directory), tenant="t", hash_key=KEY)
    while len(set(head.replay_step(1 << 20))) != 1:
        pass
    head.append([batch(*rows)])
    return head.select([], 0, 1 << 60)


async def test_series_of_all_replicas_are_one_set(tmp_path):
    cluster = Cluster()
    cluster["c0"].error = Unavailable("no connection")
    cluster["a0"].series_set = held(tmp_path / "a", up("x", (START_MS, 1.0), (START_MS + 1, 2.0)))
    cluster["b0"].series_set = held(
        tmp_path / "b", up("x", (START_MS + 1, 2.0), (START_MS + 2, 3.0)), up("y", (START_MS, 9.0))
    )
    charged = []
    found = await cluster.reads.select("t", (), ALL, lambda series, size: charged.append((series, size)))
    assert [row["instance"] for row in found.labels.rows()] == ["x", "y"]
    columns = found.decode(0, 2, 0, 1 << 60)
    assert columns.values.tolist() == [1.0, 2.0, 3.0, 9.0]
    assert charged == [(1, 10)], "replicas of a series are charged once"


async def test_a_limit_ends_a_select_everywhere():
    cluster = Cluster()
    cluster["a0"].delay_s = cluster["b0"].delay_s = cluster["c0"].delay_s = 60.0

    def charge(series, size):
        raise LimitExceeded("too much")

    with pytest.raises(LimitExceeded):
        await cluster.reads.select("t", (), ALL, charge)


def test_charges_follow_the_zone_that_sent_most():
    charged = []
    charges = ReplicaCharges(lambda series, size: charged.append((series, size)))
    charges.of("a")(2, 20)
    charges.of("b")(1, 10)
    charges.of("b")(3, 10)
    charges.of("a")(1, 100)
    assert charged == [(2, 20), (2, 0), (0, 100)]


def test_charges_without_zones_are_divided():
    charged = []
    charges = ReplicaCharges(lambda series, size: charged.append((series, size)), copies=3)
    for _ in range(3):
        charges.of("")(2, 20)
    assert sum(series for series, _ in charged) == 2
    assert sum(size for _, size in charged) == 20
