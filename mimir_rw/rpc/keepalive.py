"""When to ask whether the other side still lives, and when to give it up. Pure: the caller tells the time.

Whatever arrives shows life. Silence brings a ping, sooner while calls are in flight; a ping that nothing follows ends
the connection. A process that was stopped, or is cut off, is so noticed after three seconds at most.

Having said nothing oneself brings a ping too: while a large message is on its way, the other side's own pings and the
answers to them wait behind it, and it hears only what comes from here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeepaliveSettings:
    """Silence after which to ask; how long to wait for a sign of life then; between two looks."""

    busy_interval_s: float = 0.5
    idle_interval_s: float = 5.0
    ping_timeout_s: float = 2.25
    tick_s: float = 0.25


class Verdict(enum.Enum):
    QUIET = "quiet"
    PING = "ping"
    DEAD = "dead"


class Keepalive:
    __slots__ = ("_asked_s", "_heard_s", "_looked_s", "_said_s", "_settings")

    def __init__(self, settings: KeepaliveSettings, now_s: float) -> None:
        self._settings = settings
        self._heard_s = now_s
        self._said_s = now_s
        self._looked_s = now_s
        self._asked_s: float | None = None

    def heard(self, now_s: float) -> None:
        """Something arrived."""
        self._heard_s = now_s
        self._asked_s = None

    def said(self, now_s: float) -> None:
        """Something was sent."""
        self._said_s = now_s

    def silent_s(self, now_s: float) -> float:
        """How long nothing has arrived."""
        return now_s - self._heard_s

    def look(self, now_s: float, *, busy: bool) -> Verdict:
        """To be asked every `tick_s`. busy: calls are in flight, or a message is arriving."""
        settings = self._settings
        late = now_s - self._looked_s >= 2 * settings.tick_s
        self._looked_s = now_s
        if self._asked_s is None:
            quiet_s = now_s - min(self._heard_s, self._said_s)
            if quiet_s < (settings.busy_interval_s if busy else settings.idle_interval_s):
                return Verdict.QUIET
        elif not late:
            return Verdict.DEAD if now_s - self._asked_s >= settings.ping_timeout_s else Verdict.QUIET
        # Late with a ping unanswered: this process was held up itself, and the answer may be waiting to be read.
        self._asked_s = now_s
        return Verdict.PING
