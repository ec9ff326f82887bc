import asyncio

import pytest

from mimir_rw.components.querier.admission import Admission
from mimir_rw.components.querier.core import check_expression_size, check_range, metadata_range, syntax
from mimir_rw.components.querier.queryable import TenantQueryable
from mimir_rw.config.limits import TenantLimits
from mimir_rw.model.errors import BadRequest, LimitExceeded, RateLimited
from mimir_rw.storage.contract import SelectHints
from tests.unit.promql.memory_storage import MemoryQueryable, series

HOUR = 3_600_000


def test_expression_size_counts_bytes():
    limits = TenantLimits(max_query_expression_size_bytes=4)
    check_expression_size("éé", limits)
    with pytest.raises(BadRequest, match=r"query size: 6, limit: 4.*err-mimir-max-query-expression-size-bytes"):
        check_expression_size("ééé", limits)
    check_expression_size("x" * 1000, TenantLimits())


def test_range_limits():
    check_range(0, 10 * HOUR, TenantLimits())
    with pytest.raises(BadRequest, match=r"query length: 2h, limit: 1h.*err-mimir-max-total-query-length"):
        check_range(0, 2 * HOUR, TenantLimits(max_total_query_length=HOUR))
    with pytest.raises(LimitExceeded, match="err-mimir-max-query-length"):
        check_range(0, 2 * HOUR, TenantLimits(max_partial_query_length=HOUR))
    check_range(0, HOUR, TenantLimits(max_total_query_length=HOUR, max_partial_query_length=HOUR))


def test_metadata_requests_lose_their_old_end():
    now = 100 * HOUR
    assert metadata_range(0, now, now, TenantLimits()) == (0, now)
    assert metadata_range(0, now, now, TenantLimits(max_query_lookback=HOUR)) == (99 * HOUR, now)
    far = 10**15
    assert metadata_range(0, far, now, TenantLimits(max_labels_query_length=HOUR)) == (99 * HOUR, far)


def test_experimental_functions():
    assert not syntax(TenantLimits()).allows("limitk")
    assert syntax(TenantLimits(enabled_promql_experimental_functions=("limitk",))).allows("limitk")
    assert syntax(TenantLimits(enabled_promql_experimental_functions=("all",))).allows("anything")


async def test_admission_runs_so_many_and_lets_so_many_wait():
    admission = Admission(running_max=1, waiting_per_tenant_max=2)
    order = []
    release = asyncio.Event()

    async def one(name, tenant="a"):
        async with admission.slot(tenant):
            order.append(name)
            await release.wait()

    running = [asyncio.ensure_future(one(name)) for name in ("first", "second", "third")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (admission.running, admission.waiting) == (1, 2)
    with pytest.raises(RateLimited, match="too many outstanding requests"):
        await one("fourth")
    other = asyncio.ensure_future(one("other", "b"))
    await asyncio.sleep(0)
    running[1].cancel()
    release.set()
    await asyncio.wait([*running, other])
    assert order == ["first", "third", "other"]
    assert (admission.running, admission.waiting) == (0, 0)


class Store:
    """The part of the Ingester contract that a query uses."""

    def __init__(self, *lines):
        self.memory = MemoryQueryable([series(line) for line in lines])

    async def select(self, tenant, matchers, hints):
        return await self.memory.select(matchers, hints)


async def test_a_query_counts_all_series_it_selects():
    store = Store('a{x="1"} 1', 'a{x="2"} 1')
    queryable = TenantQueryable(ingester=store, tenant="t", oldest_ms=None, series_max=3)
    await queryable.select((), SelectHints(0, 1))
    with pytest.raises(LimitExceeded, match="err-mimir-max-series-per-query"):
        await queryable.select((), SelectHints(0, 1))


async def test_what_is_too_old_is_not_read():
    store = Store("a 1 2 3")
    queryable = TenantQueryable(ingester=store, tenant="t", oldest_ms=100_000, series_max=0)
    await queryable.select((), SelectHints(0, 200_000))
    assert store.memory.selects[0][1].mint == 100_000
    assert len((await queryable.select((), SelectHints(0, 50_000))).labels) == 0
    assert len(store.memory.selects) == 1
