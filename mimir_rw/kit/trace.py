"""Which request a task works for: an id that follows it through tasks, log lines and calls to other processes.

A task has the id of the one that started it. What outlives the request that happened to start it (a connection, say)
runs `untraced`.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

from mimir_rw.kit.rng import Rng

_CURRENT: contextvars.ContextVar[str] = contextvars.ContextVar("mimir_rw_trace", default="")


def current_trace() -> str:
    """Empty where no request is worked for."""
    return _CURRENT.get()


@contextmanager
def tracing(trace_id: str) -> Iterator[None]:
    """Work for this request in the block, and in the tasks that it starts."""
    token = _CURRENT.set(trace_id)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def untraced() -> contextvars.Context:
    """For a task or callback that belongs to no request."""
    context = contextvars.copy_context()
    context.run(_CURRENT.set, "")
    return context


def new_trace(rng: Rng) -> str:
    """32 hexadecimal digits, as in W3C's trace context."""
    return f"{rng.randrange(1 << 128):032x}"
