"""`mimir-rw up`: the three groups and the gateway on this machine; `mimir-rw nginx`: a gateway's configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from mimir_rw.app.process import pid_file
from mimir_rw.runner.gateway import GatewayOptions, gateway_config
from mimir_rw.runner.layout import Layout, read_write_layout
from mimir_rw.runner.local import Child, LocalCluster
from mimir_rw.runner.preflight import CannotStart, check, find_nginx
from mimir_rw.runner.table import children_view, first_steps


def up(
    data: Annotated[Path, typer.Option(help="Directory for data, logs and the gateway's files.")] = Path(".data"),
    port: Annotated[int, typer.Option(help="Port of the gateway.", min=1, max=65535)] = 8080,
    base_port: Annotated[
        int, typer.Option(help="HTTP port of the first process; calls listen 100 above, gossip 200 above.", min=1)
    ] = 8001,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    per_zone: Annotated[int, typer.Option(help="Write and backend processes in each zone.", min=1, max=10)] = 1,
    readers: Annotated[int, typer.Option(help="Read processes.", min=1, max=20)] = 2,
    flags: Annotated[list[str] | None, typer.Argument(help="After --: flags for every server.")] = None,
) -> None:
    """Run read, write (zones a, b, c), backend (zones a, b, c) and nginx on this machine until Ctrl-C."""
    layout = read_write_layout(
        data=data,
        gateway_port=port,
        base_port=base_port,
        host=host,
        per_zone=per_zone,
        readers=readers,
        extra_flags=flags or (),
    )
    nginx = find_nginx()
    try:
        check(layout, nginx=nginx)
        assert nginx is not None
        data.mkdir(parents=True, exist_ok=True)
        with pid_file(str(data / "mimir-rw.pid"), os.getpid()):
            asyncio.run(_live(layout, nginx))
    except CannotStart as error:
        for line in str(error).splitlines():
            print(f"mimir-rw: {line}", file=sys.stderr)
        raise typer.Exit(1) from None
    except OSError as error:
        print(f"mimir-rw: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        raise typer.Exit(1) from None


async def _live(layout: Layout, nginx: str) -> None:
    console = Console()
    view = _LiveTable(console) if console.is_terminal else _Lines()
    cluster = LocalCluster(layout=layout, nginx=nginx, changed=view.show)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, cluster.request_stop)
    with view:
        telling = loop.create_task(_tell_when_ready(cluster, view))
        try:
            await cluster.run()
        finally:
            telling.cancel()


async def _tell_when_ready(cluster: LocalCluster, view: _LiveTable | _Lines) -> None:
    await cluster.ready.wait()
    with contextlib.suppress(OSError):
        view.say(first_steps(cluster.layout))


class _LiveTable:
    """A table that is drawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> _LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def show(self, children: Sequence[Child]) -> None:
        self._live.update(children_view(children), refresh=True)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Lines:
    """A line for each change, where there is no terminal."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, children: Sequence[Child]) -> None:
        for child in children:
            text = child.state if child.state != "ended" else f"{child.state}: {child.detail.partition(';')[0]}"
            if self._states.get(child.name) != text:
                self._states[child.name] = text
                print(f"{child.name} ({child.address}): {text}", flush=True)

    def say(self, text: str) -> None:
        print(text, flush=True)


def nginx(
    write: Annotated[list[str], typer.Option(help="host:port of a write process; may be repeated.")],
    read: Annotated[list[str], typer.Option(help="host:port of a read process; may be repeated.")],
    backend: Annotated[list[str], typer.Option(help="host:port of a backend process; may be repeated.")],
    listen: Annotated[str, typer.Option(help="What nginx listens on.")] = "8080",
    tenant: Annotated[str, typer.Option(help='Tenant of requests that name none; "" sets none.')] = "anonymous",
    scratch: Annotated[str, typer.Option(help="Directory for large bodies; a tmpfs is best.")] = "/tmp",
) -> None:
    """Print the gateway's nginx.conf for these processes."""
    upstreams = {"read": read, "write": write, "backend": backend}
    options = GatewayOptions(
        listen=listen, upstreams=upstreams, tenant=tenant, scratch=scratch, pid=f"{scratch}/nginx.pid"
    )
    print(gateway_config(options), end="")
