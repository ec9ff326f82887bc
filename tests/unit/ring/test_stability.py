import asyncio

import pytest

from mimir_rw.ring.stability import wait_stable
from mimir_rw.testing.loop import SimLoop
from mimir_rw.testing.trace import Trace


class _View:
    def __init__(self):
        self.topology = object()


class _Ring:
    """Changes so many seconds after it was first looked at."""

    def __init__(self, *changes):
        self._changes, self._view = list(changes), _View()
        self._begin = None

    def view(self):
        now = asyncio.get_running_loop().time()
        self._begin = now if self._begin is None else self._begin
        now -= self._begin
        while self._changes and self._changes[0] <= now:
            self._changes.pop(0)
            self._view = _View()
        return self._view


async def _waited(ring, min_s, max_s):
    loop = asyncio.get_running_loop()
    begin = loop.time()
    return await wait_stable(ring, min_s=min_s, max_s=max_s), loop.time() - begin


@pytest.mark.parametrize(
    ("changes", "min_s", "max_s", "stable", "waited_s"),
    [
        pytest.param((), 0, 10, True, 0, id="not asked to wait"),
        pytest.param((), 5, 10, True, 5, id="at rest"),
        pytest.param((2,), 5, 10, True, 7, id="changed once"),
        pytest.param((2, 5, 8, 9), 4, 10, False, 10, id="keeps changing"),
    ],
)
def test_a_start_waits_for_a_ring_at_rest(changes, min_s, max_s, stable, waited_s):
    loop = SimLoop(trace=Trace())
    found, waited = loop.run_until_complete(_waited(_Ring(*changes), min_s, max_s))
    assert found is stable
    assert waited == pytest.approx(waited_s, abs=0.5)
