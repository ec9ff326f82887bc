"""The local runner over small programs of the test's own instead of servers and nginx."""

import asyncio
import io
import os
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mimir_rw.runner.layout import read_write_layout
from mimir_rw.runner.local import Child, LocalCluster
from mimir_rw.runner.preflight import port_reason
from mimir_rw.runner.table import children_table, children_view, first_steps

SERVER = """
import http.server, sys
port = int(next(a for a in sys.argv if a.startswith("-server.http-listen-port=")).split("=")[1])
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ready")
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", port), Ready).serve_forever()
"""
NGINX = """#!{python}
import http.server, re, signal, sys
signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a background job may inherit that it is ignored
text = open(sys.argv[sys.argv.index("-c") + 1]).read()
port = int(re.search(r"listen 127.0.0.1:([0-9]+);", text).group(1))
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


def make(directory: Path, base: int, gateway: int, changed) -> LocalCluster:
    server = directory / "server.py"
    server.write_text(SERVER)
    nginx = directory / "nginx"
    nginx.write_text(NGINX.format(python=sys.executable))
    nginx.chmod(0o755)
    layout = read_write_layout(data=directory / "data", gateway_port=gateway, base_port=base)
    return LocalCluster(layout=layout, nginx=str(nginx), changed=changed, program=[sys.executable, str(server)])


@pytest.fixture
def base_port(tmp_path) -> int:
    """One whose ports are all free now."""
    first = 20_000 + os.getpid() % 97
    for base in range(first, 60_000, 300):
        nodes = read_write_layout(data=tmp_path, base_port=base).nodes
        if all(port_reason(node.host, port) is None for node in nodes for port in node.ports):
            return base
    raise AssertionError("no free ports")


class Watch:
    """What the runner told, and a way to wait for it."""

    def __init__(self) -> None:
        self.stopped: list[str] = []
        self._told = asyncio.Event()

    def __call__(self, children) -> None:
        self.stopped += [c.target for c in children if c.state == "stopped" and c.target not in self.stopped]
        self._told.set()

    async def until(self, condition) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._told.clear()
                await self._told.wait()


async def test_starts_restarts_and_stops_in_order(tmp_path, base_port, unused_tcp_port_factory):
    watch = Watch()
    cluster = make(tmp_path, base_port, unused_tcp_port_factory(), watch)
    running = asyncio.ensure_future(cluster.run())
    await watch.until(cluster.ready.is_set)
    first = {child.name: child.pid for child in cluster.children}
    assert len(first) == 9
    assert None not in first.values()
    victim = first["write-b"]
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    child = cluster.children[1]
    await watch.until(lambda: child.restarts == 1)
    assert "SIGKILL" in child.detail
    await watch.until(lambda: child.pid not in (None, victim))
    assert children_table(cluster.children).row_count == 9
    assert str(cluster.layout.gateway_port) in first_steps(cluster.layout)
    cluster.request_stop()
    async with asyncio.timeout(60):
        await running
    assert watch.stopped == ["nginx", "read", "backend", "write"]
    assert all(each.pid is None for each in cluster.children)


async def test_nobody_is_left_when_the_terminal_goes_away(tmp_path, base_port, unused_tcp_port_factory):
    def gone(children) -> None:
        raise BrokenPipeError

    cluster = make(tmp_path, base_port, unused_tcp_port_factory(), gone)
    running = asyncio.ensure_future(cluster.run())
    async with asyncio.timeout(60):
        await cluster.ready.wait()
    pids = [child.pid for child in cluster.children]
    running.cancel()
    await asyncio.wait([running])
    assert None not in pids
    assert all(child.pid is None for child in cluster.children)


def test_the_table_fits_a_narrow_terminal():
    detail = "killed by SIGKILL; starts again in 1 s, see /a/rather/long/path/to/the/logs/of/write-b.log"
    children = [
        Child("write-a", "write", "zone-a", "127.0.0.1:8001", [], Path("a.log"), state="ready"),
        Child("write-b", "write", "zone-b", "127.0.0.1:8002", [], Path("b.log"), state="ended", detail=detail),
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(children_view(children))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[2].split()[:5] == ["write-b", "write", "zone-b", "ended", "127.0.0.1:8002"]
    assert lines[3].startswith("write-b: killed by SIGKILL; starts again in 1 s, see /a/")
    assert lines[3].endswith("…")
