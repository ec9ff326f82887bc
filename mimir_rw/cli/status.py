"""`mimir-rw status`: whether a server is ready, what its services do, and which processes make up its cluster."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mimir_rw.cli.cluster_status import Process, cluster_processes, document

_TIMEOUT_SECONDS = 10
_MEMBER_TIMEOUT_SECONDS = 2
_ASKED_AT_ONCE = 8
_PIPED_WIDTH = 200
_ANSWER_BYTES_MAX = 16 << 20


def status(
    url: Annotated[
        str, typer.Option(help="Where a server, or the gateway of a cluster, listens.")
    ] = "http://localhost:8080",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show whether a server is ready, and the processes of its cluster. Exit status 1 when it, or through a gateway any
    of them, is not ready or does not answer."""
    base = url.rstrip("/")
    try:
        code, body = _get(f"{base}/ready")
        _, services = _get(f"{base}/services")
        processes = cluster_processes(_get(f"{base}/memberlist")[1], _get(f"{base}/ring")[1])
    except (OSError, ValueError) as error:
        detail = getattr(error, "reason", error)
        print(f"{base} does not answer: {detail}", file=sys.stderr)
        raise typer.Exit(1) from None
    if len(processes) == 1 and not processes[0].url:
        processes[0].url = base  # one without gossip, which tells where the others are: it is the one that was asked
    _ask_each(processes)
    ready, reason = code == 200, body.decode(errors="replace").strip()
    if code == 404 and processes:
        unready = [process.id for process in processes if process.readiness != "ready"]
        ready, reason = not unready, f"not ready: {', '.join(unready)}" if unready else "ready"
    states = _service_states(services)
    if as_json:
        print(json.dumps(document(ready, reason, states, processes), indent=2))
    else:
        print(f"{base}: {reason}")
        _show_services(states)
        _show_processes(processes)
    if not ready:
        raise typer.Exit(1)


def _get(url: str, timeout_s: float = _TIMEOUT_SECONDS) -> tuple[int, bytes]:
    """Status and body, whatever the status. Raises OSError or ValueError (not a URL)."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("the URL must begin with http:// or https://")
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read(_ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        return error.code, error.read(_ANSWER_BYTES_MAX)


def _ask_each(processes: list[Process]) -> None:
    """Ask each process whether it is ready."""
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        for process, readiness in zip(processes, pool.map(_readiness, processes), strict=True):
            process.readiness = readiness


def _readiness(process: Process) -> str:
    if not process.url:
        return ""
    try:
        _, body = _get(f"{process.url}/ready", _MEMBER_TIMEOUT_SECONDS)
    except (OSError, ValueError) as error:
        return f"does not answer: {getattr(error, 'reason', error)}"
    return body.decode(errors="replace").strip()


def _service_states(body: bytes) -> dict[str, str]:
    """Empty when something else answers there; /ready has said what it is."""
    try:
        return {str(each["service"]): str(each["status"]) for each in json.loads(body)["services"]}
    except (ValueError, KeyError, TypeError):
        return {}


def _show_services(states: dict[str, str]) -> None:
    if not states:
        return
    table = Table("service", "status", box=None)
    for name, state in states.items():
        table.add_row(name, state)
    _console().print(table)


def _console() -> Console:
    """As wide as the terminal; what is piped elsewhere is not broken into lines."""
    return Console() if sys.stdout.isatty() else Console(width=_PIPED_WIDTH)


def _show_processes(processes: list[Process]) -> None:
    if not processes:
        return
    print()
    table = Table("target", "process", "zone", "readiness", "rings", "pages", box=None)
    for column in table.columns:
        column.overflow = "fold"
    for process in processes:
        rings = "\n".join(f"{ring} {state}" for ring, state in process.rings.items())
        table.add_row(process.target, process.id, process.zone, process.readiness, rings, process.url)
    _console().print(table)
