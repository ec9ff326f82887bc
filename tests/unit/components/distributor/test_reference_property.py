"""Series references change nothing: any interleaving of pushes, with an ingester that forgets, restarts, changes its
key and answers late or not at all, stores the same samples in the same order with the same outcomes as without.

What is lost is a message or an answer of a certain push, in both runs the same. Of a push that failed, parts may have
been stored in either; it is not compared but for its order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw._native import WriteBatch, decode_batch
from mimir_rw.components.distributor.breaker import CircuitBreaker
from mimir_rw.components.distributor.group_queue import QueueBounds
from mimir_rw.components.distributor.part import PartOutcome
from mimir_rw.model.errors import MimirError, Unavailable
from mimir_rw.rpc.contracts.ingester import EncodedPart, PushResult
from tests.unit.components.distributor.ingesters import MemoryIngester
from tests.unit.components.distributor.test_sender import Bed
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

OTHER_KEY = bytes(reversed(KEY))
TENANTS = ("t", "u")
SERIES = ("a", "b", "c", "d", "e")


@dataclass(frozen=True)
class Push:
    """pause: turns of the loop before the next one. turns: of the loop that its answer takes. before: what becomes of
    the ingester just before it is asked for the first time. lost: what of its first message is."""

    tenant: str
    series: tuple[str, ...]
    pause: int
    turns: int
    before: str
    lost: str
    key: bytes


PUSHES = st.lists(
    st.builds(
        Push,
        tenant=st.sampled_from(TENANTS),
        series=st.lists(st.sampled_from(SERIES), min_size=1, max_size=4).map(tuple),
        pause=st.integers(0, 12),
        turns=st.integers(0, 6),
        before=st.sampled_from(["", "", "", "forget one", "forget all", "restart", "rekey"]),
        lost=st.sampled_from(["", "", "", "", "request", "answer"]),
        key=st.sampled_from([KEY, KEY, KEY, OTHER_KEY]),
    ),
    min_size=1,
    max_size=14,
)


@dataclass
class UnreliablePeer:
    """Does to each push what the push says, when the first message with it comes."""

    ingester: MemoryIngester
    pushes: Sequence[Push]
    seen: set[int] = field(default_factory=set)
    healthy: bool = True
    references: bool = True

    @property
    def epoch(self) -> str:
        return self.ingester.epoch

    async def push_encoded(self, parts: Sequence[EncodedPart], *, timeout_s: float) -> list[PushResult | MimirError]:
        new = [number for number in self._numbers(parts) if number not in self.seen]
        self.seen.update(new)
        for number in new:
            for _ in range(self.pushes[number].turns):
                await asyncio.sleep(0)
            self._break(self.pushes[number].before)
        lost = {self.pushes[number].lost for number in new}
        if "request" in lost:
            raise Unavailable("lost")
        results = self.ingester.push(parts)
        if "answer" in lost:
            raise Unavailable("lost")
        return results

    def _numbers(self, parts: Sequence[EncodedPart]) -> list[int]:
        """Of the pushes in a message: samples have the number of their push as their value."""
        batches = [decode_batch(part.payload, tenant=part.tenant, key=KEY) for part in parts]
        return sorted({int(value) for each in batches for _, value in each.row_samples(0)})

    def _break(self, how: str) -> None:
        if how == "forget one":
            self.ingester.forget(1)
        elif how == "forget all":
            self.ingester.forget()
        elif how == "restart":
            self.ingester.restart()
        elif how == "rekey":
            self.ingester.rekey(OTHER_KEY if self.ingester.key == KEY else KEY)


def samples_of(number: int, push: Push) -> WriteBatch:
    """A sample for each of its series, a series may repeat; times rise with the number of the push."""
    rows = [up(name, (START_MS + 10 * number + place, float(number))) for place, name in enumerate(push.series)]
    return batch(*rows, tenant=push.tenant, key=push.key)


async def run(pushes: Sequence[Push], *, references: bool, alone: bool) -> tuple[list[PartOutcome], MemoryIngester]:
    """alone: each push in a message of its own."""
    bed = Bed(
        references=references,
        bounds=QueueBounds(bytes_max=1 << 30, rows_max=1 << 30, message_bytes_max=1 if alone else 4 << 20),
        breaker=CircuitBreaker(failures_max=0, cooldown_s=0),
        timeout_s=5.0,
    )
    bed.sender._peer = UnreliablePeer(bed.ingester, pushes)
    waiting = []
    for number, push in enumerate(pushes):
        waiting.append(bed.offer(samples_of(number, push), tenant=push.tenant, key=push.key))
        for _ in range(push.pause):
            await asyncio.sleep(0)
    async with asyncio.timeout(30):
        outcomes = [await each for each in waiting]
    await bed.tasks.cancel()
    return outcomes, bed.ingester


Stored = dict[tuple[str, object], list[tuple[int, float]]]


def by_series(ingester: MemoryIngester, numbers: set[int]) -> Stored:
    """What pushes with these numbers left, in the order in which it came."""
    found: Stored = {}
    for tenant, labels, ts, value in ingester.stored:
        if int(value) in numbers:
            found.setdefault((tenant, labels), []).append((ts, value))
    return found


def succeeded(outcomes: Sequence[PartOutcome]) -> set[int]:
    return {number for number, outcome in enumerate(outcomes) if isinstance(outcome, PushResult)}


def check(pushes: Sequence[Push], *, alone: bool) -> None:
    plain, plain_ingester = asyncio.run(run(pushes, references=False, alone=alone))
    lean, lean_ingester = asyncio.run(run(pushes, references=True, alone=alone))
    assert [type(outcome) for outcome in lean] == [type(outcome) for outcome in plain]
    good = succeeded(plain)
    assert [plain[n] for n in good] == [lean[n] for n in good]
    assert by_series(lean_ingester, good) == by_series(plain_ingester, good)
    everything = set(range(len(pushes)))
    sent = by_series(plain_ingester, everything)
    for series, stored in by_series(lean_ingester, everything).items():
        assert stored == sorted(stored), "a later sample overtook an earlier one"
        assert set(stored) <= {(ts, value) for key, each in sent.items() if key == series for ts, value in each}


@settings(max_examples=300, deadline=None)
@given(PUSHES)
def test_references_change_nothing_whatever_is_lost(pushes: list[Push]) -> None:
    check(pushes, alone=True)


@settings(max_examples=300, deadline=None)
@given(PUSHES)
def test_references_change_nothing_when_pushes_share_messages(pushes: list[Push]) -> None:
    kept = [Push(p.tenant, p.series, p.pause, p.turns, p.before, "", p.key) for p in pushes]
    check(kept, alone=False)
