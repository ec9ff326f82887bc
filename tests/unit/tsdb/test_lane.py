from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from mimir_rw._native import AppendResult, WriteBatch
from mimir_rw.model.errors import Unavailable
from mimir_rw.tsdb.lane import Lane
from tests.unit.tsdb.batches import START_MS, batch, up


class Appender:
    """Records groups; each waits for `gate`."""

    def __init__(self) -> None:
        self.groups: list[list[WriteBatch]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, batches: Sequence[WriteBatch]) -> list[AppendResult]:
        self.groups.append(list(batches))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return list(batches)  # type: ignore[arg-type]  # each push gets its own batch back


@pytest.fixture
def appender() -> Appender:
    return Appender()


@pytest.fixture
async def lane(appender: Appender) -> AsyncIterator[Lane]:
    made = Lane(append=appender, waiting_batches_max=4, waiting_samples_max=100, group_samples_max=5)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()


def sized(n: int) -> WriteBatch:
    return batch(up("a", *((START_MS + i, 1.0) for i in range(n))))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_pushes_that_wait_become_one_group_in_order(lane: Lane, appender: Appender) -> None:
    batches = [sized(1) for _ in range(4)]
    pushes = [asyncio.ensure_future(lane.push(b)) for b in batches[:1]]
    await settle()
    pushes += [asyncio.ensure_future(lane.push(b)) for b in batches[1:]]
    await settle()
    appender.gate.set()
    assert await asyncio.gather(*pushes) == batches
    assert appender.groups == [batches[:1], batches[1:]]


async def test_a_group_is_closed_at_its_bound_but_takes_a_large_batch_alone(lane: Lane, appender: Appender) -> None:
    appender.gate.set()
    pushes = [asyncio.ensure_future(lane.push(sized(n))) for n in (3, 2, 9, 1)]
    await asyncio.gather(*pushes)
    assert [[b.sample_count for b in group] for group in appender.groups] == [[3, 2], [9], [1]]


async def test_a_failure_reaches_each_push_of_the_group_and_no_other(lane: Lane, appender: Appender) -> None:
    appender.error = Unavailable("disk")
    pushes = [asyncio.ensure_future(lane.push(sized(1))) for _ in range(2)]
    await settle()
    appender.gate.set()
    assert all(isinstance(r, Unavailable) for r in await asyncio.gather(*pushes, return_exceptions=True))
    appender.error = None
    await lane.push(sized(1))


async def test_too_much_waiting_is_refused(lane: Lane, appender: Appender) -> None:
    pushes = [asyncio.ensure_future(lane.push(sized(1)))]
    await settle()
    pushes += [asyncio.ensure_future(lane.push(sized(1))) for _ in range(4)]
    await settle()
    with pytest.raises(Unavailable):
        await lane.push(sized(1))
    appender.gate.set()
    await asyncio.gather(*pushes)
    await lane.push(sized(101))


async def test_a_push_that_leaves_does_not_hold_up_the_others(lane: Lane, appender: Appender) -> None:
    first, second = (asyncio.ensure_future(lane.push(sized(1))) for _ in range(2))
    await settle()
    first.cancel()
    appender.gate.set()
    await second


async def test_close_stores_what_waits_and_fail_does_not(lane: Lane, appender: Appender) -> None:
    first = asyncio.ensure_future(lane.push(sized(1)))
    await settle()
    second = asyncio.ensure_future(lane.push(sized(1)))
    await settle()
    lane.close("stopping")
    with pytest.raises(Unavailable, match="stopping"):
        await lane.push(sized(1))
    appender.gate.set()
    await lane.drained()
    assert first.done()
    assert second.done()
    other = Lane(append=appender)
    waiting = asyncio.ensure_future(other.push(sized(1)))
    await settle()
    other.fail("broken")
    with pytest.raises(Unavailable, match="broken"):
        await waiting
