"""The memberlist store as a service: the member lives on a loop of its own, its users on theirs.

Reading takes what is there, without going to the other loop: stored values are immutable. Writing computes the new
value on the caller's loop and hands it over, to be merged if the version is still the same.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from ipaddress import ip_address
from typing import Any, Generic, TypeVar

from mimir_rw.kit.clock import Clock
from mimir_rw.kit.event_loop_thread import CallersLoop, EventLoopThread, LoopHome, call_on
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.service import Service
from mimir_rw.kv.contract import Codec
from mimir_rw.kv.memberlist.addresses import own_address
from mimir_rw.kv.memberlist.messages import Endpoint
from mimir_rw.kv.memberlist.metrics import CasCounts, register
from mimir_rw.kv.memberlist.node import GossipNode
from mimir_rw.kv.memberlist.page import ShownValue, shown_message, shown_value, snapshot
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.store import Store
from mimir_rw.kv.memberlist.transport import TlsContexts
from mimir_rw.model.errors import Unavailable

T = TypeVar("T")
V = TypeVar("V")

_log = get_logger(component="memberlist")
_CAS_ATTEMPTS = 10
_NO_CHANGE_PAUSE_S = 1.0
"""Values have a resolution of a second: a change that did not show may do so in the next one."""


class MemberlistService(Service):
    """Makes `kv(codec)` facades, also before it runs. inline: live on the caller's loop, for simulation."""

    def __init__(
        self,
        *,
        settings: MemberlistSettings,
        codecs: Sequence[Codec[Any]],
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
        tls: TlsContexts | None = None,
        hostname: str = "",
        inline: bool = False,
    ) -> None:
        super().__init__("memberlist-kv")
        self.settings = settings
        self.store = Store(
            codecs,
            tombstones_kept_s=settings.left_ingesters_timeout_s,
            deleted_kept_s=settings.obsolete_entries_timeout_s,
            keys_max=settings.keys_max,
            value_bytes_max=settings.value_bytes_max,
        )
        self.node: GossipNode | None = None
        self.cas_counts = CasCounts()
        self._clock = clock
        self._rng = rng
        self._tls = tls
        self._hostname = hostname or socket.gethostname()
        self._home: LoopHome = CallersLoop() if inline else EventLoopThread(name="memberlist")
        self._joined = False
        self._at_home = False
        """Whether the member's loop is there to run what is asked of it."""
        self._watchers: dict[str, dict[_Watcher, None]] = {}
        register(metrics, self)

    def kv(self, codec: Codec[V]) -> MemberlistKV[V]:
        """The keys whose values are of this codec, for use on the loop that the service was started from."""
        assert codec.id in self.store.codecs, f"codec {codec.id} is not registered"
        return MemberlistKV(codec, self)

    @property
    def joined(self) -> bool:
        """Whether another member is known or was."""
        return self._joined or (self.node is not None and self.node.members.count() > 1)

    # Life.

    async def start_up(self) -> None:
        self._home.start()
        await self._home.run(self._start())
        self._at_home = True
        if self.settings.join_members:
            await self._fast_join()
            self.tasks.spawn(self._keep_joined(), name="memberlist-join")

    async def shut_down(self) -> None:
        settings = self.settings
        if self.node is not None:
            stopping = self.node.stop(
                leave_timeout_s=settings.leave_timeout_s, local_timeout_s=settings.local_broadcast_timeout_s
            )
            await self._home.run(stopping)
        self._at_home = False
        await self._home.close()

    async def _start(self) -> None:
        node = GossipNode(
            settings=self.settings,
            name=self._node_name(),
            endpoint=await self._endpoint(),
            store=self.store,
            tls=self._tls,
            clock=self._clock,
            rng=self._rng,
            on_changed=self._tell_watchers,
        )
        await node.start()
        self.node = node

    def _node_name(self) -> str:
        name = self.settings.node_name or self._hostname
        return f"{name}-{self._rng.randrange(1 << 32):08x}" if self.settings.randomize_node_name else name

    async def _endpoint(self) -> Endpoint:
        settings = self.settings
        port = settings.advertise_port or settings.bind_port
        if settings.advertise_addr:
            return Endpoint(ip_address(settings.advertise_addr).packed, port)
        for host in settings.bind_addr:
            address = ip_address(host)
            if not address.is_unspecified:
                return Endpoint(address.packed, port)
        return Endpoint(await own_address(self._hostname), port)

    # Joining.

    async def _fast_join(self) -> None:
        """Learn the cluster's state before anything is decided by it: from a few members, without retrying."""
        joined, failure = await self._home.run(self._join(self.settings.fast_join_members_max))
        if joined:
            _log.info("joined the cluster", members=joined)
            return
        if not failure:
            _log.info("no other member was found yet")
            return
        if self.settings.abort_if_fast_join_fails:
            raise Unavailable(f"no member could be joined: {failure}")
        _log.warning("no member could be joined yet; it is tried on in the background", err=failure)

    async def _keep_joined(self) -> None:
        settings = self.settings
        backoff = settings.min_join_backoff_s
        attempts = 0
        while True:
            joined, failure = await self._home.run(self._join(len(settings.join_members)))
            if joined:
                break
            attempts += 1
            if attempts == settings.max_join_retries and failure:
                if settings.abort_if_join_fails:
                    raise Unavailable(f"no member could be joined: {failure}")
                _log.warning("no member could be joined; it is tried on", err=failure)
            await asyncio.sleep(backoff * (0.5 + 0.5 * self._rng.random()))
            backoff = min(backoff * 2, settings.max_join_backoff_s)
        while settings.rejoin_interval_s > 0:
            await asyncio.sleep(settings.rejoin_interval_s)
            joined, failure = await self._home.run(self._join(settings.fast_join_members_max))
            if not joined:
                _log.warning("rejoining the cluster failed", err=failure)

    async def _join(self, enough: int) -> tuple[int, str]:
        assert self.node is not None
        found = await self.node.join(await self.node.resolve_seeds(), enough=enough)
        self._joined = self._joined or found[0] > 0
        return found

    async def told(self, seconds: float) -> None:
        """Wait, for so long at most, until the others have been told of what was changed here."""
        if self.node is not None and self._at_home and not await self._home.run(self.node.told(seconds)):
            _log.warning("not all own changes have been sent yet")

    # Facades.

    async def compare_and_set(self, key: str, codec_id: str, version: int, value: Any) -> tuple[bool, bool]:
        """Whether another version was there, and whether anything changed. Raises Unavailable while not running."""
        if self.node is None or not self._at_home:
            raise Unavailable("the gossiped store is not running")
        attempt = await self._home.run(self.node.compare_and_set(key, codec_id, version, value))
        return attempt.conflict, attempt.broadcast is not None

    async def delete(self, key: str) -> None:
        if self.node is not None and self._at_home:
            await self._home.run(self.node.delete(key))

    def add_watcher(self, key: str, watcher: _Watcher) -> None:
        self._watchers.setdefault(key, {})[watcher] = None

    def remove_watcher(self, key: str, watcher: _Watcher) -> None:
        watchers = self._watchers.get(key, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(key, None)

    def _tell_watchers(self, key: str) -> None:
        """On the member's loop."""
        for watcher in list(self._watchers.get(key, ())):
            watcher.wake()

    # Pages.

    async def _look(self, work: Coroutine[Any, Any, T]) -> T:
        """Where the member lives; before it does and after, nothing changes and anywhere will do."""
        return await (self._home.run(work) if self._at_home else work)

    async def snapshot(self) -> dict[str, Any]:
        """What /memberlist shows, JSON-ready."""
        return await self._look(self._snapshot())

    async def _snapshot(self) -> dict[str, Any]:
        return snapshot(self.node, self.store, now_ms=self._clock.now_ms(), settings=self.settings)

    async def value(self, key: str) -> ShownValue | None:
        """None when the key is not there."""
        return await self._look(self._value(key))

    async def _value(self, key: str) -> ShownValue | None:
        return shown_value(self.store, key)

    async def message(self, id: int) -> ShownValue | None:
        """None when it is not in the history any more."""
        return await self._look(self._message(id))

    async def _message(self, id: int) -> ShownValue | None:
        return shown_message(self.node, self.store, id)

    async def delete_messages(self) -> None:
        """Forget the message history."""
        await self._look(self._delete_messages())

    async def _delete_messages(self) -> None:
        if self.node is not None:
            self.node.sent.clear()
            self.node.received.clear()


class _Watcher:
    """Wakes a reader on its own loop, once however many changes there are before it looks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._woken = False

    def wake(self) -> None:
        """From any loop."""
        if not self._woken:
            self._woken = True
            call_on(self._loop, self._event.set)

    async def wait(self) -> None:
        await self._event.wait()
        self._event.clear()
        # From here on a change wakes again; what changed until now is read after this.
        self._woken = False


class MemberlistKV(Generic[V]):
    def __init__(self, codec: Codec[V], service: MemberlistService) -> None:
        self._codec = codec
        self._service = service

    async def get(self, key: str) -> V | None:
        return self._read(key)[0]

    async def cas(self, key: str, change: Callable[[V | None], V | None]) -> None:
        counts = self._service.cas_counts
        for attempt in range(_CAS_ATTEMPTS):
            current, version = self._read(key)
            new = change(current)
            if new is None or new == current:
                return
            counts.attempts += 1
            conflict, changed = await self._service.compare_and_set(key, self._codec.id, version, new)
            if changed:
                counts.successes += 1
                return
            if not conflict and attempt + 1 < _CAS_ATTEMPTS:
                await asyncio.sleep(_NO_CHANGE_PAUSE_S)
        counts.failures += 1
        raise Unavailable(
            f"{key} could not be changed in {_CAS_ATTEMPTS} attempts: others were faster, or no change shows"
        )

    async def delete(self, key: str) -> None:
        await self._service.delete(key)

    async def list(self, prefix: str) -> list[str]:
        return self._service.store.keys(prefix)

    async def watch(self, key: str) -> AsyncIterator[V]:
        watcher = _Watcher()
        seen = 0
        self._service.add_watcher(key, watcher)
        try:
            while True:
                value, version = self._read(key)
                if version != seen and value is not None:
                    seen = version
                    yield value
                else:
                    await watcher.wait()
        finally:
            self._service.remove_watcher(key, watcher)

    def _read(self, key: str) -> tuple[V | None, int]:
        value: V | None
        value, version = self._service.store.visible(key)
        stored = self._service.store.current(key)
        assert stored is None or stored.codec_id == self._codec.id, f"{key} holds values of {stored.codec_id}"
        return value, version
