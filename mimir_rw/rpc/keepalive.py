"""When to ask whether the other side still lives, and when to give it up. Pure: the caller tells the time.

Whatever arrives shows life. Silence for `interval` brings a ping (a shorter interval while calls are in flight), and
silence for `health_timeout_s` in spite of a ping ends the connection.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeepaliveSettings:
    busy_interval_s: float = 1.0
    idle_interval_s: float = 5.0
    health_timeout_s: float = 3.0
    ping_timeout_s: float = 2.0
    """A ping is given at least this long to be answered."""
    tick_s: float = 0.5


class Verdict(enum.Enum):
    QUIET = "quiet"
    PING = "ping"
    DEAD = "dead"


class Keepalive:
    __slots__ = ("_asked_s", "_heard_s", "_looked_s", "_settings")

    def __init__(self, settings: KeepaliveSettings, now_s: float) -> None:
        self._settings = settings
        self._heard_s = now_s
        self._looked_s = now_s
        self._asked_s: float | None = None

    def heard(self, now_s: float) -> None:
        """Something arrived."""
        self._heard_s = now_s
        self._asked_s = None

    def look(self, now_s: float, *, busy: bool) -> Verdict:
        """To be asked every `tick_s`."""
        settings = self._settings
        late_s = now_s - self._looked_s - settings.tick_s
        self._looked_s = now_s
        if self._asked_s is None:
            if now_s - self._heard_s < (settings.busy_interval_s if busy else settings.idle_interval_s):
                return Verdict.QUIET
            self._asked_s = now_s
            return Verdict.PING
        if late_s > settings.tick_s:
            # This process was held up itself; the answer may lie in the socket unread.
            self._asked_s = max(self._asked_s, now_s - settings.tick_s)
            return Verdict.PING
        silent = now_s - self._heard_s >= settings.health_timeout_s
        if silent and now_s - self._asked_s >= settings.ping_timeout_s:
            return Verdict.DEAD
        return Verdict.QUIET
