"""To be told of a ring's changes, but not of heartbeats."""

from __future__ import annotations

from collections.abc import Callable

from mimir_rw.ring.service import RingService
from mimir_rw.ring.view import RingView


def on_topology_change(ring: RingService, changed: Callable[[], None]) -> Callable[[], None]:
    """Call `changed` when someone comes or goes, or changes its state. What is returned ends it."""
    topology = ring.view().topology

    def look(view: RingView) -> None:
        nonlocal topology
        if view.topology is not topology:
            topology = view.topology
            changed()

    return ring.watch(look)
