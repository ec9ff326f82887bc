"""What a question to several replicas fetches, counted once. Pure."""

from __future__ import annotations

from mimir_rw.rpc.contracts.ingester import Charge


class ReplicaCharges:
    """A zone holds each series once: what the zone that sent most so far has sent is charged, as it arrives."""

    def __init__(self, charge: Charge, *, copies: int = 1) -> None:
        """copies: how often a series may come within one zone, where ingesters are in none."""
        self._charge = charge
        self._copies = copies
        self._zones: dict[str, tuple[int, int]] = {}
        self._charged = (0, 0)

    def of(self, zone: str) -> Charge:
        """For what one ingester sends. Raises what the charge raises."""

        def charge(series: int, size: int) -> None:
            had = self._zones.get(zone, (0, 0))
            self._zones[zone] = had[0] + series, had[1] + size
            most = tuple(max(counts) // self._copies for counts in zip(*self._zones.values(), strict=True))
            more = most[0] - self._charged[0], most[1] - self._charged[1]
            if more != (0, 0):
                self._charged = most[0], most[1]
                self._charge(*more)

        return charge
