"""The server's command line, with what would run put in its place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import yaml

import mimir_rw
from mimir_rw.app.main import main
from mimir_rw.cli import entry
from mimir_rw.config.tree import Config


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """A server sets up logging for its process; here that must not outlive the test."""
    yield
    structlog.reset_defaults()


class _Run:
    """Stands for the server: keeps the configuration that it was started with."""

    def __init__(self) -> None:
        self.configs: list[Config] = []

    def __call__(self, config: Config) -> int:
        self.configs.append(config)
        return 7


def test_a_server_runs_with_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("server: {http_listen_port: 81, log_format: json}\nno_auth_tenant: ${WHO}\nruler: {}\n")
    run = _Run()
    argv = ["-target=all", f"-config.file={file}", "-config.expand-env", "-querier.timeout=5s"]
    assert main(argv, environment={"WHO": "me"}, run=run) == 7
    (config,) = run.configs
    assert (config.server.http_listen_port, config.no_auth_tenant, config.querier.timeout) == (81, "me", 5_000)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert f"{file}:3: ruler is not available yet" in shown.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-targt=all"], "flag -targt is not known, the nearest known flag is -target"),
        (["-target=al"], 'target (-target): "al" is not one of all, '),
        (["-target=write", "-ingester.ring.zone-awareness-enabled"], "ingester.ring.instance_availability_zone (-ing"),
        (["-server.http-listen-port=-1"], 'flag -server.http-listen-port: "-1": must be at least 0'),
        (["-runtime-config.file=/nowhere/r.yaml"], "/nowhere/r.yaml: No such file or directory"),
        (["-config.file=/nowhere/m.yaml"], "/nowhere/m.yaml: No such file or directory"),
    ],
)
def test_a_bad_configuration_is_one_line_and_status_1(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _Run()
    assert main(argv, environment={}, run=run) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"mimir-rw: {message}")
    assert shown.err.count("\n") == 1
    assert run.configs == []


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["-help"], "  -target comma-separated list"),
        (["-h"], "  -target comma-separated list"),
        (["--help"], "  -target comma-separated list"),
        (["-help-all"], "  -validation.past-grace-period duration"),
        (["-version"], mimir_rw.__version__),
        (["-modules"], "distributor"),
        # These need no configuration, so a bad one does not matter.
        (["-config.file=/nowhere/m.yaml", "-version=true"], mimir_rw.__version__),
    ],
)
def test_what_is_printed_instead_of_running(argv: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = _Run()
    assert main(argv, environment={}, run=run) == 0
    assert part in capsys.readouterr().out
    assert run.configs == []


def test_print_config_masks_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("server: {http_tls_config: {cert: c, key: very-secret}}\n")
    assert main([f"-config.file={file}", "-print.config", "-target=all"], environment={}, run=_Run()) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["server"]["http_tls_config"]["key"] == "********"
    assert shown["server"]["http_listen_port"] == 8080


def test_the_console_script_tells_servers_from_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main([]) == 0
    assert "mimir-rw -target=all" in capsys.readouterr().out
    assert entry.main(["-version"]) == 0
    assert capsys.readouterr().out == f"mimir-rw, version {mimir_rw.__version__}\n"
    assert entry.main(["version"]) == 0
    assert capsys.readouterr().out == f"mimir-rw {mimir_rw.__version__}\n"


def test_a_server_does_not_load_the_terminal_libraries() -> None:
    code = (
        "import sys; from mimir_rw.cli.entry import main; main(['-version']); "
        "print(sorted({'typer', 'rich', 'numpy', 'hypercorn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
