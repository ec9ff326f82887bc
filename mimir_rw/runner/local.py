"""Runs a layout as child processes of this one and keeps it up.

    start nodes ─► each group has a ready node ─► start nginx ─► watch ─► stop: nginx, read, backend, write

A child that ends is started again after a pause that doubles from one second to thirty. Children get sessions of their
own, so that Ctrl-C reaches only this process, which then stops them in order. Everything runs on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from mimir_rw.runner.gateway import GatewayOptions, gateway_config
from mimir_rw.runner.layout import Layout, Node

POLL_S = 0.5
STOP_S_MAX = 60.0
BACKOFF_S = 1.0
BACKOFF_S_MAX = 30.0
STEADY_S = 30.0
"""A child that has run this long starts again without delay's doubling."""
_STOP_ORDER = ("read", "backend", "write")
_READY_BYTES_MAX = 4096


@dataclass(slots=True)
class Child:
    """One child process as the table shows it. detail: why it is not ready."""

    name: str
    target: str
    zone: str
    address: str
    argv: Sequence[str]
    log: Path
    process: asyncio.subprocess.Process | None = None
    state: str = "waiting"
    detail: str = ""
    restarts: int = 0
    backoff_s: float = BACKOFF_S
    started_s: float = 0.0
    due_s: float | None = field(default=None)
    """When to start it again."""

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    def rss_bytes(self) -> int | None:
        """Resident memory with all descendants left out; None where the system does not tell."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):
            return None


class LocalCluster:
    def __init__(
        self,
        *,
        layout: Layout,
        nginx: str,
        changed: Callable[[Sequence[Child]], None],
        program: Sequence[str] | None = None,
    ) -> None:
        """changed: told after every look at the children. program: what starts a server; ours by default."""
        self.layout = layout
        self._changed = changed
        server = list(program) if program is not None else [sys.executable, "-m", "mimir_rw"]
        self._nodes = [self._node(node, server) for node in layout.nodes]
        config = layout.data / "nginx" / "nginx.conf"
        argv = [nginx, "-c", str(config.absolute()), "-p", str(config.parent.absolute()), "-g", "daemon off;"]
        self._gateway = Child("gateway", "nginx", "", layout.gateway, [*argv, "-e", "stderr"], self._log("gateway"))
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when every process is ready for the first time."""

    @property
    def children(self) -> list[Child]:
        return [*self._nodes, self._gateway]

    def request_stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Live until `request_stop`; when it returns, for whatever reason, every child has ended."""
        self._prepare()
        try:
            for child in self._nodes:
                await self._start(child)
            await self._watch()
        finally:
            await self._stop_all()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while not self._stopping.is_set():
                await asyncio.gather(*(self._look(child, session, loop.time()) for child in self._nodes))
                if self._gateway.process is None and self._groups_ready():
                    await self._start(self._gateway)
                elif self._gateway.process is not None:
                    await self._look_at_gateway(session, loop.time())
                if all(child.state == "ready" for child in self.children):
                    self.ready.set()
                self._tell()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), POLL_S)

    def _tell(self) -> None:
        """A terminal that was closed, or a pipe that nobody reads, is no reason to leave children behind."""
        with contextlib.suppress(OSError):
            self._changed(self.children)

    def _node(self, node: Node, server: Sequence[str]) -> Child:
        return Child(
            node.name, node.target, node.zone, node.address, [*server, *self.layout.flags(node)], self._log(node.name)
        )

    def _log(self, name: str) -> Path:
        return self.layout.data / "logs" / f"{name}.log"

    def _prepare(self) -> None:
        data = self.layout.data
        for directory in (data / "logs", data / "nginx" / "scratch", *(data / node.name for node in self.layout.nodes)):
            directory.mkdir(parents=True, exist_ok=True)
        options = GatewayOptions(
            listen=str(self.layout.gateway_port) if self.layout.host == "0.0.0.0" else self.layout.gateway,
            upstreams=self.layout.upstreams(),
            scratch=str((data / "nginx" / "scratch").absolute()),
            pid=str((data / "nginx" / "nginx.pid").absolute()),
            user="root" if os.geteuid() == 0 else "",
        )
        (data / "nginx" / "nginx.conf").write_text(gateway_config(options))

    def _groups_ready(self) -> bool:
        return all(
            any(child.state == "ready" for child in self._nodes if child.target == group) for group in _STOP_ORDER
        )

    async def _start(self, child: Child) -> None:
        child.started_s, child.due_s = asyncio.get_running_loop().time(), None
        child.state, child.detail = "starting", ""
        with child.log.open("ab") as log:
            child.process = await asyncio.create_subprocess_exec(
                *child.argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def _look(self, child: Child, session: aiohttp.ClientSession, now_s: float) -> None:
        if await self._again(child, now_s):
            return
        child.state, child.detail = await _readiness(session, f"http://{child.address}/ready")

    async def _look_at_gateway(self, session: aiohttp.ClientSession, now_s: float) -> None:
        if await self._again(self._gateway, now_s):
            return
        state, detail = await _readiness(session, f"http://{self._gateway.address}/gateway-health")
        self._gateway.state, self._gateway.detail = state, detail

    async def _again(self, child: Child, now_s: float) -> bool:
        """Start a child again that has ended, when it is time to; whether it is not running."""
        assert child.process is not None
        status = child.process.returncode
        if status is None:
            return False
        if child.due_s is None:
            child.backoff_s = (
                BACKOFF_S if now_s - child.started_s > STEADY_S else min(child.backoff_s * 2, BACKOFF_S_MAX)
            )
            child.due_s = now_s + child.backoff_s
            child.restarts += 1
        child.state = "ended"
        child.detail = f"{_ending(status)}; starts again in {max(child.due_s - now_s, 0):.0f} s, see {child.log}"
        if now_s >= child.due_s:
            await self._start(child)
        return True

    async def _stop_all(self) -> None:
        for group in ("nginx", *_STOP_ORDER):
            await asyncio.gather(*(self._stop(child) for child in self.children if child.target == group))

    async def _stop(self, child: Child) -> None:
        if child.pid is None:
            child.state = "stopped"
            return
        assert child.process is not None
        child.state, child.detail = "stopping", ""
        self._tell()
        child.process.send_signal(signal.SIGQUIT if child.target == "nginx" else signal.SIGTERM)
        try:
            await asyncio.wait_for(child.process.wait(), STOP_S_MAX)
        except TimeoutError:
            child.process.kill()
            await child.process.wait()
        child.state = "stopped"
        self._tell()


async def _readiness(session: aiohttp.ClientSession, url: str) -> tuple[str, str]:
    """State and why it is not ready."""
    try:
        async with session.get(url) as answer:
            text = (await answer.content.read(_READY_BYTES_MAX)).decode(errors="replace").strip()
            return ("ready", "") if answer.status == 200 else ("not ready", text)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return "starting", "" if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__


def _ending(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
