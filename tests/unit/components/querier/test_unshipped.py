import asyncio

from mimir_rw.components.querier.unshipped import Unshipped
from mimir_rw.model.errors import Unavailable


class Clock:
    now_s = 1000.0

    def now_ms(self):
        return int(self.now_s * 1000)

    def monotonic(self):
        return self.now_s


class Ingester:
    def __init__(self, **times):
        self.times = times
        self.error = None

    async def only_here(self):
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.times


async def test_the_oldest_of_all_counts():
    one, other = Ingester(a=50, b=70), Ingester(a=30)
    unshipped = Unshipped(holders=lambda: [one, other], keep_s=100, clock=Clock())
    assert unshipped.oldest_ms("a") is None
    await unshipped.look()
    assert (unshipped.oldest_ms("a"), unshipped.oldest_ms("b"), unshipped.oldest_ms("c")) == (30, 70, None)


async def test_what_was_told_is_held_on_to_until_the_index_has_it():
    clock, ingester = Clock(), Ingester(a=30)
    unshipped = Unshipped(holders=lambda: [ingester], keep_s=100, clock=clock)
    await unshipped.look()
    ingester.times = {"a": 80}
    for now_s, oldest in ((1050, 30), (1099, 30), (1100, 80)):
        clock.now_s = now_s
        await unshipped.look()
        assert unshipped.oldest_ms("a") == oldest
    ingester.times = {}
    clock.now_s = 1201
    assert unshipped.oldest_ms("a") is None
    await unshipped.look()
    assert unshipped._told == {}


async def test_who_does_not_answer_is_asked_again():
    ingester, well = Ingester(a=30), Ingester(a=50)
    unshipped = Unshipped(holders=lambda: [ingester, well], keep_s=100, clock=Clock())
    ingester.error = Unavailable("gone")
    await unshipped.look()
    assert unshipped.oldest_ms("a") == 50
    ingester.error = None
    await unshipped.look()
    assert unshipped.oldest_ms("a") == 30
