"""`mimir-rw config`: look at configuration without starting anything."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from mimir_rw.app.modules import checked_components
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.load import load, read_bytes
from mimir_rw.config.runtime_config import read_settings

config_app = typer.Typer(help="Check configuration files.", no_args_is_help=True)


@config_app.callback()
def config() -> None:
    """Check configuration files."""


@config_app.command()
def check(
    file: Annotated[str, typer.Argument(help="Configuration file (YAML), as for -config.file.")],
    expand_env: Annotated[bool, typer.Option(help="Replace ${NAME} by environment variables.")] = False,
) -> None:
    """Say whether a server would start with FILE. Exit status 1, and one line naming file, line and key, if not."""
    flags = [f"-config.file={file}", f"-config.expand-env={'true' if expand_env else 'false'}"]
    try:
        loaded = load(flags, environment=os.environ, read=read_bytes)
        checked_components(loaded.config)
        runtime = read_settings(loaded.config, read_bytes)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    for warning in (*loaded.warnings, *(runtime.warnings if runtime is not None else ())):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{file}: ok")
