"""The generated configuration in a real nginx, before upstreams that tell what reached them."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mimir_rw.api.routes import ROUTES, Prefixes
from mimir_rw.runner.gateway import GatewayOptions, gateway_config, group_of, is_public
from mimir_rw.runner.preflight import find_nginx
from tests.e2e.processes import Process, free_port, need, request

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


class Upstream(http.server.ThreadingHTTPServer):
    """Answers every request with what it saw, or as `mood` says: "die" takes the request and hangs up, "freeze" keeps
    it until `thaw`, a number is a status."""

    daemon_threads = True

    def __init__(self, group: str) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.group = group
        self.mood: str | int = "fine"
        self.taken = 0
        self.frozen = threading.Event()
        self.thaw = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.taken += 1
        if self.server.mood == "die":
            self.close_connection = True
            return
        if self.server.mood == "freeze":
            self.server.frozen.set()
            self.server.thaw.wait(60)
        status = self.server.mood if isinstance(self.server.mood, int) else 200
        seen = {"group": self.server.group, "path": self.path, "method": self.command, "size": len(body),
                "tenant": self.headers.get("X-Scope-OrgID"), "at": self.server.address}  # fmt: skip
        text = json.dumps(seen).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer

    def log_message(self, *_: Any) -> None:
        return None


class Gateway:
    def __init__(self, port: int, upstreams: dict[str, list[Upstream]]) -> None:
        self.port = port
        self.upstreams = upstreams

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and what the upstream saw; {} when none was asked."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text.startswith(b"{") else {}


@pytest.fixture
def gateway(tmp_path: Path, keep: Callable[[Process], Process]) -> Iterator[Gateway]:
    nginx = find_nginx() or need("nginx", "nginx-light")
    upstreams = {group: [Upstream(group), Upstream(group)] for group in ("read", "write", "backend")}
    port = free_port()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    options = GatewayOptions(
        listen=f"127.0.0.1:{port}",
        upstreams={group: [each.address for each in found] for group, found in upstreams.items()},
        scratch=str(scratch),
        pid=str(tmp_path / "nginx.pid"),
        user="root" if os.geteuid() == 0 else "",
    )
    config = tmp_path / "nginx.conf"
    config.write_text(gateway_config(options))
    argv = [nginx, "-c", str(config), "-p", str(tmp_path), "-g", "daemon off;", "-e", "stderr"]
    process = keep(Process(argv, port, "/gateway-health", tmp_path / "nginx.log"))
    process.start()
    yield Gateway(port, upstreams)
    process.stop()
    for each in (each for found in upstreams.values() for each in found):
        each.shutdown()
        each.server_close()


def public_routes() -> list[tuple[str, str, str]]:
    return [
        (
            route.full_path(Prefixes()).replace("{name}", "a%2Fb").replace("{block}", "x"),
            route.methods[0],
            str(group_of(route.component)),
        )
        for route in ROUTES
        if is_public(route)
    ]


@pytest.mark.parametrize(("path", "method", "group"), public_routes())
def test_what_needs_a_tenant_reaches_the_group_that_serves_it(
    gateway: Gateway, path: str, method: str, group: str
) -> None:
    status, seen = gateway.ask(path, method)
    assert (status, seen["group"], seen["path"], seen["method"]) == (200, group, path, method)


def test_everything_else_is_closed_but_the_pages(gateway: Gateway) -> None:
    opened = set()
    for route in ROUTES:
        if not is_public(route):
            path = route.full_path(Prefixes()).replace("{tenant}", "x")
            status, _ = gateway.ask(path)
            if status == 200:
                opened.add(route.path)
            else:
                assert status == (302 if path == "/" else 404), path
    assert opened == {
        "/ring", "/memberlist", "/static/admin.css", "/api/v1/status/buildinfo", "{P}/api/v1/status/buildinfo",
        "/distributor/ring",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/ingester/flush",
        "/ingester%2Fflush",
        "/%69ngester/flush",
        "//ingester/flush",
        "/prometheus/../ingester/flush",
        "/prometheus/%2e%2e/ingester/flush",
        "/prometheus/..%2Fingester/flush",
        "/api/v1/push/../../../ingester/flush",
        "/metrics",
        "/debug/pprof/heap",
    ],
)
def test_no_spelling_of_a_closed_path_is_open(gateway: Gateway, path: str) -> None:
    status, seen = gateway.ask(path, "POST")
    assert status == 404
    assert seen == {}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_pages_are_for_reading(gateway: Gateway, method: str) -> None:
    answer = request(f"http://127.0.0.1:{gateway.port}/static/admin.css", method=method)
    assert answer.status == 403
    assert b"only shows this page" in answer.body
    assert gateway.ask("/static/admin.css", "HEAD")[0] == 200


def test_a_percent_encoded_slash_stays_encoded(gateway: Gateway) -> None:
    path = "/prometheus/api/v1/label/a%2Fb%20c/values?match[]=%7Bx%3D%22%2F%22%7D"
    assert gateway.ask(path)[1]["path"] == path


def test_the_tenant_is_kept_and_otherwise_set(gateway: Gateway) -> None:
    assert gateway.ask("/prometheus/api/v1/labels")[1]["tenant"] == "anonymous"
    assert gateway.ask("/prometheus/api/v1/labels", **{"X-Scope-OrgID": "team-a"})[1]["tenant"] == "team-a"


@pytest.mark.parametrize("mood", ["die", 502, 503])
@pytest.mark.parametrize(("path", "group"), [("/api/v1/push", "write"), ("/prometheus/api/v1/query", "read")])
def test_a_post_that_fails_goes_to_one_more(gateway: Gateway, path: str, group: str, mood: str | int) -> None:
    body = b"x" * 3_000_000
    bad = gateway.upstreams[group][0]
    bad.mood = mood
    for _ in range(6):
        status, seen = gateway.ask(path, "POST", body)
        assert (status, seen["group"], seen["size"]) == (200, group, len(body))
        assert seen["at"] != bad.address
    assert bad.taken >= 1


@pytest.mark.parametrize("status", [400, 429, 500])
def test_other_statuses_are_answers(gateway: Gateway, status: int) -> None:
    for each in gateway.upstreams["write"]:
        each.mood = status
    assert gateway.ask("/api/v1/push", "POST", b"x")[0] == status
    assert sum(each.taken for each in gateway.upstreams["write"]) == 1


def test_a_dead_reader_costs_nothing(gateway: Gateway) -> None:
    dead = gateway.upstreams["read"][1]
    dead.shutdown()
    dead.server_close()
    assert {gateway.ask("/prometheus/api/v1/query")[0] for _ in range(10)} == {200}


def test_a_frozen_reader_costs_the_queries_it_has(gateway: Gateway) -> None:
    frozen = gateway.upstreams["read"][0]
    frozen.mood = "freeze"
    caught = [threading.Thread(target=gateway.ask, args=("/prometheus/api/v1/query",)) for _ in range(2)]
    for each in caught:
        each.start()
    assert frozen.frozen.wait(20)
    # Until the other of the two is caught as well or answered: while it is in work the readers have one request each.
    while frozen.taken < 2 and all(each.is_alive() for each in caught):
        time.sleep(0.01)
    answers = {gateway.ask("/prometheus/api/v1/query")[1]["at"] for _ in range(20)}
    assert answers == {gateway.upstreams["read"][1].address}
    frozen.thaw.set()
    for each in caught:
        each.join()


def test_the_configuration_of_the_containers_is_the_generated_one() -> None:
    text = (Path(__file__).parents[2] / "nginx" / "compose.conf").read_text()
    options = GatewayOptions(
        listen="8080",
        upstreams={
            "read": ["read-1:8080", "read-2:8080"],
            "write": ["write-a:8080", "write-b:8080", "write-c:8080"],
            "backend": ["backend-a:8080", "backend-b:8080", "backend-c:8080"],
        },
    )
    assert text == gateway_config(options), "run `make docs`"
