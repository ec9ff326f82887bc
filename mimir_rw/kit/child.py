"""A piece of work in a process of its own: bounded in memory, and never outliving whoever asked for it.

    parent                                child: python -m MODULE
    run_child ── request on stdin ──────► child_main(work)
              ◄── answer on stdout ──────

The child's stdin stays open until the parent has the answer. When it closes (the caller was cancelled, or the parent
died) the child ends at once, wherever it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
import threading
import traceback
from collections.abc import Callable

ANSWER_BYTES_MAX = 16 << 20
_STDERR_BYTES = 2000


class ChildFailed(Exception):
    """The child ended without an answer: it crashed, was killed, or hit its bound. The text says how."""


async def run_child(module: str, request: bytes) -> bytes:
    """What `child_main` of the module answers. Raises ChildFailed. The request is one line."""
    assert b"\n" not in request
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,  # a terminal's signals are for the parent, which ends the child in its own order
        limit=ANSWER_BYTES_MAX,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.get_running_loop().create_task(process.stderr.read())
    try:
        process.stdin.write(request + b"\n")
        answer = await process.stdout.read()
        status = await process.wait()
        said = (await errors)[-_STDERR_BYTES:].decode(errors="replace").strip()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        errors.cancel()
        process.stdin.close()
    if status != 0:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise ChildFailed(f"the process {how}{': ' + said if said else ''}")
    return answer


def child_main(work: Callable[[bytes], bytes]) -> None:
    """In the child: do the work for the request, and answer."""
    request = sys.stdin.buffer.readline()
    watcher = threading.Thread(target=_end_with_parent, daemon=True)
    watcher.start()
    status = 1
    try:
        sys.stdout.buffer.write(work(request))
        sys.stdout.buffer.flush()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)  # the watcher is in a read that nothing interrupts


def limit_process(*, address_bytes: int, nice: int) -> None:
    """In the child: bound its address space, let others have the processor first, and be what goes first when a machine
    or container runs out of memory."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = address_bytes if hard == resource.RLIM_INFINITY else min(address_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(nice)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def peak_memory_bytes() -> int:
    """The most that this process has held; 0 where the system does not say. (ru_maxrss would tell of the parent: it is
    carried over from before the exec.)"""
    try:
        with open("/proc/self/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0


def cpu_seconds() -> float:
    """That this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)
