"""How long a node may be under suspicion before it counts as dead: shorter the more others confirm it. Pure."""

from __future__ import annotations

import math

from mimir_rw.kv.memberlist.settings import MemberlistSettings


class Suspicion:
    """One node's suspicion. `due` is when it counts as dead, in the time of `now`."""

    def __init__(self, origin: str, *, nodes: int, settings: MemberlistSettings, now: float) -> None:
        """nodes: how many the cluster has, this one included."""
        wanted = settings.suspicion_factor - 2
        self._wanted = wanted if nodes - 2 >= wanted else 0
        scale = max(1.0, math.log10(max(1, nodes)))
        self._least = settings.suspicion_factor * scale * settings.probe_interval_s
        self._most = settings.suspicion_max_factor * self._least
        self._began = now
        self._origins = {origin}
        self.confirmations = 0
        self.due = now + self._timeout()

    def confirm(self, origin: str) -> bool:
        """Count `origin` as one more that suspects; whether that was news."""
        if self.confirmations >= self._wanted or origin in self._origins:
            return False
        self._origins.add(origin)
        self.confirmations += 1
        self.due = self._began + self._timeout()
        return True

    def _timeout(self) -> float:
        if self._wanted < 1:
            return self._least
        part = math.log(self.confirmations + 1) / math.log(self._wanted + 1)
        seconds = self._most - (self._most - self._least) * part
        return max(math.floor(seconds * 1000) / 1000, self._least)
