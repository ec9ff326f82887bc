"""A store that is reached over HTTP: calls to several addresses, with retries and bounded answers; and a KV over it,
whose values are replaced as a whole while their versions are what they were when they were read."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import aiohttp

from mimir_rw.kit.rng import Rng
from mimir_rw.kv.contract import Codec, CodecError
from mimir_rw.model.errors import Unavailable

V = TypeVar("V")

ANSWER_BYTES_MAX = 64 << 20
CAS_ATTEMPTS = 10
_BACKOFF_S = 0.05
_BACKOFF_MAX_S = 2.0


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpCall:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Backoff:
    """Waits that double, each by chance between half and all of it."""

    def __init__(self, rng: Rng, *, first_s: float = _BACKOFF_S, most_s: float = _BACKOFF_MAX_S) -> None:
        self._rng = rng
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s

    def reset(self) -> None:
        self._next_s = self._first_s

    async def wait(self) -> None:
        await asyncio.sleep(self._next_s * (0.5 + 0.5 * self._rng.random()))
        self._next_s = min(self._next_s * 2, self._most_s)


@dataclass(frozen=True, slots=True)
class Found:
    """What a store has of a key. value: None if the key is not there. version: of the key, else 0. store_version: of
    the whole store; a watch goes on from there."""

    value: bytes | None
    version: int
    store_version: int


class HttpStore:
    """Connects when first called. Subclasses give `read`, `replace`, `remove` and `keys`."""

    def __init__(
        self,
        name: str,
        *,
        endpoints: Sequence[str],
        timeout_s: float,
        dial_timeout_s: float,
        attempts: int,
        rng: Rng,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        """endpoints: host:port, taken in turn. timeout_s: of one call. attempts: calls made before giving up.
        server_name: what the certificate must name; empty: the host."""
        self.name = name
        assert endpoints, "a store needs an address"
        scheme = "https" if tls is not None else "http"
        self._bases = [e if "://" in e else f"{scheme}://{e}" for e in endpoints]
        self._at = 0
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=dial_timeout_s)
        self._endless = aiohttp.ClientTimeout(total=None, sock_connect=dial_timeout_s)
        self._attempts = max(1, attempts)
        self._tls = tls
        self._server_name = server_name or None
        self._session: aiohttp.ClientSession | None = None
        self.rng = rng

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    # -- for subclasses; all raise Unavailable ----------------------------------------------------------------------

    async def read(self, key: str, *, fresh: bool = False) -> Found:
        """fresh: nothing that a follower of the store remembers."""
        raise NotImplementedError

    async def replace(self, key: str, version: int, value: bytes) -> bool:
        """Whether the key was still at `version` (0: not there) and now has the value."""
        raise NotImplementedError

    async def remove(self, key: str) -> None:
        raise NotImplementedError

    async def keys(self, prefix: str) -> list[str]:
        """Sorted."""
        raise NotImplementedError

    def between_replaces(self) -> Backoff:
        """Waits between the attempts to change a key."""
        return Backoff(self.rng)

    # -- calls ------------------------------------------------------------------------------------------------------

    async def call(self, call: HttpCall) -> HttpAnswer:
        """The answer, of any status below 500. Raises Unavailable after all attempts."""
        backoff = Backoff(self.rng)
        failure = ""
        for attempt in range(self._attempts):
            if attempt:
                await backoff.wait()
            try:
                async with self._request(call, self._timeout) as response:
                    body = await _bounded(response)
                    if response.status < 500:
                        return HttpAnswer(response.status, response.headers, body)
                    failure = f"status {response.status}: {body[:200].decode(errors='replace')}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                failure = str(error) or type(error).__name__
            self._at = (self._at + 1) % len(self._bases)
        raise Unavailable(f"{self.name} cannot be reached: {failure}")

    async def lines(self, call: HttpCall) -> AsyncGenerator[bytes, None]:
        """Lines of an answer that may never end. Raises Unavailable when it breaks off or is refused."""
        try:
            async with self._request(call, self._endless) as response:
                if response.status != 200:
                    body = await _bounded(response)
                    raise Unavailable(f"{self.name} refuses: {body[:200].decode(errors='replace')}")
                held = b""
                async for piece in response.content.iter_any():
                    held += piece
                    if len(held) > ANSWER_BYTES_MAX:
                        raise Unavailable(f"{self.name} answers with a line of over {ANSWER_BYTES_MAX} bytes")
                    *whole, held = held.split(b"\n")
                    for line in whole:
                        yield line
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._at = (self._at + 1) % len(self._bases)
            raise Unavailable(f"{self.name} cannot be reached: {error or type(error).__name__}") from error

    def _request(self, call: HttpCall, timeout: aiohttp.ClientTimeout) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session.request(
            call.method,
            self._bases[self._at] + call.path,
            params=dict(call.query),
            data=call.body,
            headers=dict(call.headers),
            timeout=timeout,
            ssl=self._tls if self._tls is not None else True,
            server_hostname=self._server_name,
        )


S = TypeVar("S", bound=HttpStore)


class HttpKV(Generic[V, S]):
    """A `kv.contract.KV` but for `watch`, which subclasses give."""

    def __init__(self, codec: Codec[V], store: S) -> None:
        self._codec = codec
        self._store = store

    async def get(self, key: str) -> V | None:
        return self._shown(key, (await self._store.read(key)).value)

    async def cas(self, key: str, change: Callable[[V | None], V | None]) -> None:
        backoff = self._store.between_replaces()
        for _ in range(CAS_ATTEMPTS):
            there = await self._store.read(key, fresh=True)
            new = change(self._shown(key, there.value))
            if new is None or await self._store.replace(key, there.version, self._codec.encode(new)):
                return
            await backoff.wait()
        raise Unavailable(f"{key} could not be changed in {CAS_ATTEMPTS} attempts: others were faster")

    async def delete(self, key: str) -> None:
        await self._store.remove(key)

    async def list(self, prefix: str) -> list[str]:
        return await self._store.keys(prefix)

    def _shown(self, key: str, data: bytes | None) -> V | None:
        """The value without tombstones. Raises Unavailable for one that does not decode."""
        if data is None:
            return None
        try:
            return self._codec.without_tombstones(self._codec.decode(data), None)
        except CodecError as error:
            raise Unavailable(f"the value of {key} in {self._store.name} is damaged: {error}") from error


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises OSError when it is over the bound."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise OSError(f"the answer has more than {ANSWER_BYTES_MAX} bytes")
        pieces.append(piece)
    return b"".join(pieces)
