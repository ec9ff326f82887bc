"""A module for `kit.child`: does what it is told."""

from __future__ import annotations

import os
import signal
import sys

from mimir_rw.kit.child import child_main, limit_process


def work(request: bytes) -> bytes:
    word = request.split()[0]
    if word == b"echo":
        return request.strip()
    if word == b"crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"raise":
        raise ValueError("what went wrong")
    if word == b"hoard":
        limit_process(address_bytes=300 << 20, nice=1)
        return b"%d" % len(bytearray(1 << 30))
    if word == b"pid":
        path = request.split()[1].decode()
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        signal.pause()
    sys.exit(7)


if __name__ == "__main__":
    child_main(work)
