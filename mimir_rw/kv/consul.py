"""Keys in Consul, over its HTTP API. Values are replaced as a whole, compared by their index; watches are blocking
queries."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.rng import Rng
from mimir_rw.kv.contract import Codec
from mimir_rw.kv.http_store import Backoff, Found, HttpCall, HttpKV, HttpStore
from mimir_rw.model.errors import Unavailable

V = TypeVar("V")

_log = get_logger(component="consul")
_POLL_S = 10
_DIAL_TIMEOUT_S = 10.0
_ATTEMPTS = 3


class ConsulStore(HttpStore):
    def __init__(
        self,
        *,
        host: str,
        clock: Clock,
        rng: Rng,
        acl_token: str = "",
        timeout_s: float = 20.0,
        consistent_reads: bool = False,
        watch_rate: float = 1.0,
        watch_burst: int = 1,
        cas_retry_delay_s: float = 1.0,
    ) -> None:
        """host: with port, and with http:// or https:// if need be. watch_rate: requests per second for one watch."""
        super().__init__(
            "consul", endpoints=[host], timeout_s=max(timeout_s, 2.0 * _POLL_S), dial_timeout_s=_DIAL_TIMEOUT_S,
            attempts=_ATTEMPTS, rng=rng,
        )  # fmt: skip
        self.clock = clock
        self.watch_rate, self.watch_burst = watch_rate, watch_burst
        self._cas_retry_delay_s = cas_retry_delay_s
        self._headers = {"X-Consul-Token": acl_token} if acl_token else {}
        self._mode = {"consistent": ""} if consistent_reads else {"stale": ""}

    def kv(self, codec: Codec[V]) -> ConsulKV[V]:
        return ConsulKV(codec, self)

    async def read(self, key: str, *, fresh: bool = False, after: int = 0) -> Found:
        """after: wait, for some seconds at most, until the index is past it."""
        query = {} if fresh else dict(self._mode)
        if after:
            query |= {"index": str(after), "wait": f"{_POLL_S}s"}
        answer = await self.call(HttpCall("GET", _path(key), query=query, headers=self._headers))
        index = _number(answer.headers.get("X-Consul-Index", "0"))
        if answer.status == 404:
            return Found(None, 0, index)
        found = self._decoded(answer.status, answer.body)
        if not isinstance(found, list) or not found or not isinstance(found[0], dict):
            raise Unavailable(f"Consul answers with what is no value of {key}")
        return Found(_bytes(found[0].get("Value")), _number(found[0].get("ModifyIndex")), index)

    async def replace(self, key: str, version: int, value: bytes) -> bool:
        """See `HttpStore`. version: the index that changed the key last."""
        query = {"cas": str(version)}
        answer = await self.call(HttpCall("PUT", _path(key), query=query, body=value, headers=self._headers))
        return self._decoded(answer.status, answer.body) is True

    def between_replaces(self) -> Backoff:
        """As slow as the setting says."""
        return Backoff(self.rng, first_s=self._cas_retry_delay_s / 16, most_s=self._cas_retry_delay_s)

    async def remove(self, key: str) -> None:
        answer = await self.call(HttpCall("DELETE", _path(key), headers=self._headers))
        self._decoded(answer.status, answer.body)

    async def keys(self, prefix: str) -> list[str]:
        query = {"keys": "", **self._mode}
        answer = await self.call(HttpCall("GET", _path(prefix), query=query, headers=self._headers))
        return [] if answer.status == 404 else sorted(map(str, self._decoded(answer.status, answer.body)))

    def _decoded(self, status: int, body: bytes) -> Any:
        if status != 200:
            raise Unavailable(f"Consul refuses with status {status}: {body[:200].decode(errors='replace')}")
        try:
            return msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(f"Consul answers with what is no JSON: {error}") from error


class ConsulKV(HttpKV[V, ConsulStore]):
    async def watch(self, key: str) -> AsyncIterator[V]:
        backoff = Backoff(self._store.rng)
        pace = _Pace(self._store)
        seen = index = 0
        while True:
            try:
                await pace.wait()
                there = await self._store.read(key, after=index)
                backoff.reset()
                # An index that goes back means that Consul has started anew.
                index = max(1, there.store_version) if there.store_version >= index else 0
                value = self._shown(key, there.value) if there.version != seen else None
                seen = there.version
                if value is not None:
                    yield value
            except Unavailable as error:
                _log.warning("a watch broke off and is taken up again", key=key, err=str(error))
                await backoff.wait()


class _Pace:
    """Keeps the requests of one watch to the rate that was set."""

    def __init__(self, store: ConsulStore) -> None:
        self._clock = store.clock
        self._rate, self._burst = store.watch_rate, float(max(1, store.watch_burst))
        self._left = self._burst
        self._at = self._clock.monotonic()

    async def wait(self) -> None:
        if self._rate <= 0:
            return
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1
        if self._left < 0:
            await asyncio.sleep(-self._left / self._rate)


def _path(key: str) -> str:
    return "/v1/kv/" + quote(key)


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value or "")
    except (binascii.Error, TypeError, ValueError) as error:
        raise Unavailable("Consul answers with a damaged value") from error


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise Unavailable("Consul answers with a damaged index") from error
