"""Blocks that cannot be read as they are, and why. A damaged index sets the whole block aside for a while: questions
are answered at once then, and it is looked at again later, for it may have been mended. A damaged chunk is only named:
what does not need it is served. On the event loop only."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.components.store_gateway.headers import Block
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics

ASIDE_S = 300.0
NAMED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Damage:
    reason: str
    whole: bool
    since_s: float


class SetAside:
    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._damaged: dict[Block, _Damage] = {}
        self._log = get_logger(component="store-gateway")
        self._found = metrics.counter("mimir_rw_store_gateway_damage_total", "Reads of blocks that found damage.")
        metrics.gauges_read(
            "mimir_rw_store_gateway_blocks_damaged",
            "Blocks in which damage was found.",
            (),
            lambda: [((), float(len(self._damaged)))],
        )

    def add(self, block: Block, reason: str, *, whole: bool) -> None:
        self._found.inc()
        known = self._damaged.pop(block, None)
        if known is None or known.reason != reason:
            text = "a damaged block is set aside" if whole else "a block has damaged chunks"
            self._log.error(text, tenant=block[0], block=block[1], err=reason)
        self._damaged[block] = _Damage(reason, whole, self._clock.monotonic())
        if len(self._damaged) > NAMED_MAX:
            del self._damaged[next(iter(self._damaged))]

    def reason(self, block: Block) -> str | None:
        """Why the block is not to be read now."""
        damage = self._damaged.get(block)
        if damage is None or not damage.whole or self._clock.monotonic() - damage.since_s >= ASIDE_S:
            return None
        return damage.reason

    def well(self, block: Block) -> None:
        """Its index was read."""
        damage = self._damaged.get(block)
        if damage is not None and damage.whole:
            del self._damaged[block]
            self._log.info("a block that was damaged can be read", tenant=block[0], block=block[1])

    def forget(self, block: Block) -> None:
        self._damaged.pop(block, None)

    def of(self, tenant: str) -> tuple[tuple[str, str], ...]:
        """Blocks and reasons, by block."""
        return tuple(sorted((block[1], damage.reason) for block, damage in self._damaged.items() if block[0] == tenant))
