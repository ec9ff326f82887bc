from __future__ import annotations

import asyncio
import itertools

import pytest

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.model.errors import Internal, Unavailable
from mimir_rw.objstore import retry
from mimir_rw.objstore.retry import Retrier
from mimir_rw.testing.clock import SimClock
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.trace import Trace


@pytest.fixture
def loop():
    made = SimLoop(trace=Trace())
    yield made
    made.close()


def retrier(loop: SimLoop, retries: int = 5):
    repeated = Metrics().counters("mimir_rw_x_total", "", ("operation",))
    return Retrier(retries=retries, clock=SimClock(loop=loop), rng=seeded_rng(1), repeated=repeated), repeated


def failing(times: int, error: Exception, tries: list[float]):
    async def call() -> str:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) <= times:
            raise error
        return "done"

    return call


def test_what_may_pass_is_tried_again_after_growing_pauses(loop):
    made, repeated = retrier(loop)
    tries: list[float] = []
    assert loop.run_until_complete(made.run("get", failing(4, Unavailable("x"), tries))) == "done"
    pauses = [b - a for a, b in itertools.pairwise(tries)]
    for n, pause in enumerate(pauses):
        assert 0.5 * retry.PAUSE_S * 2**n <= pause <= retry.PAUSE_S * 2**n
    assert repeated.labels("get").value == 4


def test_it_ends(loop):
    made, _ = retrier(loop, retries=2)
    tries: list[float] = []
    with pytest.raises(Unavailable):
        loop.run_until_complete(made.run("get", failing(9, Unavailable("x"), tries)))
    assert len(tries) == 3


def test_patience_ends(loop):
    made, _ = retrier(loop, retries=100)
    tries: list[float] = []
    with pytest.raises(Unavailable):
        loop.run_until_complete(made.run("get", failing(999, Unavailable("x"), tries)))
    assert tries[-1] - tries[0] <= retry.PATIENCE_S
    assert 20 < len(tries) < 100


def test_other_errors_are_raised_at_once(loop):
    made, _ = retrier(loop)
    tries: list[float] = []
    with pytest.raises(Internal):
        loop.run_until_complete(made.run("get", failing(9, Internal("x"), tries)))
    assert len(tries) == 1
