"""The pages of the rings, on every process alike: who is in them, and Forget for those who will not come back.

Forget takes two steps: a GET with `forget=<id>` asks, and gives a token; a POST with the token does it. A POST without
one is refused, so that no other page can make a browser do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlencode

import msgspec

from mimir_rw.api import pages
from mimir_rw.api.errors import text_answer
from mimir_rw.api.exchange import JSON_TYPE, Answer, Call
from mimir_rw.api.form import read_text_form
from mimir_rw.api.form_token import FIELD, FormTokens
from mimir_rw.api.pages import Markup
from mimir_rw.api.params import Params, first
from mimir_rw.api.ring_table import ago, ring_json, ring_markup, state_of
from mimir_rw.kit.clock import Clock
from mimir_rw.model.errors import BadRequest, NotFound
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.view import RingView

REFRESH_S = 10
FORM_BYTES_MAX = 16 << 10
MAIN_RING = "ingester"
"""What a tool means that speaks of the ring."""
_NO_STORE = (b"cache-control", b"no-store")


class Ring(Protocol):
    """What `ring.service.RingService` is to its page."""

    def view(self) -> RingView: ...

    async def forget(self, id: str) -> None: ...


class RingPages:
    def __init__(self, *, rings: Mapping[str, Ring], tokens: FormTokens, clock: Clock, root: str) -> None:
        """rings: by name, in the order in which they are shown; asked anew at each request."""
        self._rings = rings
        self._tokens = tokens
        self._clock = clock
        self._root = root

    async def rings(self, call: Call) -> Answer:
        """All of them. Tools get the ingesters' ring, as they are used to, and all under `rings`."""
        params = read_text_form(call.query_string, await _form(call), call.header(b"content-type"))
        if call.method == "POST" or first(params, "forget"):
            name = first(params, "ring") or MAIN_RING
            if name not in self._rings:
                raise NotFound(f"there is no ring {name}")
            return await self._forget(call, name, "/ring", params)
        now_s = self._now_s()
        if call.accepts(b"application/json"):
            each = {name: ring_json(ring.view(), now_s) for name, ring in self._rings.items()}
            return _json({**each.get(MAIN_RING, {"shards": [], "now": ""}), "rings": each})
        parts: list[Markup] = []
        for name, ring in self._rings.items():
            path = f"{self._root}/ring?{urlencode({'ring': name})}"
            parts.append(pages.heading(_title(name)))
            parts += self._ring(ring.view(), path, params)
        return self._page("Rings", "/ring", params, *parts)

    async def ingester(self, call: Call) -> Answer:
        return await self._one(call, "ingester")

    async def distributor(self, call: Call) -> Answer:
        return await self._one(call, "distributor")

    async def query_scheduler(self, call: Call) -> Answer:
        return await self._one(call, "query-scheduler")

    async def querier(self, call: Call) -> Answer:
        return await self._one(call, "querier")

    async def store_gateway(self, call: Call) -> Answer:
        return await self._one(call, "store-gateway")

    async def overrides_exporter(self, call: Call) -> Answer:
        return await self._one(call, "overrides-exporter")

    async def compactor(self, call: Call) -> Answer:
        return await self._one(call, "compactor")

    async def _one(self, call: Call, name: str) -> Answer:
        path = f"/{name}/ring"
        params = read_text_form(call.query_string, await _form(call), call.header(b"content-type"))
        if call.method == "POST" or first(params, "forget"):
            return await self._forget(call, name, path, params)
        view = self._rings[name].view()
        if call.accepts(b"application/json"):
            return _json(ring_json(view, self._now_s()))
        return self._page(_title(name), path, params, *self._ring(view, self._root + path, params))

    def _ring(self, view: RingView, path: str, params: Params) -> tuple[Markup, ...]:
        return ring_markup(view, now_s=self._now_s(), forget_path=path, with_tokens=first(params, "tokens") == "true")

    def _page(self, title: str, path: str, params: Params, *parts: Markup) -> Answer:
        refreshes, tokens = first(params, "refresh") != "off", first(params, "tokens") == "true"
        where = f"{self._root}{path}?"

        def switch(label: str, *, refresh: bool, with_tokens: bool) -> Markup:
            query = urlencode({"refresh": "on" if refresh else "off", "tokens": "true" if with_tokens else "false"})
            return pages.link(where + query, label)

        line = pages.note(
            f"Loaded anew every {REFRESH_S} s (" if refreshes else "Not loaded anew by itself (",
            switch("stop" if refreshes else "start", refresh=not refreshes, with_tokens=tokens),
            "). ",
            switch("Hide tokens" if tokens else "Show tokens", refresh=refreshes, with_tokens=not tokens),
        )
        refresh_s = REFRESH_S if refreshes else 0
        return pages.page(title, line, *parts, root=self._root, wide=True, refresh_s=refresh_s)

    async def _forget(self, call: Call, name: str, path: str, params: Params) -> Answer:
        id = first(params, "forget")
        purpose = f"forget/{name}/{id}"
        if call.method == "POST":
            if not id:
                raise BadRequest("the form has no instance to forget")
            if not self._tokens.valid(purpose, first(params, FIELD)):
                where = f"{path}?{urlencode({'forget': id})}"
                return text_answer(403, f"the form's {FIELD} is missing or too old; get one with GET {where}")
            await self._rings[name].forget(id)
            return Answer(302, headers=((b"location", b"#"), _NO_STORE))
        instance = self._rings[name].view().desc.get(id)
        if instance is None:
            raise NotFound(f"there is no instance {id} in the {name} ring")
        token = self._tokens.issue(purpose)
        if call.accepts(b"application/json"):
            return _json({"ring": name, "forget": id, FIELD: token})
        return self._ask(instance, name, path, token)

    def _ask(self, instance: InstanceDesc, name: str, path: str, token: str) -> Answer:
        view, now_s = self._rings[name].view(), self._now_s()
        state = state_of(instance, view, now_s)
        beat = ago(now_s - instance.timestamp_s)
        parts = [
            pages.paragraph(
                pages.strong(instance.id),
                f" ({instance.addr}) is {state}; its last heartbeat was {beat}.",
            ),
            pages.text(_consequence(name)),
        ]
        if instance.heartbeat_ok(view.settings.heartbeat_timeout_s, now_s):
            parts.append(pages.text("It seems to be alive: then it comes back with its next heartbeat."))
        fields = [("ring", name), ("forget", instance.id), (FIELD, token)]
        action = self._root + path
        parts.append(pages.form(action, fields, button=f"Forget {instance.id}", cancel=action))
        return pages.page(f"Forget {instance.id}?", *parts, root=self._root)

    def _now_s(self) -> int:
        return self._clock.now_ms() // 1000


async def _form(call: Call) -> bytes:
    return await call.body(FORM_BYTES_MAX) if call.method == "POST" else b""


def _json(document: object) -> Answer:
    return Answer(200, msgspec.json.encode(document), JSON_TYPE, (_NO_STORE,))


def _title(name: str) -> str:
    return f"Ring of {name.replace('-', ' ')}s"


def _consequence(name: str) -> str:
    if name == MAIN_RING:
        return (
            "Its tokens go to the other ingesters at once. What only it holds is not found by queries until it is back."
        )
    return "The others share its work at once."
