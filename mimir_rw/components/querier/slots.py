"""How a querier spreads its slots over the query-schedulers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def spread_slots(schedulers: Sequence[tuple[str, bool]], slots: int) -> Mapping[str, int]:
    """Slots by address. schedulers: (address, in use), sorted.

    Those in use share `slots`, the first ones getting what does not divide, and each at least one; the others get one
    each, because a frontend with an older or newer view of the cluster may have put a query there.
    """
    used = [address for address, in_use in schedulers if in_use]
    share, rest = divmod(slots, len(used)) if used else (0, 0)
    spread = {address: 1 for address, _ in schedulers}
    for number, address in enumerate(used):
        spread[address] = max(1, share + (number < rest))
    return spread
