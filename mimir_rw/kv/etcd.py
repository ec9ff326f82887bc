"""Keys in etcd, over the JSON gateway of its v3 API. Values are replaced as a whole, compared by their revision."""

from __future__ import annotations

import base64
import binascii
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.rng import Rng
from mimir_rw.kv.contract import Codec
from mimir_rw.kv.http_store import Backoff, Found, HttpAnswer, HttpCall, HttpKV, HttpStore
from mimir_rw.model.errors import Unavailable

V = TypeVar("V")

_log = get_logger(component="etcd")
_CALL_TIMEOUT_S = 20.0


class EtcdStore(HttpStore):
    def __init__(
        self,
        *,
        endpoints: Sequence[str],
        dial_timeout_s: float,
        max_retries: int,
        rng: Rng,
        username: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        super().__init__(
            "etcd", endpoints=endpoints, timeout_s=_CALL_TIMEOUT_S, dial_timeout_s=dial_timeout_s,
            attempts=max_retries, tls=tls, server_name=server_name, rng=rng,
        )  # fmt: skip
        self._username, self._password = username, password
        self._token = ""

    def kv(self, codec: Codec[V]) -> EtcdKV[V]:
        return EtcdKV(codec, self)

    async def read(self, key: str, *, fresh: bool = False) -> Found:
        """Always fresh."""
        answer = await self._ask("/v3/kv/range", {"key": _base64(key)})
        found = answer.get("kvs") or []
        store_revision = _number(answer.get("header", {}), "revision")
        if not found:
            return Found(None, 0, store_revision)
        return Found(_bytes(found[0], "value"), _number(found[0], "mod_revision"), store_revision)

    async def replace(self, key: str, version: int, value: bytes) -> bool:
        """See `HttpStore`. version: the revision that changed the key last."""
        unchanged = {"key": _base64(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(version)}
        put = {"request_put": {"key": _base64(key), "value": base64.b64encode(value).decode()}}
        answer = await self._ask("/v3/kv/txn", {"compare": [unchanged], "success": [put]})
        return bool(answer.get("succeeded", False))

    async def remove(self, key: str) -> None:
        await self._ask("/v3/kv/deleterange", {"key": _base64(key)})

    async def keys(self, prefix: str) -> list[str]:
        first = prefix.encode() or b"\x00"
        request = {"key": base64.b64encode(first).decode(), "range_end": _range_end(prefix), "keys_only": True}
        answer = await self._ask("/v3/kv/range", request)
        return sorted(_bytes(found, "key").decode(errors="replace") for found in answer.get("kvs") or [])

    async def events(self, key: str, from_revision: int) -> AsyncGenerator[tuple[bytes | None, int], None]:
        """Values (None: removed) and revisions of the key from that revision on. Raises Unavailable when they end."""
        request = {"create_request": {"key": _base64(key), "start_revision": str(from_revision)}}
        call = HttpCall("POST", "/v3/watch", body=msgspec.json.encode(request), headers=await self._headers())
        async with contextlib.aclosing(self.lines(call)) as lines:
            async for line in lines:
                for event in _events(key, line):
                    value = None if event.get("type") == "DELETE" else _bytes(event["kv"], "value")
                    yield value, _number(event["kv"], "mod_revision")

    async def _ask(self, path: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Raises Unavailable."""
        body = msgspec.json.encode(request)
        answer = await self.call(HttpCall("POST", path, body=body, headers=await self._headers()))
        if answer.status in (400, 401) and self._token:
            self._token = ""  # it has expired, or etcd has started anew
            answer = await self.call(HttpCall("POST", path, body=body, headers=await self._headers()))
        return _result(answer)

    async def _headers(self) -> dict[str, str]:
        if self._username and not self._token:
            who = msgspec.json.encode({"name": self._username, "password": self._password})
            answer = _result(await self.call(HttpCall("POST", "/v3/auth/authenticate", body=who)))
            self._token = str(answer.get("token", ""))
        return {"Authorization": self._token} if self._token else {}


class EtcdKV(HttpKV[V, EtcdStore]):
    async def watch(self, key: str) -> AsyncIterator[V]:
        backoff = Backoff(self._store.rng)
        seen = 0
        while True:
            try:
                there = await self._store.read(key)
                if there.version > seen:
                    seen = there.version
                    value = self._shown(key, there.value)
                    if value is not None:
                        yield value
                async with contextlib.aclosing(self._store.events(key, there.store_version + 1)) as events:
                    async for data, revision in events:
                        backoff.reset()
                        seen = max(seen, revision)
                        value = self._shown(key, data)
                        if value is not None:
                            yield value
            except Unavailable as error:
                _log.warning("a watch broke off and is taken up again", key=key, err=str(error))
            await backoff.wait()


def _result(answer: HttpAnswer) -> dict[str, Any]:
    if answer.status != 200:
        raise Unavailable(f"etcd refuses: {answer.body[:200].decode(errors='replace')}")
    return _decode(answer.body)


def _decode(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unavailable(f"etcd answers with what is no JSON object: {error}") from error


def _events(key: str, line: bytes) -> list[dict[str, Any]]:
    """What one line of a watch tells. Raises Unavailable when the watch has ended."""
    result = _decode(line).get("result") if line.strip() else {}
    if not isinstance(result, dict) or result.get("canceled"):
        raise Unavailable(f"etcd ends the watch of {key}: {line[:200].decode(errors='replace')}")
    events = result.get("events") or []
    if not isinstance(events, list) or not all(isinstance(e, dict) and isinstance(e.get("kv"), dict) for e in events):
        raise Unavailable(f"etcd's watch of {key} tells what is no event")
    return events


def _base64(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _bytes(fields: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(fields.get(name, ""))
    except (binascii.Error, TypeError) as error:
        raise Unavailable(f"etcd answers with a damaged {name}") from error


def _number(fields: Mapping[str, Any], name: str) -> int:
    try:
        return int(fields.get(name, 0))
    except (TypeError, ValueError) as error:
        raise Unavailable(f"etcd answers with a damaged {name}") from error


def _range_end(prefix: str) -> str:
    """What follows the last key with this prefix: etcd's form, in which a zero byte means all."""
    data = bytearray(prefix.encode())
    while data and data[-1] == 0xFF:
        data.pop()
    if not data:
        return base64.b64encode(b"\x00").decode()
    data[-1] += 1
    return base64.b64encode(bytes(data)).decode()
