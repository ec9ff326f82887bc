"""Programs that tests talk to in lines: a real member of gossip, and a peer written from the specification alone."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.processes import free_port

WAIT_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


class Program:
    """A program that tells in lines of JSON what it knows and is told in lines what to do."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log.open("wb")
        self._popen = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.last: Any = None
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def until(self, what: str, holds: Callable[[Any], bool]) -> Any:
        """Read on until `holds` is true of what the program tells."""
        deadline = time.monotonic() + WAIT_S
        while self.last is None or not holds(self.last):
            try:
                self.last = json.loads(self._lines.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"waited in vain until {what}; last: {self.last}") from None
        return self.last

    def end(self) -> int:
        return self._popen.wait(timeout=WAIT_S)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()
        self._log.close()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._lines.put(line)


def gossip_peer(place: Path, name: str, *, label: str, join: int) -> Program:
    """The peer from the specification, on its way into the cluster of whoever listens on that port."""
    script = str(ROOT / "tests" / "e2e" / "gossip_peer.py")
    return Program([sys.executable, script, str(free_port()), name, label, str(join)], place / f"{name}.log")
