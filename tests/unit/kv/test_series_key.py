import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.contract import CodecError
from mimir_rw.kv.series_key import KEY_BYTES, NO_KEY, STORE_KEY, SeriesKey, SeriesKeyCodec, SeriesKeyService
from mimir_rw.model.errors import Unavailable

CODEC = SeriesKeyCodec()


def key(number: int, created_ms: int) -> SeriesKey:
    return SeriesKey(f"{number:016x}", bytes([number]) * KEY_BYTES, created_ms)


class Store:
    """A KV of one process; `fail` is how many calls find it unreachable."""

    def __init__(self, value: SeriesKey | None = None, fail: int = 0) -> None:
        self.value = value
        self.fail = fail
        self.changed = asyncio.Event()

    def put(self, value: SeriesKey) -> None:
        self.value = CODEC.merge(self.value, value, local_cas=False, now_s=0)[0]
        self.changed.set()

    async def get(self, name: str) -> SeriesKey | None:
        assert name == STORE_KEY
        if self.fail:
            self.fail -= 1
            raise Unavailable("no store")
        return self.value

    async def cas(self, name: str, change: Callable[[SeriesKey | None], SeriesKey | None]) -> None:
        new = change(self.value)
        if new is not None:
            self.put(new)

    async def watch(self, name: str) -> AsyncIterator[SeriesKey]:
        while True:
            self.changed.clear()
            if self.value is not None:
                yield self.value
            await self.changed.wait()


class Clock:
    def now_ms(self) -> int:
        return 1_000

    def monotonic(self) -> float:
        return 0.0


def service(store: Store, *, joined: Callable[[], bool] = lambda: True, wait_s: float = 60.0) -> SeriesKeyService:
    return SeriesKeyService(
        kv=store, clock=Clock(), secret=lambda size: b"\x07" * size, joined=joined, join_wait_s=wait_s
    )


async def run(made: SeriesKeyService) -> asyncio.Task[None]:
    living = asyncio.create_task(made.live())
    assert await made.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING
    return living


async def test_a_key_that_is_there_is_used():
    made = service(Store(key(3, 5)))
    living = await run(made)
    assert made.current() == key(3, 5)
    made.request_stop()
    await living


async def test_without_one_a_key_is_proposed():
    store = Store()
    made = service(store)
    living = await run(made)
    assert made.current() == store.value == SeriesKey("07" * 8, b"\x07" * 32, 1_000)
    made.request_stop()
    await living


async def test_nothing_is_proposed_before_others_have_been_heard():
    joined = False
    store = Store()
    made = service(store, joined=lambda: joined)
    living = asyncio.create_task(made.live())
    await asyncio.sleep(0.05)
    assert made.state is ServiceState.STARTING
    store.put(key(9, 3))
    await made.wait_state(ServiceState.RUNNING)
    assert made.current() == key(9, 3)
    made.request_stop()
    await living


async def test_a_process_that_hears_nobody_goes_on_by_itself():
    made = service(Store(), joined=lambda: False, wait_s=0.0)
    living = await run(made)
    assert made.current().id
    made.request_stop()
    await living


async def test_an_older_key_takes_over_and_is_told():
    store = Store(key(3, 500))
    made = service(store)
    told: list[SeriesKey] = []
    made.on_new_key(told.append)
    living = await run(made)
    store.put(key(4, 900))  # younger
    store.put(key(2, 100))
    for _ in range(5):
        await asyncio.sleep(0)
    assert made.current() == key(2, 100)
    assert told == [key(2, 100)]
    made.request_stop()
    await living


async def test_a_store_that_cannot_be_reached_is_tried_again(monkeypatch):
    monkeypatch.setattr("mimir_rw.kv.series_key._RETRY_S", 0.0)
    made = service(Store(key(3, 5), fail=3))
    living = await run(made)
    assert made.current() == key(3, 5)
    made.request_stop()
    await living


KEYS = st.builds(key, st.integers(0, 255), st.integers(0, 2**50))


@given(st.lists(KEYS, max_size=6), st.randoms())
def test_the_order_of_arrival_does_not_matter(keys, random):
    def merged(order):
        value = None
        for each in order:
            value, change = CODEC.merge(value, each, local_cas=False, now_s=0)
            assert change is None or change == value == each
        return value

    shuffled = list(keys)
    random.shuffle(shuffled)
    assert merged(keys) == merged(shuffled)
    if keys:
        assert merged(keys) == min(keys, key=lambda each: (each.created_ms, each.id))


@given(KEYS)
def test_a_key_survives_the_way_through_bytes(value):
    assert CODEC.decode(CODEC.encode(value)) == value


def test_no_key_is_empty_bytes():
    assert CODEC.encode(NO_KEY) == b""
    assert CODEC.decode(b"") == NO_KEY
    assert CODEC.is_empty(NO_KEY)
    assert CODEC.merge(key(1, 1), NO_KEY, local_cas=True, now_s=0) == (key(1, 1), None)


@given(st.binary(max_size=80))
def test_decoding_is_total(data):
    with contextlib.suppress(CodecError):
        CODEC.decode(data)


@pytest.mark.parametrize("value", [SeriesKey("ab", b"1" * 32, 1), SeriesKey("0" * 16, b"short", 1)])
def test_a_key_of_the_wrong_size_is_refused(value):
    with pytest.raises(CodecError):
        CODEC.decode(CODEC.encode(value))


def test_pages_do_not_show_the_secret():
    assert CODEC.show(key(1, 7)) == {"id": "0000000000000001", "created_ms": 7}
