"""Who is in the cluster: the membership rules of the memberlist protocol (ring-and-gossip.md 15), without I/O or clock.

    unknown ──alive──► ALIVE ──suspect──► SUSPECT ──timer──► DEAD ──gossip-to-dead──► forgotten
                         ▲ └──────────dead(from itself)──────────► LEFT ──────────────────┘
                         └──────────── alive, with a higher incarnation ── SUSPECT, DEAD, LEFT

`now` is seconds that never go back. Each call gives effects for the shell to carry out, in order. `next_due` says
when `tick` must be called next; with nothing to gossip that is the next probe or push/pull, so a cluster at rest costs
nothing between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mimir_rw.kit.rng import Rng
from mimir_rw.kv.memberlist.broadcasts import BroadcastQueue
from mimir_rw.kv.memberlist.messages import (
    PROTOCOL_VERSIONS,
    Ack,
    Alive,
    Dead,
    Endpoint,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    RemoteNode,
    Suspect,
    User,
    encode,
)
from mimir_rw.kv.memberlist.prober import Prober, Relay
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.suspicion import Suspicion

_PUSH_PULL_SCALE_NODES = 32
_CRC_PROTOCOL = 5
_NACK_PROTOCOL = 4
_U32_MAX = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    endpoint: Endpoint
    meta: bytes
    versions: bytes
    incarnation: int
    state: NodeState
    changed_at: float

    @property
    def gone(self) -> bool:
        return self.state in (NodeState.DEAD, NodeState.LEFT)


@dataclass(frozen=True, slots=True)
class SendPacket:
    """Messages, encoded, for one packet; crc: the receiver is known to take one."""

    to: Endpoint
    messages: tuple[bytes, ...]
    crc: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeState:
    """Push our whole state to a node and pull its own."""

    to: Endpoint
    node: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """A user message for the store."""

    body: bytes


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """before: None for a node that is new. reason: for the log."""

    before: Member | None
    after: Member
    reason: str


@dataclass(frozen=True, slots=True)
class NameTaken:
    """Another process says that it is the member whose name this is; it is not listened to."""

    name: str
    known: Endpoint
    other: Endpoint


Effect = SendPacket | ExchangeState | Deliver | MemberChanged | NameTaken


class ProtocolMismatch(Exception):
    """A node's protocol versions and the cluster's do not go together; its state is not taken."""


class Membership:
    """One node's view of the cluster. `local` and `forwarded` are the store's messages: own changes go first."""

    def __init__(self, *, name: str, endpoint: Endpoint, settings: MemberlistSettings, rng: Rng) -> None:
        self.name = name
        self._endpoint = endpoint
        self._settings = settings
        self._rng = rng
        self.members: dict[str, Member] = {}
        self._suspicions: dict[str, Suspicion] = {}
        self._incarnation = 0
        self.health_score = 0
        self.leaving = False
        self._changes = BroadcastQueue(factor=settings.retransmit_factor, entries_max=settings.broadcasts_max)
        self.local = BroadcastQueue(factor=settings.retransmit_factor, entries_max=settings.broadcasts_max)
        self.forwarded = BroadcastQueue(factor=settings.retransmit_factor, entries_max=settings.broadcasts_max)
        self._prober = Prober(settings, rng)
        self._gossip_after = 0.0
        self._push_pull_at = math.inf
        self._sweep_at = math.inf
        self.name_conflicts = 0
        self.refused_nodes = 0
        """Nodes not taken for want of room."""

    def start(self, now: float) -> list[Effect]:
        """Be alive, alone."""
        self._incarnation = 1
        me = Member(self.name, self._endpoint, self._settings.meta, PROTOCOL_VERSIONS, 1, NodeState.ALIVE, now)
        self.members[self.name] = me
        self._announce(me)
        spread = self._rng.random()
        if self._settings.push_pull_interval_s > 0:
            self._push_pull_at = now + self._settings.push_pull_interval_s * (1 + spread)
        self._prober.start(now + self._settings.probe_interval_s * spread)
        self._sweep_at = now + self._settings.gossip_to_dead_s
        return [MemberChanged(None, me, "it is this process")]

    # What others may know.

    def count(self) -> int:
        """Members that are alive or suspect, this one included. From any thread."""
        return sum(not member.gone for member in tuple(self.members.values()))

    def nodes(self) -> tuple[RemoteNode, ...]:
        """For a push/pull."""
        return tuple(
            RemoteNode(m.name, m.endpoint, m.meta, m.incarnation, m.state, m.versions)
            for _, m in sorted(self.members.items())
        )

    def leave_is_told(self) -> bool:
        """Whether the news of our leaving have been sent as often as they are to be, or nobody is there to hear."""
        return not self._changes.holds(self.name) or not self._anyone_hears()

    def local_is_told(self) -> bool:
        """Likewise of the store's own changes."""
        return not self.local or not self._anyone_hears()

    def _anyone_hears(self) -> bool:
        return any(not member.gone for member in self._others())

    # Time.

    def next_due(self) -> float:
        due = min(self._prober.next_due(), self._push_pull_at, self._sweep_at)
        if self._suspicions:
            due = min(due, *(suspicion.due for suspicion in self._suspicions.values()))
        if self._changes or self.local or self.forwarded:
            due = min(due, self._gossip_after)
        return due

    def tick(self, now: float) -> list[Effect]:
        """All that is due by `now`."""
        effects: list[Effect] = []
        for name in sorted(name for name, suspicion in self._suspicions.items() if suspicion.due <= now):
            member = self.members[name]
            effects += self._dead(Dead(member.incarnation, name, self.name), now, "suspicion timed out")
        if not self.leaving:
            effects += self._probe(now)
            if self._push_pull_at <= now:
                effects += self._exchange(now)
        if self._sweep_at <= now:
            self._sweep(now)
        if self._gossip_after <= now and (self._changes or self.local or self.forwarded):
            effects += self._gossip(now)
        return effects

    def _exchange(self, now: float) -> list[Effect]:
        alive = sum(member.state is NodeState.ALIVE for member in self.members.values())
        scale = 1
        if alive > _PUSH_PULL_SCALE_NODES:
            scale = math.ceil(math.log2(alive) - math.log2(_PUSH_PULL_SCALE_NODES)) + 1
        self._push_pull_at = now + self._settings.push_pull_interval_s * scale
        chosen = self._some(1, [m for m in self._others() if m.state is NodeState.ALIVE])
        return [ExchangeState(member.endpoint, member.name) for member in chosen]

    def _gossip(self, now: float) -> list[Effect]:
        self._gossip_after = now + self._settings.gossip_interval_s
        effects: list[Effect] = []
        for member in self._some(self._settings.gossip_nodes, self._others(self._hears_gossip(now))):
            messages = self._piggyback(0)
            if not messages:
                break
            effects.append(SendPacket(member.endpoint, tuple(messages), crc=member.versions[1] >= _CRC_PROTOCOL))
        return effects

    def _piggyback(self, used: int) -> list[bytes]:
        """What waits to be gossiped and fits beside `used` bytes into a packet."""
        room = self._settings.packet_bytes_max - used
        messages: list[bytes] = []
        for queue in (self._changes, self.local, self.forwarded):
            taken = queue.take(bytes_max=room, nodes=len(self.members))
            room -= sum(len(message) + 2 for message in taken)
            messages += taken
        return messages

    def _hears_gossip(self, now: float) -> list[Member]:
        horizon = now - self._settings.gossip_to_dead_s
        return [
            m for m in self.members.values() if not m.gone or (m.state is NodeState.DEAD and m.changed_at > horizon)
        ]

    def _others(self, members: Iterable[Member] | None = None) -> list[Member]:
        return [m for m in (self.members.values() if members is None else members) if m.name != self.name]

    def _some(self, count: int, among: Sequence[Member]) -> list[Member]:
        """`count` different ones by chance, fewer if there are fewer."""
        pool = sorted(among, key=lambda member: member.name)
        chosen: list[Member] = []
        while pool and len(chosen) < count:
            chosen.append(pool.pop(self._rng.randrange(len(pool))))
        return chosen

    def _sweep(self, now: float) -> None:
        """Forget nodes that have been gone for long."""
        horizon = now - self._settings.gossip_to_dead_s
        for name in [n for n, m in self.members.items() if m.gone and m.changed_at <= horizon and n != self.name]:
            del self.members[name]
        self._sweep_at = now + self._settings.gossip_to_dead_s

    # Probing.

    def _probe(self, now: float) -> list[Effect]:
        late = self._prober.relays_due(now)
        effects: list[Effect] = [self._packet(relay.answer_to, Nack(relay.seq)) for relay in late if relay.nack]
        probe = self._prober.current
        if probe is not None and not probe.asked_others and probe.indirect_at <= now:
            effects += self._ask_others(now)
        if probe is not None and probe.ends_at <= now:
            self._score(self._prober.give_up())
            member = self.members.get(probe.node)
            if member is not None:
                accusation = Suspect(member.incarnation, member.name, self.name)
                effects += self._suspect(accusation, now, "it did not answer")
        if self._prober.current is None and self._prober.next_at <= now:
            effects += self._probe_next(now)
        return effects

    def _probe_next(self, now: float) -> list[Effect]:
        name = self._prober.next_node([m.name for m in self._others() if not m.gone])
        member = self.members[name] if name is not None else None
        seq = self._prober.begin(member.name if member is not None else None, now, self.health_score + 1)
        if member is None:
            return []
        ping = Ping(seq, member.name, self._endpoint, self.name)
        messages = [encode(ping)]
        if member.state is NodeState.SUSPECT:
            # It hears of the suspicion with the ping, so that it can refute it with the answer.
            messages.append(encode(Suspect(member.incarnation, member.name, self.name)))
        return [self._with_gossip(member.endpoint, messages)]

    def _ask_others(self, now: float) -> list[Effect]:
        probe = self._prober.current
        assert probe is not None
        target = self.members.get(probe.node)
        among = [m for m in self._others() if m.state is NodeState.ALIVE and m.name != probe.node]
        asked = self._some(self._settings.indirect_checks, among) if target is not None else []
        nackers = [m for m in asked if m.versions[1] >= _NACK_PROTOCOL]
        self._prober.others_asked(len(nackers))
        effects: list[Effect] = []
        for member in asked:
            assert target is not None
            request = IndirectPing(
                probe.seq, target.endpoint, target.name, member in nackers, self._endpoint, self.name
            )
            effects.append(self._packet(member.endpoint, request))
        return effects

    def _score(self, delta: int) -> None:
        self.health_score = max(0, min(self._settings.awareness_max - 1, self.health_score + delta))

    def _packet(self, to: Endpoint, message: Message) -> SendPacket:
        return self._with_gossip(to, [encode(message)])

    def _with_gossip(self, to: Endpoint, messages: list[bytes]) -> SendPacket:
        return SendPacket(to, (*messages, *self._piggyback(sum(map(len, messages)))))

    # What arrives.

    def receive(self, message: Message, sender: Endpoint | None, now: float) -> list[Effect]:
        """sender: where the packet came from, if it said so."""
        match message:
            case User(body):
                return [Deliver(body)]
            case Ping():
                to = message.source or sender
                if message.node not in ("", self.name) or to is None:
                    return []
                return [self._packet(to, Ack(message.seq))]
            case IndirectPing():
                return self._relay(message, message.source or sender, now)
            case Ack(seq):
                relay = self._prober.acked(seq, now)
                if isinstance(relay, Relay):
                    return [self._packet(relay.answer_to, Ack(relay.seq))]
                self._score(-1 if relay else 0)
                return []
            case Nack(seq):
                self._prober.nacked(seq)
                return []
            case Suspect():
                return self._suspect(message, now, f"{message.origin} suspects it")
            case Dead():
                return self._dead(message, now, f"{message.origin} says so")
            case Alive():
                return self._alive(message, now)

    def _relay(self, request: IndirectPing, answer_to: Endpoint | None, now: float) -> list[Effect]:
        if answer_to is None:
            return []
        seq = self._prober.relay(request.seq, answer_to, request.nack, now)
        if seq is None:
            return []
        return [self._packet(request.target, Ping(seq, request.node, self._endpoint, self.name))]

    def merge(self, nodes: Sequence[RemoteNode], now: float) -> list[Effect]:
        """Take over what another node knows. Raises ProtocolMismatch, and then takes nothing."""
        self._check_versions(nodes)
        effects: list[Effect] = []
        for node in nodes:
            match node.state:
                case NodeState.ALIVE:
                    alive = Alive(node.incarnation, node.name, node.endpoint, node.meta, node.versions)
                    effects += self._alive(alive, now)
                case NodeState.LEFT:
                    effects += self._dead(Dead(node.incarnation, node.name, node.name), now, "it left")
                case NodeState.DEAD | NodeState.SUSPECT:
                    # Not dead at once: it gets the chance to refute.
                    accusation = Suspect(node.incarnation, node.name, self.name)
                    effects += self._suspect(accusation, now, "another member suspects it")
        return effects

    def _check_versions(self, nodes: Sequence[RemoteNode]) -> None:
        spoken = [m.versions for m in self.members.values() if m.state is NodeState.ALIVE]
        spoken += [node.versions for node in nodes if node.state is NodeState.ALIVE and any(node.versions)]
        for first, what in ((0, "protocol"), (3, "delegate")):
            least = max((versions[first] for versions in spoken), default=0)
            most = min((versions[first + 1] for versions in spoken), default=0)
            for versions in spoken:
                if not least <= versions[first + 2] <= most:
                    raise ProtocolMismatch(
                        f"a node speaks {what} version {versions[first + 2]}, the cluster {least} to {most}"
                    )

    # The rules.

    def _alive(self, alive: Alive, now: float) -> list[Effect]:
        known = self.members.get(alive.node)
        mine = alive.node == self.name
        if mine and self.leaving:
            return []
        if known is None:
            return self._add(alive, now)
        moved = alive.endpoint != known.endpoint
        if moved and not self._may_move(known, now):
            self.name_conflicts += 1
            return [NameTaken(alive.node, known.endpoint, alive.endpoint)]
        if mine:
            if alive.incarnation < known.incarnation:
                return []
            same = alive.meta == known.meta and alive.versions == known.versions
            if alive.incarnation == known.incarnation and same:
                return []
            return self._refute(alive.incarnation)
        if alive.incarnation <= known.incarnation and not moved:
            return []
        self._suspicions.pop(alive.node, None)
        changed_at = known.changed_at if known.state is NodeState.ALIVE else now
        member = Member(
            alive.node, alive.endpoint, alive.meta, alive.versions, alive.incarnation, NodeState.ALIVE, changed_at
        )
        self._announce(member)
        return self._put(member, "it is back" if known.gone else "it said so")

    def _may_move(self, known: Member, now: float) -> bool:
        """Whether a name may be taken over from another address."""
        reclaim = self._settings.dead_node_reclaim_s
        long_dead = known.state is NodeState.DEAD and 0 < reclaim < now - known.changed_at
        return known.state is NodeState.LEFT or long_dead

    def _add(self, alive: Alive, now: float) -> list[Effect]:
        if len(self.members) >= self._settings.nodes_max:
            self.refused_nodes += 1
            return []
        member = Member(alive.node, alive.endpoint, alive.meta, alive.versions, alive.incarnation, NodeState.ALIVE, now)
        self._prober.add(member.name)
        self._announce(member)
        return self._put(member, "it is new")

    def _suspect(self, suspect: Suspect, now: float, reason: str) -> list[Effect]:
        known = self.members.get(suspect.node)
        if known is None or suspect.incarnation < known.incarnation:
            return []
        timer = self._suspicions.get(suspect.node)
        if timer is not None:
            if timer.confirm(suspect.origin):
                self._changes.add(encode(suspect), subject=suspect.node)
            return []
        if known.state is not NodeState.ALIVE:
            return []
        if suspect.node == self.name:
            return self._refute(suspect.incarnation)
        self._changes.add(encode(suspect), subject=suspect.node)
        self._suspicions[suspect.node] = Suspicion(
            suspect.origin, nodes=len(self.members), settings=self._settings, now=now
        )
        member = replace(known, incarnation=suspect.incarnation, state=NodeState.SUSPECT, changed_at=now)
        return self._put(member, reason)

    def _dead(self, dead: Dead, now: float, reason: str) -> list[Effect]:
        known = self.members.get(dead.node)
        if known is None or dead.incarnation < known.incarnation:
            return []
        self._suspicions.pop(dead.node, None)
        if known.gone:
            return []
        if dead.node == self.name and not self.leaving:
            return self._refute(dead.incarnation)
        self._changes.add(encode(dead), subject=dead.node)
        state = NodeState.LEFT if dead.origin == dead.node else NodeState.DEAD
        member = replace(known, incarnation=dead.incarnation, state=state, changed_at=now)
        return self._put(member, reason)

    def _refute(self, accused: int) -> list[Effect]:
        self._score(1)
        self._incarnation = min(max(self._incarnation, accused) + 1, _U32_MAX)
        me = replace(self.members[self.name], incarnation=self._incarnation)
        self._announce(me)
        return self._put(me, "this process is well")

    def leave(self, now: float) -> list[Effect]:
        """Tell the others that we go. Nothing is probed any more; what waits is still gossiped."""
        self.leaving = True
        self._prober.stop()
        self._push_pull_at = math.inf
        return self._dead(Dead(self.members[self.name].incarnation, self.name, self.name), now, "it leaves")

    def _announce(self, member: Member) -> None:
        alive = Alive(member.incarnation, member.name, member.endpoint, member.meta, member.versions)
        self._changes.add(encode(alive), subject=member.name)

    def _put(self, member: Member, reason: str) -> list[Effect]:
        before = self.members.get(member.name)
        self.members[member.name] = member
        if before is not None and before.state is member.state and before.endpoint == member.endpoint:
            return []
        return [MemberChanged(before, member, reason)]
