"""The server's command line: flags and file to a checked configuration, which `wiring.run` then lives by.

Exit status: 0 after a stop in order and after -help, -help-all, -version, -modules and -print.config; 1 with one line
on stderr for a configuration that cannot be used; otherwise what `wiring.run` says.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

import mimir_rw
from mimir_rw.app.modules import checked_components, modules_text
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.flags import Arguments, parse_arguments
from mimir_rw.config.help import help_text
from mimir_rw.config.load import load_arguments, read_bytes, settings_by_flag
from mimir_rw.config.render import effective_yaml
from mimir_rw.config.runtime_config import read_settings
from mimir_rw.config.tree import Config
from mimir_rw.kit.logging import configure, get_logger


def _run(config: Config) -> int:
    # Imported where it is needed: -help and a bad configuration should not wait for a whole server to load.
    from mimir_rw.app.wiring import run

    return run(config)


def main(
    argv: Sequence[str], *, environment: Mapping[str, str] = os.environ, run: Callable[[Config], int] = _run
) -> int:
    """argv: without the program's name. Returns the exit status when the server has ended."""
    try:
        arguments = parse_arguments(argv, settings_by_flag())
        answer = _answer(arguments)
        if answer is not None:
            sys.stdout.write(answer)
            return 0
        loaded = load_arguments(arguments, environment=environment, read=read_bytes)
        checked_components(loaded.config)
        if arguments.asks("print.config"):
            sys.stdout.write(effective_yaml(loaded.config))
            return 0
        # A bad runtime file is said before anything starts; the service that follows the files reads them again.
        read_settings(loaded.config, read_bytes)
    except ConfigError as error:
        sys.stderr.write(f"mimir-rw: {error}\n")
        return 1
    server = loaded.config.server
    configure(level=server.log_level, format=server.log_format)
    for warning in loaded.warnings:
        get_logger(component="config").warning(warning)
    return run(loaded.config)


def _answer(arguments: Arguments) -> str | None:
    """What is printed instead of starting a server; it needs no configuration file."""
    if arguments.asks("help") or arguments.asks("h"):
        return help_text(everything=False)
    if arguments.asks("help-all"):
        return help_text(everything=True)
    if arguments.asks("version"):
        return f"mimir-rw, version {mimir_rw.__version__}\n"
    if arguments.asks("modules"):
        return modules_text()
    return None
