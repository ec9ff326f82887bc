"""What happened in a simulated run, in order: a running hash of every event, and its text where someone reads it.

Two runs of one seed must leave the same hash. The text is off by default; the hash costs about a microsecond an event.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

_FOLD_EVENTS = 512


class Trace:
    """Events of one run. Bounded: the hash, and the last `tail_max` lines."""

    def __init__(self, *, write: Callable[[str], object] | None = None, tail_max: int = 0) -> None:
        """write: is given each line, with its line feed. tail_max: lines kept for `tail`."""
        self.events = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._lines: list[str] = []
        self._write = write
        self._tail: deque[str] = deque(maxlen=tail_max)

    def event(self, now_s: float, text: str) -> None:
        """Something happened at now_s (virtual seconds). text: the same in equal runs: no addresses of objects."""
        self.events += 1
        line = f"{now_s:.6f} {text}\n"
        self._lines.append(line)
        if len(self._lines) >= _FOLD_EVENTS:
            self._fold()

    def note(self, now_s: float, text: str) -> None:
        """For a reader of the text only; no part of the hash."""
        if self._write is not None or self._tail.maxlen:
            self._fold()
            self._show(f"{now_s:.6f} {text}\n")

    def digest(self) -> str:
        """Of every event so far, as hex."""
        self._fold()
        return self._hash.hexdigest()

    def tail(self) -> list[str]:
        self._fold()
        return list(self._tail)

    def _fold(self) -> None:
        lines, self._lines = self._lines, []
        self._hash.update("".join(lines).encode())
        if self._write is not None or self._tail.maxlen:
            for line in lines:
                self._show(line)

    def _show(self, line: str) -> None:
        self._tail.append(line)
        if self._write is not None:
            self._write(line)
