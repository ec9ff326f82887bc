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


class BlockCharges:
    """What blocks and ingesters send for one select: bytes as they come; of series, those of the source that sent most
    so far, since all of them may have the same ones."""

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._series: dict[str, int] = {}
        self._most = 0

    def add(self, source: str, series: int, size: int) -> None:
        """Raises what the charge raises."""
        of_source = self._series[source] = self._series.get(source, 0) + series
        more = max(0, of_source - self._most)
        self._most += more
        self._charge(more, size)

    def of(self, source: str) -> Charge:
        return lambda series, size: self.add(source, series, size)
