import pytest

from mimir_rw.components.querier.core import check_partial_range, metadata_range
from mimir_rw.components.querier.queryable import TenantQueryable
from mimir_rw.config.limits import TenantLimits
from mimir_rw.model.errors import LimitExceeded
from mimir_rw.storage.contract import SelectHints
from mimir_rw.storage.fetch_limits import FetchLimits
from tests.unit.promql.memory_storage import MemoryQueryable, series

HOUR = 3_600_000


def test_partial_range():
    check_partial_range(0, 10 * HOUR, TenantLimits())
    check_partial_range(0, HOUR, TenantLimits(max_partial_query_length=HOUR))
    with pytest.raises(LimitExceeded, match=r"query length: 2h, limit: 1h.*err-mimir-max-query-length"):
        check_partial_range(0, 2 * HOUR, TenantLimits(max_partial_query_length=HOUR))


def test_metadata_requests_lose_their_old_end():
    now = 100 * HOUR
    assert metadata_range(0, now, now, TenantLimits()) == (0, now)
    assert metadata_range(0, now, now, TenantLimits(max_query_lookback=HOUR)) == (99 * HOUR, now)
    far = 10**15
    assert metadata_range(0, far, now, TenantLimits(max_labels_query_length=HOUR)) == (99 * HOUR, far)


class Store:
    """The part of the Ingester contract that a query uses."""

    def __init__(self, *lines):
        self.memory = MemoryQueryable([series(line) for line in lines])

    async def select(self, tenant, matchers, hints, charge):
        found = await self.memory.select(matchers, hints)
        charge(len(found.labels), 100)
        return found


async def test_a_query_counts_all_series_it_selects():
    store = Store('a{x="1"} 1', 'a{x="2"} 1')
    queryable = TenantQueryable(ingesters=store, tenant="t", oldest_ms=None, limits=FetchLimits(series_max=3))
    await queryable.select((), SelectHints(0, 1))
    assert (queryable.series_fetched, queryable.bytes_fetched) == (2, 100)
    with pytest.raises(LimitExceeded, match="err-mimir-max-series-per-query"):
        await queryable.select((), SelectHints(0, 1))


@pytest.mark.parametrize(
    ("limits", "error_id"),
    [
        (FetchLimits(chunk_bytes_max=150), "max-chunks-bytes-per-query"),
        (FetchLimits(memory_bytes_max=150), "max-estimated-memory-consumption-per-query"),
    ],
)
async def test_a_query_counts_all_bytes_it_fetches(limits, error_id):
    queryable = TenantQueryable(ingesters=Store("a 1"), tenant="t", oldest_ms=None, limits=limits)
    await queryable.select((), SelectHints(0, 1))
    with pytest.raises(LimitExceeded, match=f"err-mimir-{error_id}"):
        await queryable.select((), SelectHints(0, 1))


async def test_what_is_too_old_is_not_read():
    store = Store("a 1 2 3")
    queryable = TenantQueryable(ingesters=store, tenant="t", oldest_ms=100_000, limits=FetchLimits())
    await queryable.select((), SelectHints(0, 200_000))
    assert store.memory.selects[0][1].mint == 100_000
    assert len((await queryable.select((), SelectHints(0, 50_000))).labels) == 0
    assert len(store.memory.selects) == 1
