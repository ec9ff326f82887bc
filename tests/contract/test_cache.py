"""What every cache keeps to: `mimir_rw/cache/contract.py`."""

import asyncio
import contextlib
import shutil
import subprocess

import pytest

from mimir_rw.cache.contract import NoCache
from mimir_rw.cache.lru import LruCache
from mimir_rw.cache.memcached import MemcachedCache, MemcachedSettings
from mimir_rw.cache.metrics import CacheMetrics
from mimir_rw.cache.tiered import TieredCache
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from tests.e2e.processes import free_port

MIB = 1 << 20
KINDS = ["lru", "memcached", "memcached-of-two", "tiered"]


@contextlib.contextmanager
def memcached():
    """A real one; its address."""
    program = shutil.which("memcached")
    if program is None:
        pytest.fail("memcached is missing: scripts/test-tools installs it")
    port = free_port()
    server = subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "16", "-u", "root"])
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


async def reachable(address):
    host, port = address.split(":")
    for _ in range(500):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
        await asyncio.sleep(0.01)
    pytest.fail("memcached does not listen")


def settings(*addresses):
    """Patient: the machine may be busy."""
    return MemcachedSettings(addresses, timeout_s=20, connect_timeout_s=20)


@contextlib.asynccontextmanager
async def cache(kind):
    metrics = CacheMetrics(Metrics())
    clock = SystemClock()
    with contextlib.ExitStack() as stack:
        if kind == "lru":
            made = LruCache(name="t", bytes_max=MIB, clock=clock, metrics=metrics)
        else:
            addresses = [stack.enter_context(memcached()) for _ in range(2 if kind == "memcached-of-two" else 1)]
            for address in addresses:
                await reachable(address)
            made = MemcachedCache(name="t", settings=settings(*addresses), clock=clock, metrics=metrics)
            if kind == "tiered":
                near = LruCache(name="t", bytes_max=MIB, clock=clock, metrics=metrics)
                made = TieredCache(near, made, near_ttl_s=60)
        yield made
        await made.close()


async def settled(made):
    for each in (made, getattr(made, "_far", None)):
        if isinstance(each, MemcachedCache):
            await each.written()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_stored_is_there(kind):
    values = {
        "sgi1/a": b"one",
        "sgi1/empty": b"",
        "sgi1/lines": b"\r\nEND\r\nVALUE x 0 3\r\n",
        "sgi1/" + "x" * 500: bytes(range(256)) * 200,
        "sgi1/with a space\r\n": b"two",
        **{f"sgi1/many/{n}": str(n).encode() for n in range(300)},
    }
    async with cache(kind) as made:
        made.store(values, 60)
        await settled(made)
        assert await made.fetch([*values, "sgi1/none"]) == values
        made.store({"sgi1/a": b"changed"}, 60)
        await settled(made)
        assert await made.fetch(["sgi1/a", "sgi1/none"]) == {"sgi1/a": b"changed"}
        assert await made.fetch([]) == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_too_large_is_not_kept(kind):
    async with cache(kind) as made:
        made.store({"large": bytes(2 * MIB), "small": b"s"}, 60)
        await settled(made)
        assert await made.fetch(["large", "small"]) == {"small": b"s"}


async def test_the_near_cache_has_what_came_from_the_far_one():
    async with cache("tiered") as made:
        made._far.store({"k": b"v"}, 60)
        await settled(made)
        assert await made._near.fetch(["k"]) == {}
        assert await made.fetch(["k"]) == {"k": b"v"}
        assert await made._near.fetch(["k"]) == {"k": b"v"}


async def test_a_memcached_that_goes_and_comes_back():
    metrics = CacheMetrics(Metrics())
    with memcached() as address:
        await reachable(address)
        made = MemcachedCache(name="t", settings=settings(address), clock=SystemClock(), metrics=metrics)
        made.store({"k": b"v"}, 60)
        await made.written()
        assert await made.fetch(["k"]) == {"k": b"v"}
    assert await made.fetch(["k"]) == {}
    made.store({"k": b"v"}, 60)
    await made.written()
    assert await made.fetch(["k"]) == {}
    await made.close()


async def test_no_cache_has_nothing():
    made = NoCache()
    made.store({"k": b"v"}, 60)
    assert await made.fetch(["k"]) == {}
    await made.close()
