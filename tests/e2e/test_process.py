"""A server process from outside: what it says when it cannot start, how it stops, its first screen."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.e2e.processes import Process, free_port, mimir_rw, query, request

pytestmark = pytest.mark.e2e

Keep = Callable[[Process], Process]


def outcome(process: Process) -> tuple[int, str]:
    """Exit status and stderr of a server that does not come up."""
    done = subprocess.run(process.argv, cwd=process.cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, text = outcome(mimir_rw(tmp_path, port=port))
    assert status == 1
    assert text.count("\n") == 1
    assert f"port {port} is taken" in text
    assert "-server.http-listen-port" in text
    assert not (tmp_path / "tsdb").exists()


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("-target=write -ingester.ring.zone-awareness-enabled", "each ingester needs a zone"),
        ("-target=querier -ingester.ring.store=inmemory", "-target=ingester,querier"),
        ("-server.http-tls-cert-path=/nowhere -server.http-tls-key-path=/nowhere", "-server.http-tls-cert-path"),
        ("-server.pid-file=/nowhere/x", "/nowhere/x"),
    ],
    ids=["no zone", "querier alone", "no certificate", "no place for the pid"],
)
def test_what_cannot_start_says_why_in_one_line(tmp_path: Path, flag: str, text: str) -> None:
    status, said = outcome(mimir_rw(tmp_path, *flag.split()))
    assert status == 1
    assert text in said
    assert said.count("\n") == 1


def test_a_signal_stops_it_in_order(tmp_path: Path, keep: Keep) -> None:
    pid_path = tmp_path / "pid"
    server = keep(mimir_rw(tmp_path, f"-server.pid-file={pid_path}")).start()
    assert int(pid_path.read_text()) == server.pid
    assert request(server.url + "/services", headers={"Accept": "application/json"}).json()["services"]
    assert server.stop() == 0
    assert not pid_path.exists()
    log = server.log_tail()
    line = 'msg="module terminated" component=modules module={}\n'
    ends = [log.index(line.format(name)) for name in ("api", "ingester", "server")]
    assert ends == sorted(ends)


def test_a_second_signal_ends_it_at_once(tmp_path: Path, keep: Keep) -> None:
    server = keep(mimir_rw(tmp_path, "-shutdown-delay=1m")).start()
    assert server.popen is not None
    server.popen.send_signal(signal.SIGTERM)
    server.popen.send_signal(signal.SIGTERM)  # as supervisors do: the process, then its group
    while request(server.url + "/ready").status == 200:
        pass
    with pytest.raises(subprocess.TimeoutExpired):
        server.popen.wait(1)
    server.popen.send_signal(signal.SIGINT)
    assert server.popen.wait(30) == 128 + signal.SIGINT


def test_https(tmp_path: Path, keep: Keep) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    flags = (f"-server.http-tls-cert-path={tmp_path / 'cert.pem'}", f"-server.http-tls-key-path={tmp_path / 'key.pem'}")
    server = keep(mimir_rw(tmp_path, *flags))
    server.spawn()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"https://localhost:{server.port}/ready", context=context, timeout=5) as answer:
                assert answer.read() == b"ready\n"
                break
        except OSError:
            assert server.popen is not None
            with pytest.raises(subprocess.TimeoutExpired):
                server.popen.wait(0.1)
    else:
        pytest.fail(server.log_tail())
    assert server.stop() == 0


def test_first_screen_on_a_terminal_only(tmp_path: Path, keep: Keep) -> None:
    server = keep(mimir_rw(tmp_path))
    ours, theirs = pty.openpty()
    with server.log_path.open("ab") as log:
        server.popen = subprocess.Popen(server.argv, stdout=theirs, stderr=log, stdin=subprocess.DEVNULL, cwd=tmp_path)
    os.close(theirs)
    server.wait_ready()
    shown = b""
    while b"Ctrl-C" not in shown:
        shown += os.read(ours, 4096)
    assert f"http://127.0.0.1:{server.port}/api/v1/push".encode() in shown
    assert str(tmp_path / "tsdb").encode() in shown
    assert b"level=" not in shown
    assert query(server.url + "/prometheus", "query", query="1")["result"][1] == "1"
    assert server.stop() == 0
    os.close(ours)
    assert "Ctrl-C" not in server.log_tail()


@pytest.mark.parametrize("flag", ["-server.grpc-listen-port", "-memberlist.bind-port"])
def test_every_taken_port_of_a_cluster_is_said_before_anything_starts(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"-server.grpc-listen-port": free_port(), "-memberlist.bind-port": free_port(), flag: port}
        status, text = outcome(
            mimir_rw(tmp_path, "-target=write", *(f"{name}={value}" for name, value in ports.items()))
        )
    assert status == 1
    assert text.count("\n") == 1
    assert f"port {port} is taken" in text
    assert flag in text
    assert not (tmp_path / "tsdb").exists()


def test_status_of_one_process(tmp_path: Path, keep: Keep) -> None:
    ours = keep(mimir_rw(tmp_path))
    ours.start()
    argv = [ours.argv[0], "status", "--json", "--url", ours.url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    (process,) = json.loads(done.stdout)["processes"]
    assert (process["readiness"], process["url"]) == ("ready", ours.url)
    assert process["rings"]["ingester"] == "ACTIVE"
