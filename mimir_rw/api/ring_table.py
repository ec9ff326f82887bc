"""What the ring pages show of a ring: markup for people, dskit's JSON for tools. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from mimir_rw.api import pages
from mimir_rw.api.pages import Markup
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, InstanceState
from mimir_rw.ring.instant import rfc3339
from mimir_rw.ring.view import RingView

UNHEALTHY = "UNHEALTHY"
FOREIGN = "foreign"
_NEVER = "0001-01-01T00:00:00Z"
_COLUMNS = ("Instance", "Zone", "State", "Address", "Heartbeat", "Registered", "Tokens", "Ownership", "Version", "")


def state_of(instance: InstanceDesc, view: RingView, now_s: int) -> str:
    alive = instance.heartbeat_ok(view.settings.heartbeat_timeout_s, now_s)
    return instance.state.name if alive else UNHEALTHY


def ring_json(view: RingView, now_s: int) -> dict[str, Any]:
    return {"shards": [_shard(instance, view, now_s) for instance in view.desc.values()], "now": rfc3339(now_s)}


def ring_markup(view: RingView, *, now_s: int, forget_path: str, with_tokens: bool) -> tuple[Markup, ...]:
    """The zones, the members and, where wanted, their tokens. forget_path: what the ids to forget are added to."""
    members = sorted(view.desc.values(), key=lambda member: (member.zone, member.id))
    ownership = view.ownership()
    rows = [_row(member, view, ownership, now_s, forget_path) for member in members]
    parts = [*_summary(members, view, now_s), pages.table(_COLUMNS, rows, empty="Nobody is in it.", stacked=True)]
    if with_tokens:
        parts += [_tokens(member) for member in members]
    return tuple(parts)


def ago(seconds: int) -> str:
    """An age in the largest unit that says it well."""
    if seconds < 0:
        return f"{-seconds} s ahead"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _shard(instance: InstanceDesc, view: RingView, now_s: int) -> dict[str, Any]:
    shard: dict[str, Any] = {
        "id": instance.id,
        "state": state_of(instance, view, now_s),
        "address": instance.addr,
        "timestamp": rfc3339(instance.timestamp_s),
        "registered_timestamp": _when(instance.registered_s),
        "read_only": instance.read_only,
        "read_only_updated_timestamp": _when(instance.read_only_updated_s),
        "zone": instance.zone,
        "tokens": list(instance.tokens),
    }
    if instance.versions:
        shard["versions"] = {str(key): version for key, version in sorted(instance.versions.items())}
    return shard


def _when(seconds: int) -> str:
    return rfc3339(seconds) if seconds else _NEVER


def _summary(members: Sequence[InstanceDesc], view: RingView, now_s: int) -> tuple[Markup, ...]:
    """How many are in which state, zone by zone where there are any."""
    zones = sorted({member.zone for member in members})
    parts: list[str] = []
    for zone in zones:
        states = Counter(_kind(member, view, now_s) for member in members if member.zone == zone)
        label = f"{zone or 'no zone'}: " if any(zones) else ""
        parts += [label, *_counted(states.items()), Markup("<br>")]
    return (pages.paragraph(*parts[:-1]),) if parts else ()


def _kind(member: InstanceDesc, view: RingView, now_s: int) -> str:
    return FOREIGN if member.foreign else state_of(member, view, now_s)


def _counted(states: Iterable[tuple[str, int]]) -> Iterable[str]:
    for position, (state, count) in enumerate(sorted(states)):
        yield from (", " if position else "", f"{count} ", _state_badge(state))


def _state_badge(state: str) -> Markup:
    good = True if state == InstanceState.ACTIVE.name else False if state in (UNHEALTHY, FOREIGN) else None
    return pages.badge(state, good=good)


def _row(
    member: InstanceDesc, view: RingView, ownership: dict[str, float], now_s: int, forget_path: str
) -> tuple[str | int | float, ...]:
    state = _state_badge(state_of(member, view, now_s))
    if member.read_only:
        state = Markup(f"{state} {pages.badge('(read-only)', good=None)}")
    version = pages.badge(FOREIGN, good=False)
    if not member.foreign:
        version = Markup(f"RPC {member.versions[RPC_VERSION_KEY]}")
    separator = "&" if "?" in forget_path else "?"
    return (
        pages.strong(member.id),
        member.zone or "none",
        state,
        member.addr,
        ago(now_s - member.timestamp_s),
        ago(now_s - member.registered_s) if member.registered_s else "unknown",
        len(member.tokens),
        f"{100 * ownership[member.id]:.1f} %" if member.tokens and member.id in ownership else "none",
        version,
        pages.link(f"{forget_path}{separator}{urlencode({'forget': member.id})}", "Forget"),
    )


def _tokens(member: InstanceDesc) -> Markup:
    listed = " ".join(map(str, member.tokens))
    return pages.details(f"{len(member.tokens)} tokens of {member.id}", pages.preformatted(listed))
