"""One member of the cluster at work: carries out what core and store decide, on one event loop.

Nothing here waits but for the network. The timer sleeps until the core's next deadline, so a quiet cluster costs only
its probes and exchanges of state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.kv.memberlist.addresses import endpoint_text, parse_endpoint, resolve
from mimir_rw.kv.memberlist.core import (
    Deliver,
    Effect,
    ExchangeState,
    MemberChanged,
    Membership,
    NameTaken,
    ProtocolMismatch,
    SendPacket,
)
from mimir_rw.kv.memberlist.history import MessageHistory, Passed
from mimir_rw.kv.memberlist.messages import (
    Ack,
    Endpoint,
    ErrorReply,
    NodeState,
    Ping,
    PushPull,
    User,
    WireError,
    decode,
    encode,
)
from mimir_rw.kv.memberlist.pairs import decode_pair
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.store import Attempt, Broadcast, Store
from mimir_rw.kv.memberlist.transport import TlsContexts, Transport
from mimir_rw.kv.memberlist.wire import Frame, StreamMessage, StreamResult, check_label, compound, seal, unseal

_log = get_logger(component="memberlist")
_STATE_WORDS = {
    NodeState.ALIVE: "alive", NodeState.SUSPECT: "suspect", NodeState.DEAD: "dead", NodeState.LEFT: "left",
}  # fmt: skip
_SENDS_MAX = 256
_LEAVE_POLL_S = 0.05


class Exchanged:
    """Counts of pushes and pulls, and of messages that arrived."""

    __slots__ = ("message_bytes", "messages", "overflowed", "pull_bytes", "pulls", "push_bytes", "pushes")

    def __init__(self) -> None:
        self.pushes = self.push_bytes = self.pulls = self.pull_bytes = 0
        self.messages = self.message_bytes = 0
        self.overflowed = 0
        """Packets not sent because too many were under way."""


class GossipNode:
    """Use it on one loop only, but for the store's reading calls.

    on_changed: called with a key whenever its value here has changed."""

    def __init__(
        self,
        *,
        settings: MemberlistSettings,
        name: str,
        endpoint: Endpoint,
        store: Store,
        tls: TlsContexts | None,
        clock: Clock,
        rng: Rng,
        on_changed: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.store = store
        self.endpoint = endpoint
        self.members = Membership(name=name, endpoint=endpoint, settings=settings, rng=rng)
        self._clock = clock
        self._rng = rng
        self._on_changed = on_changed
        self.transport = Transport(
            settings=settings,
            sender=endpoint_text(endpoint),
            tls=tls,
            on_packet=self._on_packet,
            on_stream=self._on_stream,
        )
        self.sent = MessageHistory(settings.message_history_bytes)
        self.received = MessageHistory(settings.message_history_bytes)
        self._passed = 0
        self._last_conflict: NameTaken | None = None
        self.exchanged = Exchanged()
        self._tasks = TaskSupervisor()
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    # Life.

    async def start(self) -> None:
        """Listen and be a cluster of one. Raises OSError when the port cannot be had."""
        await self.transport.listen(self.settings.bind_addr, self.settings.bind_port)
        self._running = True
        self._carry_out(self.members.start(self._now()))

    async def join(self, addresses: Sequence[Endpoint], *, enough: int) -> tuple[int, str]:
        """Exchange state with `addresses` in turn until `enough` have answered; how many did, and the last failure."""
        joined, failure = 0, ""
        for address in addresses:
            if address == self.endpoint:
                continue
            try:
                await self._exchange(address, join=True)
            except (OSError, TimeoutError, WireError, ProtocolMismatch) as error:
                failure = f"{endpoint_text(address)}: {error or type(error).__name__}"
                continue
            joined += 1
            if joined >= enough:
                break
        return joined, failure

    async def resolve_seeds(self) -> list[Endpoint]:
        """Addresses of the members to join, in a random order, without our own."""
        endpoints, failures = await resolve(self.settings.join_members, self.settings.bind_port)
        for failure in failures:
            _log.info("a member to join was not found", err=failure)
        others = [endpoint for endpoint in endpoints if endpoint != self.endpoint]
        self._rng.shuffle(others)
        return others

    async def stop(self, *, leave_timeout_s: float, local_timeout_s: float) -> None:
        """Send what is still to be sent, tell the others that we go, and close."""
        if self._running:
            if not await self._until(self.members.local_is_told, local_timeout_s):
                _log.warning("not all own changes were sent before leaving", waiting=len(self.members.local))
            self._carry_out(self.members.leave(self._now()))
            if not await self._until(self.members.leave_is_told, leave_timeout_s):
                _log.warning("the others may not know that this member leaves")
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        # What was handed to the network in the last moment may still go out.
        await self._until(lambda: not len(self._tasks), self.settings.packet_write_timeout_s)
        await self._tasks.cancel()
        await self.transport.close()

    async def told(self, seconds: float) -> bool:
        """Wait until own changes have been sent as often as they are to be, or nobody is there to hear; whether they
        were."""
        return await self._until(self.members.local_is_told, seconds)

    async def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until `done` holds; whether it came to."""
        deadline = self._now() + seconds
        while not done():
            if self._now() >= deadline:
                return False
            await asyncio.sleep(_LEAVE_POLL_S)
        return True

    # Keys.

    async def compare_and_set(self, key: str, codec_id: str, version: int, value: Any) -> Attempt:
        attempt = self.store.compare_and_set(key, codec_id, version, value, self._clock.now_ms())
        if attempt.broadcast is not None:
            self._tell(attempt.broadcast, local=True)
        return attempt

    async def delete(self, key: str) -> None:
        news = self.store.delete(key, self._clock.now_ms())
        if news is not None:
            self._tell(news, local=True)

    def _tell(self, news: Broadcast, *, local: bool) -> None:
        self._on_changed(news.key)
        queue = self.members.local if local else self.members.forwarded
        queue.add(encode(User(news.message)), subject=news.key, names=news.names)
        self._note(self.sent, news.message, tuple(sorted(news.names)))
        self._schedule()

    def _note(self, history: MessageHistory, message: bytes, changes: tuple[str, ...]) -> None:
        if not history.wanted:
            return
        try:
            pair = decode_pair(message)
        except WireError:
            return
        self._passed += 1
        stored = self.store.current(pair.key)
        version = stored.version if stored is not None else 0
        history.add(Passed(self._passed, self._clock.now_ms(), len(message), pair, version, changes))

    # Time.

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _schedule(self) -> None:
        """Have the timer run when the core next wants it."""
        if not self._running:
            return
        due = self.members.next_due()
        if self._timer is not None:
            if not self._timer.cancelled() and self._timer.when() <= due:
                return  # it runs early, finds nothing due, and is set anew
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.store.expire(self._clock.now_ms())
        self._carry_out(self.members.tick(self._now()))

    # Effects.

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendPacket(to, messages, crc):
                    self._send(to, messages, crc)
                case Deliver(body):
                    self._deliver(body)
                case ExchangeState(to, node):
                    self._tasks.spawn(self._exchange_quietly(to, node), name="push-pull")
                case MemberChanged():
                    self._log_change(effect)
                case NameTaken():
                    self._log_conflict(effect)
        self._schedule()

    def _send(self, to: Endpoint, messages: Sequence[bytes], crc: bool) -> None:
        for message in compound(messages):
            if len(self._tasks) >= _SENDS_MAX:
                self.exchanged.overflowed += 1
                return
            payload = seal(
                message, label=self.settings.cluster_label, crc=crc, compression=self.settings.compression_enabled
            )
            self._tasks.spawn(self.transport.send(to, payload), name="send-packet")

    def _deliver(self, body: bytes) -> None:
        self.exchanged.messages += 1
        self.exchanged.message_bytes += len(body)
        news = self.store.receive(body, self._clock.now_ms())
        self._note(self.received, body, tuple(sorted(news.names)) if news is not None else ())
        if news is not None:
            self._tell(news, local=False)
        else:
            self.members.forwarded.heard(encode(User(body)), nodes=len(self.members.members))

    def _log_change(self, change: MemberChanged) -> None:
        after = change.after
        _log.info(
            "member is " + _STATE_WORDS[after.state],
            member=after.name,
            addr=endpoint_text(after.endpoint),
            reason=change.reason,
        )

    def _log_conflict(self, conflict: NameTaken) -> None:
        """Once, not with each of its messages."""
        if conflict != self._last_conflict:
            self._last_conflict = conflict
            _log.warning(
                "two members have one name",
                member=conflict.name,
                addr=endpoint_text(conflict.known),
                other=endpoint_text(conflict.other),
            )

    # The network.

    def _on_packet(self, frame: Frame) -> None:
        settings = self.settings
        if not self._running:
            return
        try:
            sender: Endpoint | None = parse_endpoint(frame.sender)
        except ValueError:
            sender = None
        try:
            messages = unseal(
                frame.payload,
                label=settings.cluster_label,
                verify_label=not settings.cluster_label_verification_disabled,
                bytes_max=settings.stream_bytes_max,
            )
        except WireError as error:
            self.transport.counts.damaged_packets += 1
            _log.debug("packet dropped", sender=frame.sender, err=str(error))
            return
        effects: list[Effect] = []
        for data in messages:
            try:
                effects += self.members.receive(decode(data), sender, self._now())
            except WireError as error:
                self.transport.counts.damaged_packets += 1
                _log.debug("message dropped", sender=frame.sender, err=str(error))
        self._carry_out(effects)

    def _on_stream(self, result: StreamResult) -> StreamMessage | None:
        settings = self.settings
        if not self._running:
            return None
        check_label(result.label, ours=settings.cluster_label, verify=not settings.cluster_label_verification_disabled)
        match result.message:
            case PushPull() as theirs:
                answer = self._local_state(join=False)
                try:
                    self._merge(theirs, result.size)
                except ProtocolMismatch as error:
                    return ErrorReply(str(error))
                return answer
            case Ping(seq, node):
                return Ack(seq) if node in ("", self.members.name) else None
            case _:
                return None

    def _local_state(self, *, join: bool) -> PushPull:
        state = PushPull(self.members.nodes(), join, self.store.state())
        self.exchanged.pushes += 1
        self.exchanged.push_bytes += len(state.user_state)
        return state

    def _merge(self, theirs: PushPull, size: int) -> None:
        effects = self.members.merge(theirs.nodes, self._now())
        self.exchanged.pulls += 1
        self.exchanged.pull_bytes += len(theirs.user_state)
        for news in self.store.receive_state(theirs.user_state, self._clock.now_ms()):
            self._tell(news, local=False)
        self._carry_out(effects)

    async def _exchange(self, to: Endpoint, *, join: bool) -> None:
        """Push our state and pull theirs. Raises OSError, TimeoutError, WireError or ProtocolMismatch."""
        answer, size = await self.transport.exchange(
            to, self._local_state(join=join), label=self.settings.cluster_label
        )
        if not isinstance(answer, PushPull):
            raise WireError("the answer to a push/pull is none")
        self._merge(answer, size)

    async def _exchange_quietly(self, to: Endpoint, node: str) -> None:
        try:
            await self._exchange(to, join=False)
        except (OSError, TimeoutError, WireError, ProtocolMismatch) as error:
            _log.debug("push/pull failed", member=node, err=str(error) or type(error).__name__)
