"""`mimir-rw status`: whether a server is ready, what its services do, and who else is in its rings."""

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

from mimir_rw.cli.cluster_status import Process, document, processes, ring_entries, ring_paths

_TIMEOUT_SECONDS = 10
_MEMBER_TIMEOUT_SECONDS = 2
_ASKED_AT_ONCE = 8
_ANSWER_BYTES_MAX = 16 << 20


def status(
    url: Annotated[str, typer.Option(help="Where the server listens.")] = "http://localhost:8080",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show whether a server is ready, and the processes of its cluster. Exit status 1 when it is not, or does not
    answer."""
    base = url.rstrip("/")
    try:
        ready, body = _get(f"{base}/ready")
        _, services = _get(f"{base}/services")
        members = _members(base)
    except (OSError, ValueError) as error:
        detail = getattr(error, "reason", error)
        print(f"{base} does not answer: {detail}", file=sys.stderr)
        raise typer.Exit(1) from None
    reason = body.decode(errors="replace").strip()
    states = _service_states(services)
    if as_json:
        print(json.dumps(document(states, members, ready == 200, reason), indent=2))
    else:
        print(f"{base}: {reason}")
        _show_services(states)
        _show_members(members)
    if ready != 200:
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


def _members(base: str) -> list[Process]:
    """The processes of all rings, each asked whether it is ready."""
    entries = []
    for ring, path in ring_paths().items():
        code, body = _get(base + path)
        entries += ring_entries(ring, body) if code == 200 else []
    found = processes(entries, base.partition("://")[0])
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        for process, readiness in zip(found, pool.map(_readiness, found), strict=True):
            process.readiness = readiness
    return found


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
    Console().print(table)


def _show_members(members: list[Process]) -> None:
    if not members:
        return
    print()
    table = Table("group", "process", "zone", "rings", "pages", "readiness", box=None)
    for process in members:
        rings = ", ".join(f"{ring} {state}" for ring, state in process.states.items())
        table.add_row(process.group, process.id, process.zone, rings, process.url, process.readiness)
    Console().print(table)
