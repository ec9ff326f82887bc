"""The last messages that were sent and received, for the page."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from mimir_rw.kv.memberlist.pairs import Pair


@dataclass(frozen=True, slots=True)
class Passed:
    """A key-value pair that went by. id: counts all messages. version: of the key here, after it. changes: the entries
    that were news."""

    id: int
    time_ms: int
    size: int
    pair: Pair
    version: int
    changes: tuple[str, ...]


class MessageHistory:
    """Keeps the newest messages whose bytes together stay within the bound."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._messages: deque[Passed] = deque()
        self._size = 0

    @property
    def wanted(self) -> bool:
        return self._bytes_max > 0

    def add(self, message: Passed) -> None:
        self._messages.append(message)
        self._size += message.size
        while self._size > self._bytes_max and self._messages:
            self._size -= self._messages.popleft().size

    def clear(self) -> None:
        self._messages.clear()
        self._size = 0

    def messages(self) -> tuple[Passed, ...]:
        return tuple(self._messages)
