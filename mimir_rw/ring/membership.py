"""An instance's own entry in a ring, step by step (ring-and-gossip.md section 9). Pure.

    absent ──register──► PENDING ──join──► JOINING ──settle──► ACTIVE ──► LEAVING ──leave──► absent
             │                               └── tokens lost: drawn anew, JOINING again
             └── tokens known from before ──► ACTIVE

A step is given the ring and the entry as the instance last wrote it, and returns the entry to be and the ring with it
(None: nothing to write). A step may be carried out several times before its outcome is stored, so it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from mimir_rw.ring.desc import NO_VERSIONS, InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.tokens import TokenGenerator

S = InstanceState
ALLOWED = frozenset(
    {
        (S.PENDING, S.JOINING), (S.JOINING, S.PENDING), (S.JOINING, S.ACTIVE), (S.PENDING, S.ACTIVE),
        (S.LEAVING, S.ACTIVE), (S.PENDING, S.LEAVING), (S.ACTIVE, S.LEAVING), (S.JOINING, S.LEAVING),
    }
)  # fmt: skip
"""Changes of state of an ingester."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an instance is, whatever state it is in."""

    id: str
    addr: str
    zone: str = ""
    versions: Mapping[int, int] = field(default_factory=lambda: NO_VERSIONS, hash=False)
    tokens_count: int = 128


Outcome = tuple[InstanceDesc, "RingDesc | None"]
Step = Callable[[RingDesc, InstanceDesc, int], Outcome]
"""(ring, own entry, now in seconds) → own entry, ring to store."""


def nobody(me: Identity) -> InstanceDesc:
    """The entry before it is registered."""
    return InstanceDesc(id=me.id, addr=me.addr, zone=me.zone, versions=me.versions, state=S.PENDING)


def register(me: Identity, generator: TokenGenerator, from_file: tuple[int, ...]) -> Step:
    """An ingester comes. from_file: its tokens of an earlier life, which count only when it has no entry."""

    def step(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
        entry = ring.get(me.id)
        if entry is None:
            whole = len(from_file) >= me.tokens_count
            state = S.ACTIVE if from_file and whole else S.PENDING
            return _stored(ring, replace(nobody(me), state=state, tokens=from_file, registered_s=now_s), now_s)
        entry = _as(entry, me)
        if entry.state is S.JOINING:
            entry = replace(entry, state=S.PENDING)
        elif entry.state is S.LEAVING:
            entry = replace(entry, state=S.ACTIVE, tokens=_as_many(me, generator, ring, entry.tokens))
        return _stored(ring, entry, now_s)

    return step


def register_in(me: Identity, generator: TokenGenerator, from_file: tuple[int, ...], state: InstanceState) -> Step:
    """A member that keeps no data comes, in a state of its choice, with all its tokens."""

    def step(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
        entry = ring.get(me.id)
        known = replace(nobody(me), tokens=from_file, registered_s=now_s) if entry is None else _as(entry, me)
        tokens = _as_many(me, generator, ring, known.tokens)
        return _stored(ring, replace(known, state=state, tokens=tokens), now_s)

    return step


def join(me: Identity, generator: TokenGenerator, state: InstanceState) -> Step:
    """Take the tokens that are missing and go to `state`: JOINING when they are to be observed, else ACTIVE."""

    def step(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
        held = ring[me.id].tokens if me.id in ring else own.tokens
        tokens = _as_many(me, generator, ring, held)
        return _stored(ring, replace(own, state=state, tokens=tokens), now_s)

    return step


def settle(me: Identity, generator: TokenGenerator) -> Step:
    """After observing: ACTIVE when the tokens survived, else JOINING with new ones for those that were lost."""

    def step(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
        held = ring[me.id].tokens if me.id in ring else ()
        if len(held) >= me.tokens_count:
            return _stored(ring, replace(own, state=S.ACTIVE, tokens=held), now_s)
        return _stored(ring, replace(own, tokens=_as_many(me, generator, ring, held)), now_s)

    return step


def heartbeat(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
    """Say that the instance lives; an entry that vanished comes back. Tokens lost to another instance stay lost."""
    entry = ring.get(own.id)
    return _stored(ring, own if entry is None else replace(own, tokens=entry.tokens), now_s)


def heartbeat_forgetting(forget_after_s: int) -> Step:
    """A heartbeat that also drops the instances without one for longer than forget_after_s."""

    def step(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
        gone = [i.id for i in ring.values() if i.id != own.id and now_s - i.timestamp_s > forget_after_s]
        return heartbeat(ring.without(gone) if gone else ring, own, now_s)

    return step


def change_state(state: InstanceState) -> Step:
    def step(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
        if own.state is state:
            return own, None
        entry = ring.get(own.id, own)
        return _stored(ring, replace(own, state=state, tokens=entry.tokens), now_s)

    return step


def set_read_only(read_only: bool) -> Step:
    def step(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
        if own.read_only == read_only:
            return own, None
        entry = ring.get(own.id, own)
        changed = replace(own, tokens=entry.tokens, read_only=read_only, read_only_updated_s=now_s)
        return _stored(ring, changed, now_s)

    return step


def read_only_too(step: Step) -> Step:
    """A step after which the instance takes no writes: it is not shown for a moment as one that does."""

    def both(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
        entry, stored = step(ring, own, now_s)
        if stored is None or entry.read_only:
            return entry, stored
        entry = replace(entry, read_only=True, read_only_updated_s=now_s)
        return entry, stored.with_instance(entry)

    return both


def leave(ring: RingDesc, own: InstanceDesc, now_s: int) -> Outcome:
    return own, ring.without([own.id]) if own.id in ring else None


def problem(ring: RingDesc, own_id: str, heartbeat_timeout_s: int, now_s: int) -> str | None:
    """What is wrong with another instance: the first one that is not ACTIVE with tokens and heartbeats, or None."""
    for other in ring.values():
        if other.id == own_id:
            continue
        if not other.heartbeat_ok(heartbeat_timeout_s, now_s):
            return f"instance {other.id} past heartbeat timeout"
        if other.state is not S.ACTIVE:
            return f"instance {other.id} in state {other.state.name}"
        if not other.tokens:
            return f"instance {other.id} owns no tokens"
    return None


def _as(entry: InstanceDesc, me: Identity) -> InstanceDesc:
    return replace(entry, id=me.id, addr=me.addr, zone=me.zone, versions=me.versions)


def _as_many(me: Identity, generator: TokenGenerator, ring: RingDesc, held: tuple[int, ...]) -> tuple[int, ...]:
    """As many tokens as the instance is to have: `held` topped up, or cut down evenly."""
    surplus = len(held) - me.tokens_count
    if surplus > 0:
        keep = {n * len(held) // me.tokens_count for n in range(me.tokens_count)}
        return tuple(token for n, token in enumerate(held) if n in keep)
    if surplus == 0:
        return held
    taken = {token for other in ring.values() for token in other.tokens if other.id != me.id} | set(held)
    return tuple(sorted((*held, *generator.generate(-surplus, taken))))


def _stored(ring: RingDesc, entry: InstanceDesc, now_s: int) -> Outcome:
    """With a heartbeat that is newer than any before: entries merge by it, and it has whole seconds."""
    before = ring.get(entry.id)
    stamped = replace(entry, timestamp_s=max(now_s, before.timestamp_s + 1) if before is not None else now_s)
    return stamped, ring.with_instance(stamped)
