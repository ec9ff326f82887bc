"""When to ask whether the other side still lives, and when to give it up. Pure: the caller tells the time.

Whatever arrives shows life. Silence brings a ping, sooner while calls are in flight; a ping that nothing follows ends
the connection. A process that was stopped, or is cut off, is so noticed after three seconds at most.

Having said nothing oneself brings a ping too: while a large message is on its way, the other side's own pings and the
answers to them wait behind it, and it hears only what comes from here.

A connection is looked at when there may be something to do, not at a fixed pace: what happens in between moves no
timer, and a look that comes too early finds out when the next one is due.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeepaliveSettings:
    """Silence after which to ask; how long to wait for a sign of life then. leeway_s: who asks may do so this much
    before the interval is over, so that each ping takes one look, and who was asked waits this much longer, so that
    one side asks and the other answers. late_s: a look that late says that this process was held up itself."""

    busy_interval_s: float = 0.7
    idle_interval_s: float = 5.0
    ping_timeout_s: float = 2.25
    leeway_s: float = 0.05
    late_s: float = 0.25


class Verdict(enum.Enum):
    QUIET = "quiet"
    PING = "ping"
    DEAD = "dead"


class Keepalive:
    __slots__ = ("_asked_s", "_heard_s", "_said_s", "_settings", "due_s")

    def __init__(self, settings: KeepaliveSettings, now_s: float) -> None:
        self._settings = settings
        self._heard_s = now_s
        self._said_s = now_s
        self._asked_s: float | None = None
        self.due_s = now_s + settings.busy_interval_s
        """When to look next."""

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

    def busy_from(self, now_s: float) -> bool:
        """A call is in flight, or a message is arriving: whether the next look is due sooner than it was."""
        soon_s = now_s + self._settings.busy_interval_s
        if self.due_s <= soon_s:
            return False
        self.due_s = soon_s
        return True

    def look(self, now_s: float, *, busy: bool) -> Verdict:
        """To be asked at `due_s`, which it moves on. busy: calls are in flight, or a message is arriving."""
        settings = self._settings
        late = now_s - self.due_s >= settings.late_s
        self.due_s = now_s + settings.busy_interval_s
        if self._asked_s is None:
            interval_s = settings.busy_interval_s if busy else settings.idle_interval_s
            ask_s = min(self._heard_s, self._said_s) + interval_s
            if ask_s - now_s > settings.leeway_s:
                self.due_s = ask_s + settings.leeway_s
                return Verdict.QUIET
        elif not late:
            dead_s = self._asked_s + settings.ping_timeout_s
            self.due_s = min(self.due_s, dead_s)
            return Verdict.DEAD if now_s >= dead_s else Verdict.QUIET
        # Late with a ping unanswered: this process was held up itself, and the answer may be waiting to be read.
        self._asked_s = now_s
        return Verdict.PING
