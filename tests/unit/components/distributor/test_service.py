from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mimir_rw._native import WriteBatch
from mimir_rw.components.distributor.metrics import DistributorMetrics
from mimir_rw.components.distributor.replication import Stored
from mimir_rw.components.distributor.service import IDLE_S, DistributorService
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import DistributorConfig, DistributorInstanceLimits
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.service import ServiceState
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.model.errors import BadRequest, MimirError, Overloaded, RateLimited, TooLarge, Unavailable
from mimir_rw.ring.desc import InstanceState
from mimir_rw.rpc.contracts.hand_over import ReadOnlySeen
from mimir_rw.rpc.contracts.ingester import Rejection
from mimir_rw.testing.remote_write import body, metadata, series

NOW_MS = 1_700_000_000_000
KEY = bytes(32)


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return NOW_MS + int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


class FakeStore:
    """Keeps what it is given; answers with `rejections`, once `gate` is open."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, WriteBatch]] = []
        self.shard_sizes: list[int] = []
        self.exemplars_refused = 0
        self.keys: list[bytes] = []
        self.rejections: tuple[Rejection, ...] = ()
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def store(self, tenant: str, batch: WriteBatch, *, shard_size: int, key: bytes) -> Stored:
        self.called.set()
        await self.gate.wait()
        self.batches.append((tenant, batch))
        self.shard_sizes.append(shard_size)
        self.keys.append(key)
        return Stored(self.rejections, self.exemplars_refused)

    def sees_read_only(self, instance_id: str) -> ReadOnlySeen:
        return ReadOnlySeen(seen=instance_id == "known")

    def start(self, tasks: TaskSupervisor) -> None: ...

    def age(self) -> None: ...

    async def drain(self) -> None: ...

    def rows(self) -> list[dict[str, str]]:
        return [dict(batch.row_labels(i)) for _, batch in self.batches for i in range(batch.series_count)]


class FakePeers:
    def __init__(self) -> None:
        self.others = 0
        self.announced: list[InstanceState] = []

    def count(self) -> int:
        return 1 + self.others

    async def announce(self, state: InstanceState) -> None:
        self.announced.append(state)


class Bed:
    def __init__(
        self, service: DistributorService, store: FakeStore, peers: FakePeers, clock: FakeClock, metrics: Metrics
    ) -> None:
        self.service = service
        self.store = store
        self.peers = peers
        self.clock = clock
        self.metrics = metrics

    async def push(self, *rows: bytes, tenant: str = "t") -> None:
        await self.service.push_remote_write(tenant, body(*rows))

    def metric(self, line: str) -> float | None:
        values = [x.rsplit(" ", 1)[1] for x in self.metrics.render().decode().splitlines() if x.startswith(line + " ")]
        return float(values[0]) if values else None


@asynccontextmanager
async def bed(
    tenant_limits: TenantLimits | None = None,
    instance: DistributorInstanceLimits | None = None,
    config: DistributorConfig | None = None,
    offload: InlineOffload | None = None,
    **more: Any,
) -> AsyncIterator[Bed]:
    metrics, clock, store, peers = Metrics(), FakeClock(), FakeStore(), FakePeers()
    instance_limits: Callable[[], DistributorInstanceLimits] = lambda: instance or DistributorInstanceLimits()  # noqa: E731
    service = DistributorService(
        config=config or DistributorConfig(),
        limits=Limits(defaults=tenant_limits or TenantLimits()),
        instance_limits=instance_limits,
        peers=peers,
        offload=offload or InlineOffload(),
        clock=clock,
        metrics=DistributorMetrics(
            metrics=metrics,
            discarded_samples=metrics.counters("cortex_discarded_samples_total", "", ("reason", "user")),
            discarded_exemplars=metrics.counters("cortex_discarded_exemplars_total", "", ("reason", "user")),
        ),
        **{"series_key": lambda: KEY, "store": store, **more},
    )
    life = asyncio.ensure_future(service.live())
    await service.wait_state(ServiceState.RUNNING)
    try:
        yield Bed(service, store, peers, clock, metrics)
    finally:
        service.request_stop()
        await life


def up(value: float = 1.0, ts: int = NOW_MS, **labels: str) -> bytes:
    return series({"__name__": "up", **labels}, [(ts, value)])


async def test_a_push_reaches_the_ingester_and_is_counted() -> None:
    async with bed() as b:
        await b.push(up(job="a"), up(job="b", ts=NOW_MS - 5000), metadata("up", 2, "help"))
        assert b.store.rows() == [{"__name__": "up", "job": "a"}, {"__name__": "up", "job": "b"}]
        assert b.store.batches[0][1].metadata_rows() == [(2, "up", "help", "")]
        for line, value in [
            ('cortex_distributor_requests_in_total{user="t",version="1.0"}', 1),
            ('cortex_distributor_samples_in_total{user="t"}', 2),
            ('cortex_distributor_received_samples_total{user="t"}', 2),
            ('cortex_distributor_received_metadata_total{user="t"}', 1),
            ('cortex_distributor_received_requests_total{user="t"}', 1),
            ('cortex_distributor_latest_seen_sample_timestamp_seconds{user="t"}', NOW_MS / 1000),
            ("cortex_distributor_inflight_push_requests", 0),
            ("cortex_distributor_inflight_push_requests_bytes", 0),
        ]:
            assert b.metric(line) == value, line


async def test_large_bodies_are_decoded_off_the_loop_small_ones_on_it() -> None:
    class CountingOffload(InlineOffload):
        calls = 0

        async def run(self, fn: Callable[..., Any], *args: Any) -> Any:
            self.calls += 1
            return fn(*args)

    offload = CountingOffload()
    async with bed(offload=offload) as b:
        await b.push(up())
        assert offload.calls == 0
        await b.push(*(up(n=str(n)) for n in range(3000)))
        assert offload.calls == 1
        assert len(b.store.rows()) == 3001


async def test_bad_rows_are_named_and_the_others_stored() -> None:
    async with bed() as b:
        b.store.rejections = (Rejection("sample-out-of-order", 1, "too late"),)
        with pytest.raises(BadRequest) as caught:
            await b.push(series({"job": "a"}, [(NOW_MS, 1)]), up(ts=NOW_MS + 601_000), up(), up(a="b"))
        assert caught.value.error_id == "missing-metric-name"
        assert "3 of 4" in str(caught.value)
        assert "1 sample-out-of-order" in str(caught.value)
        assert len(b.store.rows()) == 2
        for reason in ("missing_metric_name", "too_far_in_future"):
            assert b.metric(f'cortex_discarded_samples_total{{reason="{reason}",user="t"}}') == 1
        assert b.metric('cortex_discarded_samples_total{reason="sample_out_of_order",user="t"}') is None


async def test_a_push_of_which_nothing_is_valid_does_not_reach_the_ingester() -> None:
    async with bed() as b:
        with pytest.raises(BadRequest, match="has no metric name"):
            await b.push(series({"job": "a"}, [(NOW_MS, 1)]))
        assert b.store.batches == []


@pytest.mark.parametrize(
    ("raw", "error", "error_id"),
    [
        (b"", BadRequest, None),
        (b"junk", BadRequest, None),
        (b"\xff\xff\xff\xff\x0f\x00\x00", TooLarge, "distributor-max-write-message-size"),
        (b"\x05" + b"x" * 2000, TooLarge, "distributor-max-write-message-size"),
    ],
)
async def test_bodies_that_do_not_decode(raw: bytes, error: type[MimirError], error_id: str | None) -> None:
    async with bed(config=DistributorConfig(max_recv_msg_size=1000)) as b:
        with pytest.raises(error) as caught:
            await b.service.push_remote_write("t", raw)
        assert caught.value.error_id == error_id
        assert b.metric("cortex_distributor_inflight_push_requests_bytes") == 0


async def test_over_the_ingestion_rate_nothing_is_stored() -> None:
    async with bed(TenantLimits(ingestion_rate=1, ingestion_burst_size=3)) as b:
        await b.push(up(), metadata("up", 2, ""))
        with pytest.raises(RateLimited) as caught:
            await b.push(up(), up(a="b"))
        assert caught.value.error_id == "tenant-max-ingestion-rate"
        assert len(b.store.batches) == 1
        assert b.metric('cortex_discarded_samples_total{reason="rate_limited",user="t"}') == 2
        b.clock.seconds = 1.0
        await b.push(up(), up(a="b"))


async def test_over_the_request_rate() -> None:
    async with bed(TenantLimits(request_rate=1, request_burst_size=1)) as b:
        await b.push(up())
        with pytest.raises(RateLimited) as caught:
            await b.push(up())
        assert caught.value.error_id == "tenant-max-request-rate"
        await b.push(up(), tenant="other")


@pytest.mark.parametrize(
    ("instance", "error_id"),
    [
        (DistributorInstanceLimits(max_inflight_push_requests=1), "distributor-max-inflight-push-requests"),
        (
            DistributorInstanceLimits(max_inflight_push_requests_bytes=60),
            "distributor-max-inflight-push-requests-bytes",
        ),
    ],
)
async def test_requests_in_work_are_bounded(instance: DistributorInstanceLimits, error_id: str) -> None:
    async with bed(instance=instance) as b:
        b.store.gate.clear()
        first = asyncio.ensure_future(b.push(up()))
        await b.store.called.wait()
        with pytest.raises(Overloaded) as caught:
            await b.push(up())
        assert caught.value.error_id == error_id
        b.store.gate.set()
        await first
        await b.push(up())


async def test_new_limits_hold_from_the_next_push() -> None:
    async with bed() as b:
        await b.push(up(a="1"))
        b.service._limits.replace_overrides({"t": TenantLimits(max_label_names_per_series=1)})
        with pytest.raises(BadRequest, match="err-mimir-max-label-names-per-series"):
            await b.push(up(a="1"))
        b.service._limits.replace_overrides({})
        await b.push(up(a="1"))


async def test_metadata_without_name_is_dropped_silently_when_not_enforced() -> None:
    async with bed(TenantLimits(enforce_metadata_metric_name=False)) as b:
        await b.push(up(), metadata("", 2, ""))
        assert b.store.batches[0][1].metadata_count == 0


async def test_idle_tenants_and_those_beyond_the_bound_are_forgotten() -> None:
    async with bed(config=DistributorConfig(tenants_max=2)) as b:
        for name in ("a", "b", "a", "c"):
            await b.push(up(), tenant=name)
        assert set(b.service._tenants) == {"a", "c"}
        assert b.metric("mimir_rw_distributor_tenants") == 2
        assert b.metric('cortex_distributor_samples_in_total{user="b"}') is None
        b.clock.seconds = IDLE_S
        await b.push(up(), tenant="c")
        b.service._sweep(IDLE_S + 1)
        assert set(b.service._tenants) == {"c"}
        assert b.metric('mimir_rw_distributor_known_series{user="c"}') == 1


async def test_a_tenant_with_a_request_in_work_is_not_forgotten() -> None:
    async with bed(config=DistributorConfig(tenants_max=1)) as b:
        b.store.gate.clear()
        first = asyncio.ensure_future(b.push(up(), tenant="a"))
        await b.store.called.wait()
        second = asyncio.ensure_future(b.push(up(), tenant="b"))
        await asyncio.sleep(0)
        assert set(b.service._tenants) == {"a", "b"}
        b.store.gate.set()
        await asyncio.gather(first, second)


async def test_stopped_it_takes_nothing() -> None:
    async with bed() as b:
        pass
    with pytest.raises(Unavailable):
        await b.push(up())


async def test_rates_follow_the_number_of_distributors() -> None:
    async with bed(TenantLimits(ingestion_rate=8, ingestion_burst_size=4)) as b:
        b.peers.others = 3
        await b.push(*(up(n=str(n)) for n in range(4)))
        b.clock.seconds += 1
        with pytest.raises(RateLimited):
            await b.push(*(up(n=str(n)) for n in range(4)))
        await b.push(up(), up(n="1"))
        b.peers.others = 1
        with pytest.raises(RateLimited):
            await b.push(up())
        b.clock.seconds += 1
        await b.push(*(up(n=str(n)) for n in range(4)))


async def test_the_others_are_told_of_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimir_rw.components.distributor.service.TICK_S", 0.001)
    async with bed() as b:

        async def announced(*states: InstanceState) -> None:
            async with asyncio.timeout(5):
                while b.peers.announced != [*states]:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

        await announced(InstanceState.JOINING)
        await b.push(up())
        await announced(InstanceState.JOINING, InstanceState.ACTIVE)
        b.clock.seconds += 61
        await announced(InstanceState.JOINING, InstanceState.ACTIVE, InstanceState.PENDING)


async def test_pushes_go_to_the_tenants_shard_hashed_with_the_present_key() -> None:
    key = KEY
    async with bed(TenantLimits(ingestion_tenant_shard_size=6), series_key=lambda: key) as b:
        await b.push(up())
        key = b"n" * 32
        await b.push(up())
        assert b.store.shard_sizes == [6, 6]
        assert b.store.keys == [KEY, key]
        first, second = (batch.hash_bytes(0) for _, batch in b.store.batches)
        assert first != second
