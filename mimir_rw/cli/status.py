"""`mimir-rw status`: whether a server runs and is ready, and what its services do."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

_TIMEOUT_SECONDS = 10
_ANSWER_BYTES_MAX = 1 << 20


def status(
    url: Annotated[str, typer.Option(help="Where the server listens.")] = "http://localhost:8080",
) -> None:
    """Show whether a server is ready. Exit status 1 when it is not, or does not answer."""
    base = url.rstrip("/")
    try:
        ready, reason = _get(f"{base}/ready")
        _, services = _get(f"{base}/services")
    except (OSError, ValueError) as error:
        detail = getattr(error, "reason", error)
        print(f"{base} does not answer: {detail}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"{base}: {reason.decode(errors='replace').strip()}")
    _show_services(services)
    if ready != 200:
        raise typer.Exit(1)


def _get(url: str) -> tuple[int, bytes]:
    """Status and body, whatever the status. Raises OSError or ValueError (not a URL)."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("the URL must begin with http:// or https://")
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read(_ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        return error.code, error.read(_ANSWER_BYTES_MAX)


def _show_services(body: bytes) -> None:
    try:
        services = [(str(each["service"]), str(each["status"])) for each in json.loads(body)["services"]]
    except (ValueError, KeyError, TypeError):
        return  # something else answers there; /ready has said what it is
    table = Table("service", "status", box=None)
    for name, state in services:
        table.add_row(name, state)
    Console().print(table)
