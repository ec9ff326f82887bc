"""/memberlist: who gossips, what is kept, which messages went by (ring-and-gossip.md section 16)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pprint import pformat
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from mimir_rw.api import pages
from mimir_rw.api.errors import text_answer
from mimir_rw.api.exchange import JSON_TYPE, Answer, Call
from mimir_rw.api.form import read_text_form
from mimir_rw.api.pages import Markup
from mimir_rw.api.params import Params, first
from mimir_rw.model.errors import BadRequest, NotFound

REFRESH_S = 10
_STATES = ("alive", "suspect", "dead", "left")
_NO_STORE = (b"cache-control", b"no-store")
_FORMATS = ("json", "json-pretty", "struct")


class Shown(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def encoded(self) -> bytes: ...
    @property
    def shown(self) -> Any: ...


class Gossip(Protocol):
    """What `kv.memberlist.service.MemberlistService` is to its page."""

    async def snapshot(self) -> dict[str, Any]: ...

    async def value(self, key: str) -> Shown | None: ...

    async def message(self, id: int) -> Shown | None: ...

    async def delete_messages(self) -> None: ...


class MemberlistPages:
    def __init__(self, *, gossip: Gossip | None, secret_keys: Collection[str], root: str) -> None:
        """gossip: None where rings are kept elsewhere. secret_keys: those whose bytes are not given away."""
        self._gossip = gossip
        self._secret_keys = frozenset(secret_keys)
        self._path = f"{root}/memberlist"
        self._root = root

    async def memberlist(self, call: Call) -> Answer:
        if self._gossip is None:
            return text_answer(200, "This instance doesn't use memberlist.")
        params = read_text_form(call.query_string)
        actions: tuple[tuple[str, Callable[[Gossip, Params], Awaitable[Answer]]], ...] = (
            ("viewKey", self._view_key),
            ("downloadKey", self._download_key),
            ("viewMsg", self._view_message),
            ("deleteMessages", self._delete_messages),
        )
        for name, action in actions:
            if first(params, name):
                return await action(self._gossip, params)
        data = await self._gossip.snapshot()
        if call.accepts(b"application/json"):
            return Answer(200, msgspec.json.encode(data), JSON_TYPE, (_NO_STORE,))
        return self._page(data, refreshes=first(params, "refresh") != "off")

    async def _view_key(self, gossip: Gossip, params: Params) -> Answer:
        found = await gossip.value(first(params, "viewKey"))
        if found is None:
            raise NotFound("value not found")
        return text_answer(200, _formatted(found.shown, first(params, "format")), (_NO_STORE,))

    async def _download_key(self, gossip: Gossip, params: Params) -> Answer:
        key = first(params, "downloadKey")
        if key in self._secret_keys:
            return text_answer(403, f"{key} is a secret of the cluster")
        found = await gossip.value(key)
        if found is None:
            raise NotFound("value not found")
        name = quote(f"{found.version}-{found.key}", safe="")
        disposition = f"attachment; filename*=UTF-8''{name}".encode()
        headers = ((b"content-disposition", disposition), (b"x-content-type-options", b"nosniff"), _NO_STORE)
        return Answer(200, found.encoded, b"application/octet-stream", headers)

    async def _view_message(self, gossip: Gossip, params: Params) -> Answer:
        text = first(params, "viewMsg")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise BadRequest("viewMsg is not the number of a message")
        found = await gossip.message(int(text))
        if found is None:
            raise NotFound("message not found")
        return text_answer(200, _formatted(found.shown, first(params, "format")), (_NO_STORE,))

    async def _delete_messages(self, gossip: Gossip, params: Params) -> Answer:
        """Only what is kept for this page goes."""
        if first(params, "deleteMessages") == "true":
            await gossip.delete_messages()
        return Answer(302, headers=((b"location", self._path.encode()), _NO_STORE))

    def _page(self, data: Mapping[str, Any], *, refreshes: bool) -> Answer:
        switch = pages.link(f"{self._path}?refresh={'off' if refreshes else 'on'}", "stop" if refreshes else "start")
        loaded = f"Loaded anew every {REFRESH_S} s (" if refreshes else "Not loaded anew by itself ("
        local = data["Memberlist"]
        facts = pages.paragraph(
            "Member ",
            pages.strong(local["LocalNode"]),
            f" of cluster {local['ClusterLabel'] or 'without a label'}; {local['NumMembers']} members, health score ",
            pages.badge(str(local["HealthScore"]), good=local["HealthScore"] == 0),
            " (0 is healthy). Routing by zone is " + ("on." if data["ZoneAwareRouting"]["Enabled"] else "off."),
        )
        parts = (
            pages.note(loaded, switch, ")."),
            facts,
            pages.heading("Members"),
            _members(data["SortedMembers"], local["LocalNode"]),
            pages.heading(f"Keys, {data['TotalStoreSize']:,} bytes"),
            self._keys(data),
            *self._history(data),
        )
        return pages.page("Memberlist", *parts, root=self._root, wide=True, refresh_s=REFRESH_S if refreshes else 0)

    def _keys(self, data: Mapping[str, Any]) -> Markup:
        rows = [
            (
                pages.strong(key),
                stored["CodecID"],
                stored["Version"],
                pages.badge("deleted", good=None) if stored["Deleted"] else "no",
                stored["UpdateTime"] or "never",
                data["StoreSizes"].get(key, 0),
                self._views("viewKey", key, download=key not in self._secret_keys),
            )
            for key, stored in data["Store"].items()
        ]
        columns = ("Key", "Codec", "Version", "Deleted", "Deletion changed", "Bytes", "")
        return pages.table(columns, rows, empty="Nothing is kept yet.", stacked=True)

    def _views(self, parameter: str, name: str, *, download: bool) -> Markup:
        links = [
            pages.link(f"{self._path}?{urlencode({parameter: name, 'format': format})}", format) for format in _FORMATS
        ]
        if download:
            links.append(pages.link(f"{self._path}?{urlencode({'downloadKey': name})}", "download"))
        return Markup(" · ".join(links))

    def _history(self, data: Mapping[str, Any]) -> list[Markup]:
        if not data["MessageHistoryBufferBytes"]:
            hint = "Messages are not kept; -memberlist.message-history-buffer-bytes keeps the last ones."
            return [pages.heading("Messages"), pages.note(hint)]
        clear = pages.link(f"{self._path}?deleteMessages=true", "Drop them")
        return [
            pages.heading("Received messages"),
            self._messages(data["ReceivedMessages"]),
            pages.heading("Sent messages"),
            self._messages(data["SentMessages"]),
            pages.note(clear),
        ]

    def _messages(self, messages: Sequence[Mapping[str, Any]]) -> Markup:
        rows = [
            (
                message["ID"],
                message["Time"],
                message["Pair"]["Key"],
                message["Size"],
                message["Version"],
                ", ".join(message["Changes"]) or "nothing new",
                self._views("viewMsg", str(message["ID"]), download=False),
            )
            for message in messages
        ]
        columns = ("Number", "Time", "Key", "Bytes", "Version after it", "Changes", "")
        return pages.table(columns, rows, empty="None yet.", stacked=True)


def _members(members: Sequence[Mapping[str, Any]], local: str) -> Markup:
    rows = []
    for member in members:
        state = member["State"]
        name = pages.strong(member["Name"])
        if member["Name"] == local:
            name = Markup(f"{name} (this process)")
        text = _STATES[state] if state < len(_STATES) else str(state)
        good = {"alive": True, "dead": False}.get(text)
        address = f"{member['Addr']}:{member['Port']}"
        rows.append((name, address, pages.badge(text, good=good), member["Incarnation"], readable_meta(member["Meta"])))
    return pages.table(("Name", "Address", "State", "Incarnation", "Meta"), rows, empty="None.", stacked=True)


def readable_meta(meta: str) -> str:
    """What a member tells of itself: as text where it is text, else the hexadecimal digits that it comes in."""
    try:
        text = bytes.fromhex(meta).decode()
    except ValueError:
        return meta
    return (text if text.isprintable() else meta) or "none"


def _formatted(value: Any, format: str) -> str:
    if format == "struct":
        return pformat(value, width=120, sort_dicts=False)
    data = msgspec.json.encode(value)
    return (msgspec.json.format(data, indent=4) if format == "json-pretty" else data).decode()
