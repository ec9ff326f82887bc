"""Memcached servers as one cache.

A key belongs to one server, by rendezvous hashing: when a server is added or taken away, only its share moves. Reads
wait for a server at most `timeout_s` and then do without; a server that failed is left alone for a moment. Writes wait
in a queue, bounded by items and bytes, and are dropped when it is full. On the event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from mimir_rw.cache.memcached_text import (
    LINE_BYTES_MAX,
    MemcachedError,
    get_request,
    read_line,
    read_values,
    set_request,
    wire_key,
)
from mimir_rw.cache.metrics import CacheCounts, CacheMetrics
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.tasks import TaskSupervisor

_FAILURES = (OSError, EOFError, TimeoutError, MemcachedError, asyncio.LimitOverrunError)
_SAID_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class MemcachedSettings:
    addresses: tuple[str, ...]
    """host:port."""
    timeout_s: float = 0.2
    connect_timeout_s: float = 0.2
    connections_max: int = 8
    """For each server."""
    keys_per_get_max: int = 100
    item_bytes_max: int = 1 << 20
    writers: int = 4
    queue_items_max: int = 25_000
    queue_bytes_max: int = 64 << 20
    rest_s: float = 1.0
    """How long a server that failed is left alone."""


class MemcachedCache:
    """A `Cache`."""

    def __init__(self, *, name: str, settings: MemcachedSettings, clock: Clock, metrics: CacheMetrics) -> None:
        self._settings = settings
        self._clock = clock
        self._counts = metrics.of(name, "memcached", lambda: self._waiting_bytes)
        self._servers = [_Server(address, settings, clock, self._counts) for address in sorted(set(settings.addresses))]
        self._waiting: deque[tuple[str, bytes, float]] = deque()
        self._waiting_bytes = 0
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._tasks = TaskSupervisor()

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """See `Cache`."""
        by_server: dict[_Server, dict[bytes, str]] = {}
        for key in keys:
            wire = wire_key(key)
            by_server.setdefault(self._server_of(wire), {})[wire] = key
        began_s = self._clock.monotonic()
        found: dict[str, bytes] = {}
        calls = [
            self._fetch_from(server, names, found)
            for server, wanted in by_server.items()
            for names in _split(wanted, self._settings.keys_per_get_max)
        ]
        if len(calls) == 1:
            await calls[0]
        else:
            await asyncio.gather(*calls)
        self._counts.duration.observe(self._clock.monotonic() - began_s)
        self._counts.requests.inc(len(keys))
        self._counts.hits.inc(len(found))
        return found

    def store(self, items: Mapping[str, bytes], ttl_s: float) -> None:
        """See `Cache`."""
        settings = self._settings
        for key, value in items.items():
            full = len(self._waiting) >= settings.queue_items_max
            if full or len(value) > settings.item_bytes_max or self._waiting_bytes > settings.queue_bytes_max:
                self._counts.dropped.inc()
                continue
            self._waiting.append((key, value, ttl_s))
            self._waiting_bytes += len(value)
        self._more.set()
        while len(self._tasks) < settings.writers:
            self._tasks.spawn(self._write(), name="memcached writes", traced=False)

    async def written(self) -> None:
        """Wait until nothing waits to be written any more."""
        while self._waiting_bytes or self._waiting:
            self._less.clear()
            await self._less.wait()

    async def close(self) -> None:
        await self._tasks.cancel()
        for server in self._servers:
            server.close()

    async def _fetch_from(self, server: _Server, names: Mapping[bytes, str], found: dict[str, bytes]) -> None:
        for wire, value in (await server.get(list(names))).items():
            found[names[wire]] = value

    async def _write(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            key, value, ttl_s = self._waiting.popleft()
            wire = wire_key(key)
            if await self._server_of(wire).set(wire, value, ttl_s):
                self._counts.stored.inc(len(value))
            self._waiting_bytes -= len(value)
            self._less.set()

    def _server_of(self, wire: bytes) -> _Server:
        if len(self._servers) == 1:
            return self._servers[0]
        return max(self._servers, key=lambda server: hashlib.blake2b(server.seed + wire, digest_size=8).digest())


class _Server:
    """One memcached: a bounded pool of connections, each for one request at a time."""

    def __init__(self, address: str, settings: MemcachedSettings, clock: Clock, counts: CacheCounts) -> None:
        self.address = address
        self.seed = address.encode() + b"\0"
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._settings = settings
        self._clock = clock
        self._counts = counts
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._room = asyncio.Semaphore(settings.connections_max)
        self._rests_until_s = 0.0
        self._said_s: float | None = None
        self._log = get_logger(component="cache")

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._connection() as (reader, writer):
                writer.write(get_request(keys))
                return await read_values(reader, keys, value_bytes_max=self._settings.item_bytes_max)
        except _FAILURES as error:
            self._failed(error)
            return {}

    async def set(self, key: bytes, value: bytes, ttl_s: float) -> bool:
        """Whether it is stored."""
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._connection() as (reader, writer):
                writer.write(set_request(key, value, ttl_s))
                await writer.drain()
                answer = await read_line(reader)
                if answer.startswith((b"SERVER_ERROR", b"CLIENT_ERROR", b"ERROR")):
                    raise MemcachedError(f"answered {answer[:80]!r}")
                return answer == b"STORED"
        except _FAILURES as error:
            self._failed(error)
            return False

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection for one request; it is closed unless the request came to its end."""
        async with self._room:
            if self._clock.monotonic() < self._rests_until_s:
                raise _Resting
            reader, writer = self._idle.pop() if self._idle else await self._connect()
            whole = False
            try:
                yield reader, writer
                whole = True
            finally:
                if whole:
                    self._idle.append((reader, writer))
                else:
                    writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(self._settings.connect_timeout_s):
            return await asyncio.open_connection(self._host, self._port, limit=LINE_BYTES_MAX * 2)

    def _failed(self, error: BaseException) -> None:
        self._counts.failures.inc()
        if isinstance(error, _Resting):
            return
        now_s = self._clock.monotonic()
        if not isinstance(error, TimeoutError):
            self._rests_until_s = now_s + self._settings.rest_s
        if self._said_s is None or now_s - self._said_s >= _SAID_EVERY_S:
            self._said_s = now_s
            self._log.warning("a cache does not answer", address=self.address, err=str(error) or "timeout")


class _Resting(MemcachedError):
    """The server failed a moment ago."""


def _split(wanted: Mapping[bytes, str], size: int) -> list[dict[bytes, str]]:
    items = list(wanted.items())
    return [dict(items[start : start + size]) for start in range(0, len(items), size)]
