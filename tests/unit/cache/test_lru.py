from mimir_rw.cache.lru import ITEM_BYTES, LruCache
from mimir_rw.cache.metrics import CacheMetrics
from mimir_rw.kit.metrics import Metrics


class Clock:
    now_s = 0.0

    def now_ms(self):
        return int(self.now_s * 1000)

    def monotonic(self):
        return self.now_s


def lru(items):
    """Room for so many items of 1,000 bytes."""
    return LruCache(
        name="t", bytes_max=items * (1000 + 2 + ITEM_BYTES), clock=(Clock()), metrics=CacheMetrics(Metrics())
    )


def item(n):
    return {f"k{n}": bytes(1000)}


async def keys(cache, count):
    return [int(key[1:]) for key in await cache.fetch([f"k{n}" for n in range(count)])]


async def test_what_was_not_used_for_longest_goes():
    cache = lru(8)
    for n in range(8):
        cache.store(item(n), 60)
    assert await cache.fetch(["k0", "k1"])
    cache.store({**item(8), **item(9)}, 60)
    assert await keys(cache, 10) == [0, 1, 4, 5, 6, 7, 8, 9]
    assert cache.held == 8 * (1002 + ITEM_BYTES)
    assert len(cache) == 8


async def test_items_end_with_their_time():
    cache = lru(8)
    cache.store(item(1), 10)
    cache.store(item(2), 30)
    cache._clock.now_s = 10
    assert await keys(cache, 4) == [2]
    assert len(cache) == 1


async def test_an_item_is_never_most_of_the_cache():
    cache = lru(8)
    cache.store({"x": bytes(3000), **item(1)}, 60)
    assert await cache.fetch(["x"]) == {}
    assert len(cache) == 1


async def test_replacing_counts_once():
    cache = lru(8)
    for _ in range(20):
        cache.store(item(1), 60)
    assert cache.held == 1002 + ITEM_BYTES
    await cache.close()
    assert (cache.held, len(cache)) == (0, 0)
