"""Commands of the console script, run as a user runs them but in this process."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import mimir_rw
from mimir_rw.cli.commands import run_command


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["version"]) == 0
    assert capsys.readouterr().out == f"mimir-rw {mimir_rw.__version__}\n"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["help"]) == 0
    shown = capsys.readouterr().out
    for command in ("version", "config", "status"):
        assert f"\n  {command} " in shown


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["verison"]) == 2
    assert "verison" in capsys.readouterr().err


def test_config_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("ruler: {}\nserver: {http_listen_port: 9009}\n")
    assert run_command(["config", "check", str(file)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{file}: ok\n"
    assert shown.err == f"warning: {file}:1: ruler is not available yet and is ignored (the ruler)\n"


def test_config_check_names_file_line_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("server:\n  http_listen_prt: 9009\n")
    assert run_command(["config", "check", str(file)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    message = f'{file}:2: server.http_listen_prt: unknown key, the nearest known key is "http_listen_port"\n'
    assert shown.err == message
    assert run_command(["config", "check", str(tmp_path / "none.yaml")]) == 1


def test_config_check_looks_at_the_target_and_the_runtime_file_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, runtime = tmp_path / "m.yaml", tmp_path / "r.yaml"
    file.write_text("target: al\n")
    assert run_command(["config", "check", str(file)]) == 1
    assert '"al" is not one of all' in capsys.readouterr().err
    file.write_text(f"runtime_config: {{file: {runtime}}}\n")
    runtime.write_text("overrides: {a: {ingestion_rat: 1}}\n")
    assert run_command(["config", "check", str(file)]) == 1
    assert f"{runtime}:1: overrides.a.ingestion_rat: unknown key" in capsys.readouterr().err


def test_config_check_expands_the_environment_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("server: {http_listen_port: ${MIMIR_RW_TEST_PORT}}\n")
    monkeypatch.setenv("MIMIR_RW_TEST_PORT", "81")
    assert run_command(["config", "check", str(file), "--expand-env"]) == 0
    assert run_command(["config", "check", str(file)]) == 1


class _Server(http.server.BaseHTTPRequestHandler):
    ready = 200

    def do_GET(self) -> None:
        services = json.dumps({"services": [{"service": "ingester", "status": "Running", "detail": ""}]})
        body = services if self.path == "/services" else "ready" if type(self).ready == 200 else "not ready: ingester"
        self.send_response(200 if self.path == "/services" else type(self).ready)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.ready = 200
    with http.server.HTTPServer(("127.0.0.1", 0), _Server) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_status_of_a_ready_server(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["status", "--url", server + "/"]) == 0
    shown = capsys.readouterr().out
    assert f"{server}: ready" in shown
    assert "ingester" in shown
    assert "Running" in shown


def test_status_of_one_that_is_not_ready(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    _Server.ready = 503
    assert run_command(["status", "--url", server]) == 1
    assert "not ready: ingester" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "http://[", "x"])
def test_status_where_nothing_answers(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["status", "--url", url]) == 1
    assert capsys.readouterr().err.count("\n") == 1
