"""What a process does to its interpreter and machine before it does anything else, and at its end."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

SWITCH_INTERVAL_S = 0.0005
_M_ARENA_MAX = -8


def tune() -> None:
    """Let the event loop take the GIL back from Python-heavy threads soon, and keep the C heap in few arenas.

    glibc gives each thread an arena of its own, which keeps freed memory for itself; kernels run in few threads and
    allocate large, so two arenas cost no time and less memory. Without glibc nothing happens.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def settle_heap() -> None:
    """Keep what the start has made out of the garbage collector's sight: a full collection that walks it holds the
    event loop for tens of milliseconds, and nearly all of it lives as long as the process."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def pid_file(path: str, pid: int) -> Iterator[None]:
    """Hold the process id in a file while the block runs; "" means no file. Raises OSError if it cannot be written."""
    if not path:
        yield
        return
    file = Path(path)
    file.write_text(f"{pid}\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def settle_streams() -> None:
    """Let go of what cannot be written to stdout and stderr any more, so that it is not the process's exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
