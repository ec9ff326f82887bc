"""What one ingester is known to hold: label hashes by tenant, so that its rows can go without labels.

Only a guess: being wrong costs a round trip. It is forgotten when the ingester's process is another one, and for a
tenant when the series key is another one. Changed on the event loop; the sets themselves may be read in threads.
"""

from __future__ import annotations

from mimir_rw._native import SentSeries


class References:
    __slots__ = ("_entries_max", "_epoch", "_sets", "_tenants_max")

    def __init__(self, *, entries_max: int, tenants_max: int) -> None:
        """entries_max: series kept of each tenant."""
        self._entries_max = entries_max
        self._tenants_max = tenants_max
        self._epoch = ""
        self._sets: dict[str, tuple[bytes, SentSeries]] = {}
        """Series key and set, the longest unused tenant first."""

    def sent(self, tenant: str, *, epoch: str, key: bytes) -> SentSeries:
        """The tenant's set as of this life of the ingester."""
        if epoch != self._epoch:
            self._sets.clear()
            self._epoch = epoch
        kept_key, kept = self._sets.pop(tenant, (key, None))
        if kept is None or kept_key != key:
            kept = SentSeries(entries_max=self._entries_max)
        while len(self._sets) >= self._tenants_max:
            del self._sets[next(iter(self._sets))]
        self._sets[tenant] = (key, kept)
        return kept

    def age(self) -> None:
        """Drop the series that nobody has asked about since this was last called."""
        for _, kept in self._sets.values():
            kept.age()

    def __len__(self) -> int:
        """Series kept, of all tenants."""
        return sum(len(kept) for _, kept in self._sets.values())
