"""The console script: `mimir-rw -flag…` is a server, `mimir-rw command…` a command.

Each side imports only what it needs: a server never loads the terminal libraries, a command never the server.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_USAGE = """\
mimir-rw stores Prometheus metrics for a long time and for many tenants.

Start a server, with everything in one process:
  mimir-rw -target=all
  mimir-rw -target=all -config.file=mimir.yaml
  mimir-rw -help              the flags of a server

Or run a command:
  mimir-rw help               the commands
"""


def main(argv: Sequence[str] | None = None) -> int:
    """argv: without the program's name; the process's own by default. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print(_USAGE, end="")
        return 0
    if arguments[0].startswith("-"):
        from mimir_rw.app.main import main as serve

        return serve(arguments)
    if arguments[0] == "health":
        from mimir_rw.cli.health import health

        return health(arguments[1:])
    from mimir_rw.cli.commands import run_command

    return run_command(arguments)
