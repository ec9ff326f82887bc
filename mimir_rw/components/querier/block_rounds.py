"""Who is asked for which blocks, round after round, until each block was answered once. Pure.

In a round every block that is still missing is asked of one replica; in the next one of another. A block that all of
its replicas were asked for in vain, or that is missing after the last round, fails the query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mimir_rw.model.errors import Unavailable

NAMED_MAX = 10


class BlockRounds:
    def __init__(self, replicas: Mapping[str, Sequence[str]], *, rounds_max: int) -> None:
        """replicas: ids of instances by block, those to ask first at the front."""
        self._replicas = {block: list(ids) for block, ids in replicas.items()}
        self._rounds_max = rounds_max
        self._missing = dict.fromkeys(replicas)
        self._reasons: dict[str, str] = {}
        self.rounds = 0

    @property
    def done(self) -> bool:
        return not self._missing

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(self._missing)

    def next(self) -> Mapping[str, Sequence[str]]:
        """Blocks by instance, for the next round. Raises Unavailable when there is nobody left to ask for one."""
        asked: dict[str, list[str]] = {}
        if self.rounds >= self._rounds_max:
            raise self._failed(self.missing)
        self.rounds += 1
        lost = []
        for block in self._missing:
            if self._replicas[block]:
                asked.setdefault(self._replicas[block].pop(0), []).append(block)
            else:
                lost.append(block)
        if lost:
            raise self._failed(lost)
        return {id: asked[id] for id in sorted(asked)}

    def answered(self, block: str) -> None:
        self._missing.pop(block, None)

    def refused(self, block: str, reason: str) -> None:
        self._reasons[block] = reason

    def _failed(self, blocks: Sequence[str]) -> Unavailable:
        reasons = dict.fromkeys(self._reasons[block] for block in blocks if block in self._reasons)
        named = " ".join(blocks[:NAMED_MAX]) + (
            f" and {len(blocks) - NAMED_MAX} more" if len(blocks) > NAMED_MAX else ""
        )
        why = f" ({'; '.join(list(reasons)[:3])})" if reasons else ""
        return Unavailable(f"failed to fetch some blocks: {named}{why}", error_id="store-consistency-check-failed")
