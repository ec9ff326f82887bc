"""What must hold before a local cluster starts: all that is wrong is said at once, before anything starts."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from mimir_rw.runner.layout import Layout

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_NGINX_HINT = (
    "install it (Debian: apt-get install nginx; `make up` as root does it), or run one process: make up MODE=all"
)


class CannotStart(Exception):
    """The reasons, one a line."""


def find_nginx() -> str | None:
    """Path of the nginx binary; a user's PATH often lacks the directories for administrators."""
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), _SBIN)))


def check(layout: Layout, *, nginx: str | None, free: Callable[[str, int], str | None] | None = None) -> None:
    """Raises CannotStart. free: why a port cannot be taken, or None."""
    left = running_on(layout)
    if left:
        raise CannotStart(
            f"{', '.join(left)} of an earlier start run{'s' if len(left) == 1 else ''} on {layout.data}; "
            f"`make down DATA={layout.data}` stops what is left there"
        )
    reasons = [*_port_reasons(layout, free or port_reason)]
    if nginx is None:
        reasons.append(f"nginx is not installed; {_NGINX_HINT}")
    if reasons:
        raise CannotStart("\n".join(reasons))


def running_on(layout: Layout) -> list[str]:
    """What runs on the data directory already: two runners would take each other's files. Empty where there is no
    /proc to ask."""
    files = {"the runner": layout.data / "mimir-rw.pid"}
    files |= {node.name: layout.data / node.name / "pid" for node in layout.nodes}
    return [name for name, file in files.items() if _lives(file)]


def _lives(pid_file: Path) -> bool:
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    return b"mimir" in command


def _port_reasons(layout: Layout, free: Callable[[str, int], str | None]) -> Iterator[str]:
    wanted = [(layout.host, layout.gateway_port, "the gateway", "--port")]
    for node in layout.nodes:
        wanted += [(node.host, port, node.name, "--base-port") for port in node.ports]
    seen: dict[int, str] = {}
    for host, port, name, flag in wanted:
        if port in seen:
            yield f"port {port} is meant for {seen[port]} and for {name}; change --port or --base-port"
        elif (reason := free(host, port)) is not None:
            yield f"port {port} for {name} cannot be used: {reason}; stop what has it or choose another with {flag}"
        seen[port] = name


def port_reason(host: str, port: int) -> str | None:
    """Why a server cannot listen there, None when it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return "it is taken" if error.errno == errno.EADDRINUSE else (error.strerror or str(error))
        except OverflowError:
            return "ports end at 65535"
    return None
