"""The id that a request is known by, here and in the logs of every process that works for it."""

from __future__ import annotations

import re

from mimir_rw.api.exchange import Scope, find_header
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.trace import new_trace

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_NO_TRACE = b"0" * 32


def trace_of(scope: Scope, rng: Rng) -> str:
    """Of W3C's `traceparent`, else what `X-Request-Id` says, else a new one. Malformed headers are as if missing."""
    parent = _TRACEPARENT.fullmatch(find_header(scope, b"traceparent") or b"")
    if parent is not None and parent[1] != _NO_TRACE:
        return parent[1].decode()
    given = _REQUEST_ID.fullmatch(find_header(scope, b"x-request-id") or b"")
    return given[0].decode() if given is not None else new_trace(rng)
