"""The commands of `mimir-rw`, gathered from the modules that have them."""

from __future__ import annotations

from collections.abc import Sequence

import typer

import mimir_rw
from mimir_rw.cli.bucket import bucket_app
from mimir_rw.cli.bucket_place import split_server_flags
from mimir_rw.cli.config import config_app
from mimir_rw.cli.health import health
from mimir_rw.cli.promql import promql_app
from mimir_rw.cli.query import query
from mimir_rw.cli.status import status
from mimir_rw.cli.up import nginx, up

app = typer.Typer(
    name="mimir-rw",
    help="Commands around mimir-rw. A first argument that begins with - starts a server instead: see mimir-rw -help.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(bucket_app, name="bucket")
app.add_typer(config_app, name="config")
app.add_typer(promql_app, name="promql")
app.command()(status)
app.command()(query)
app.command()(up)
app.command()(nginx)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"mimir-rw {mimir_rw.__version__}")


@app.command(
    name="health", context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False
)
def show_health(context: typer.Context) -> None:
    """Say by the exit status whether the server of this machine is ready (for container health checks)."""
    raise typer.Exit(health(context.args))


@app.command(name="help")
def show_help(context: typer.Context) -> None:
    """Print this list."""
    assert context.parent is not None
    print(context.parent.get_help())


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; its exit status."""
    flags: list[str] = []
    if arguments and arguments[0] == "bucket":
        flags, arguments = split_server_flags(arguments)
    try:
        app(list(arguments), prog_name="mimir-rw", obj=flags)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return 0
