"""A small server that speaks the part of Consul's HTTP API that keys need, as its documentation tells: indexes that
only grow, compare-and-swap by the index of a key, blocking queries, lists of keys, tokens."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Item:
    value: bytes
    created: int
    modified: int


class ConsulServer:
    def __init__(self, *, token: str = "") -> None:
        self._token = token
        self._items: dict[str, Item] = {}
        self._removed: dict[str, int] = {}
        self._index = 10
        self._changed = asyncio.Event()
        self.failing = 0
        """So many of the next requests are answered with 500."""
        self.requests: list[tuple[str, str]] = []
        """Method, and path with query."""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 20, middlewares=[self._guard])
        app.router.add_get("/v1/kv/{key:.*}", self._get)
        app.router.add_put("/v1/kv/{key:.*}", self._put)
        app.router.add_delete("/v1/kv/{key:.*}", self._delete)
        return app

    def start_anew(self) -> None:
        """Lose everything, the index too."""
        self._items, self._removed, self._index = {}, {}, 1
        self._wake()

    def put_bytes(self, key: str, value: bytes) -> None:
        self._index += 1
        there = self._items.get(key)
        self._items[key] = Item(value, there.created if there else self._index, self._index)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        if self.failing:
            self.failing -= 1
            return web.Response(status=500, text="No cluster leader")
        if request.headers.get("X-Consul-Token", "") != self._token:
            return web.Response(status=403, text="Permission denied")
        return await handler(request)

    def _index_of(self, key: str) -> int:
        """What a query for one key reports: its own change, or that of its removal, or else that of the store."""
        if key in self._items:
            return self._items[key].modified
        return self._removed.get(key, self._index)

    async def _get(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        if "keys" in request.query:
            keys = sorted(k for k in self._items if k.startswith(key))
            headers = {"X-Consul-Index": str(self._index)}
            return web.json_response(keys, headers=headers) if keys else web.Response(status=404, headers=headers)
        wanted = int(request.query.get("index", "0"))
        seconds = float(request.query.get("wait", "300s").removesuffix("s"))
        try:
            async with asyncio.timeout(seconds if wanted else 0):
                while wanted > 0 and self._index_of(key) == wanted:
                    await self._changed.wait()
        except TimeoutError:
            pass
        headers = {"X-Consul-Index": str(self._index_of(key))}
        item = self._items.get(key)
        if item is None:
            return web.Response(status=404, headers=headers)
        found = {
            "LockIndex": 0, "Key": key, "Flags": 0, "Value": base64.b64encode(item.value).decode() or None,
            "CreateIndex": item.created, "ModifyIndex": item.modified,
        }  # fmt: skip
        return web.json_response([found], headers=headers)

    async def _put(self, request: web.Request) -> web.Response:
        key, value = request.match_info["key"], await request.read()
        there = self._items.get(key)
        cas = request.query.get("cas")
        if cas is not None and int(cas) != (there.modified if there else 0):
            return web.json_response(False)
        self.put_bytes(key, value)
        return web.json_response(True)

    async def _delete(self, request: web.Request) -> web.Response:
        if self._items.pop(request.match_info["key"], None) is not None:
            self._index += 1
            self._removed[request.match_info["key"]] = self._index
            self._wake()
        return web.json_response(True)
