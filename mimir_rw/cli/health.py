"""`mimir-rw health`: is the server on this machine ready? For container health checks: starts in a few milliseconds.

usage: mimir-rw health [URL]     default http://127.0.0.1:8080
Exit status 0 when /ready answers 200; otherwise 1, with the reason on stderr.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

_DEFAULT = "http://127.0.0.1:8080"
_TIMEOUT_S = 4
_REASON_BYTES_MAX = 2048


def health(arguments: Sequence[str]) -> int:
    """The exit status."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: mimir-rw health [URL]", file=sys.stderr)
        return 2
    base = arguments[0] if arguments else _DEFAULT
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        print(f"mimir-rw: {base} is not a URL such as {_DEFAULT}", file=sys.stderr)
        return 2
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/ready")
        answer = connection.getresponse()
        reason = answer.read(_REASON_BYTES_MAX).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        print(f"mimir-rw: {base} does not answer: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if answer.status != 200:
        print(f"mimir-rw: {base} is not ready: {reason}", file=sys.stderr)
        return 1
    return 0
