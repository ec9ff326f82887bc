"""One ingester's sender over an ingester in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from mimir_rw._native import WriteBatch
from mimir_rw.components.distributor.breaker import CircuitBreaker
from mimir_rw.components.distributor.group_queue import GroupQueue, QueueBounds
from mimir_rw.components.distributor.metrics import DistributorMetrics
from mimir_rw.components.distributor.part import PartJob, PartOutcome, PushSource, Share
from mimir_rw.components.distributor.references import References
from mimir_rw.components.distributor.sender import IngesterSender
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.kit.trace import tracing
from mimir_rw.model.errors import Unavailable
from mimir_rw.rpc.contracts.ingester import PushResult
from tests.unit.components.distributor.ingesters import FakePeer, MemoryIngester
from tests.unit.tsdb.batches import KEY, START_MS, batch, up


class LoopClock:
    def now_ms(self) -> int:
        return START_MS

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Bed:
    def __init__(self, *, references: bool, bounds: QueueBounds, breaker: CircuitBreaker, timeout_s: float) -> None:
        self.ingester = MemoryIngester(key=KEY)
        self.peer = FakePeer(self.ingester)
        self.metrics = Metrics()
        self.tasks = TaskSupervisor()
        families = DistributorMetrics(
            metrics=self.metrics,
            discarded_samples=self.metrics.counters("d_total", "", ("reason", "user")),
            discarded_exemplars=self.metrics.counters("e_total", "", ("reason", "user")),
        )
        self.sender = IngesterSender(
            instance_id="i-1",
            peer=self.peer,
            queue=GroupQueue(bounds),
            breaker=breaker,
            references=References(entries_max=1000, tenants_max=10) if references else None,
            timeout_s=timeout_s,
            clock=LoopClock(),
            rng=seeded_rng(1),
            offload=InlineOffload(),
            tasks=self.tasks,
            metrics=families.sender("i-1"),
        )

    def offer(
        self, what: WriteBatch, share: Share | None = None, *, tenant: str = "t", key: bytes = KEY, wait_s: float = 5.0
    ) -> asyncio.Future[PartOutcome]:
        outcome: asyncio.Future[PartOutcome] = asyncio.get_running_loop().create_future()
        source = PushSource(tenant=tenant, batch=what, key=key)
        deadline_s = asyncio.get_running_loop().time() + wait_s
        self.sender.offer(PartJob(source, share or Share(), deadline_s=deadline_s, finished=outcome.set_result))
        return outcome

    async def store(self, *rows: tuple[str, int], tenant: str = "t") -> PushResult:
        """rows: instance and milliseconds after the start."""
        outcome = await self.offer(samples(*rows, tenant=tenant), tenant=tenant)
        assert isinstance(outcome, PushResult), outcome
        return outcome

    def stored(self) -> list[tuple[str, int]]:
        return [(dict(labels)["instance"], ts - START_MS) for _, labels, ts, _ in self.ingester.stored]


def samples(*rows: tuple[str, int], tenant: str = "t") -> WriteBatch:
    return batch(*(up(name, (START_MS + ms, float(ms))) for name, ms in rows), tenant=tenant)


@asynccontextmanager
async def bed(
    *,
    references: bool = True,
    bounds: QueueBounds | None = None,
    breaker: CircuitBreaker | None = None,
    timeout_s: float = 5.0,
) -> AsyncIterator[Bed]:
    made = Bed(
        references=references,
        bounds=bounds or QueueBounds(bytes_max=1 << 20, rows_max=1000),
        breaker=breaker or CircuitBreaker(failures_max=3, cooldown_s=60),
        timeout_s=timeout_s,
    )
    yield made
    made.sender.stop()
    await made.tasks.cancel()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def error(outcome: PartOutcome) -> str:
    assert isinstance(outcome, Unavailable), outcome
    return str(outcome)


async def test_labels_go_once() -> None:
    async with bed() as b:
        await b.store(("a", 1), ("b", 1))
        await b.store(("a", 2), ("b", 2), ("c", 2))
        await b.store(("c", 3), ("a", 3))
        assert b.peer.labelled_rows() == [[2], [1], [0]]
        assert b.stored() == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("c", 2), ("c", 3), ("a", 3)]


async def test_pushes_meanwhile_share_the_next_message_and_keep_their_order() -> None:
    async with bed() as b:
        b.peer.gate.clear()
        outcomes = [b.offer(samples(("a", 0)))]
        await settle()
        outcomes += [b.offer(samples(("a", n))) for n in (1, 2, 3)]
        await settle()
        assert len(b.peer.messages) == 1
        b.peer.gate.set()
        assert [await o for o in outcomes] == [PushResult(1)] * 4
        assert [len(parts) for parts in b.peer.messages] == [1, 3]
        assert b.stored() == [("a", n) for n in range(4)]


async def test_a_message_carries_the_trace_of_its_first_push() -> None:
    async with bed() as b:
        b.peer.gate.clear()
        outcomes = []
        for trace in ("first", "second", "third"):
            with tracing(trace):
                outcomes.append(b.offer(samples((trace, 1))))
            await settle()
        b.peer.gate.set()
        assert [await o for o in outcomes] == [PushResult(1)] * 3
        assert b.peer.traces == ["first", "second"]
        await b.store(("of nobody", 1))
        assert b.peer.traces[-1] == ""


async def test_unresolved_rows_come_again_with_labels_before_anything_else_of_the_tenant() -> None:
    async with bed() as b:
        await b.store(("a", 1), ("b", 1), ("c", 1))
        b.ingester.forget(2)
        b.peer.gate.clear()
        first = b.offer(samples(("a", 2), ("c", 2), ("b", 2)))
        await settle()
        second = b.offer(samples(("b", 3), ("a", 3)))
        b.peer.gate.set()
        assert await first == PushResult(3)
        assert await second == PushResult(2)
        assert b.peer.labelled_rows() == [[3], [0], [2], [0]]
        assert [s for s in b.stored() if s[0] == "a"] == [("a", 1), ("a", 2), ("a", 3)]
        assert b.sender._metrics.unresolved.value == 2


async def test_another_life_of_the_ingester_is_told_everything() -> None:
    async with bed() as b:
        await b.store(("a", 1))
        b.ingester.restart()
        await b.store(("a", 2))
        assert b.peer.labelled_rows() == [[1], [1]]


@pytest.mark.parametrize("speaks", [False, True])
async def test_without_references_labels_always_go(speaks: bool) -> None:
    async with bed(references=speaks) as b:
        b.peer.references = False
        await b.store(("a", 1))
        await b.store(("a", 2))
        assert b.peer.labelled_rows() == [[1], [1]]


async def test_refused_rows_are_named_by_their_place_in_the_batch_and_not_taken_as_known() -> None:
    async with bed() as b:
        await b.store(("a", 1))
        b.ingester.series_max = 2
        what = samples(("x", 2), ("a", 2), ("b", 2), ("c", 2), ("d", 2))
        outcome = await b.offer(what, Share(np.array([1, 2, 3, 4], dtype=np.uint32)))
        assert isinstance(outcome, PushResult)
        assert outcome.samples_stored == 2
        assert [r.rows.tolist() for r in outcome.rejections] == [[3, 4]]
        b.ingester.series_max = 10
        await b.store(("b", 3), ("c", 3), ("d", 3))
        assert b.peer.labelled_rows()[-1] == [2]


async def test_rows_refused_when_they_come_again_keep_their_numbers() -> None:
    async with bed() as b:
        await b.store(("a", 1), ("b", 1), ("c", 1))
        b.ingester.forget(3)
        b.ingester.series_max = 1
        outcome = await b.offer(samples(("x", 2), ("c", 2), ("b", 2)), Share(np.array([1, 2], dtype=np.uint32)))
        assert isinstance(outcome, PushResult)
        assert outcome.samples_stored == 1
        assert [r.rows.tolist() for r in outcome.rejections] == [[2]]


async def test_tenants_share_nothing_but_the_way() -> None:
    async with bed() as b:
        b.peer.gate.clear()
        outcomes = [b.offer(samples(("a", 1), tenant=name), tenant=name) for name in ("t", "u")]
        await settle()
        assert [len(parts) for parts in b.peer.messages] == [2]
        b.peer.gate.set()
        assert [await o for o in outcomes] == [PushResult(1)] * 2
        await b.store(("a", 2), tenant="u")
        assert b.peer.labelled_rows()[-1] == [0]


async def test_under_another_key_everything_is_sent_with_labels_until_it_is_known_again() -> None:
    async with bed() as b:
        await b.store(("a", 1))
        b.ingester.rekey(b"o" * 32)
        await b.store(("a", 2))
        assert b.peer.labelled_rows() == [[1], [0], [1]]
        assert b.stored() == [("a", 1), ("a", 2)]


async def test_the_queue_is_bounded() -> None:
    async with bed(bounds=QueueBounds(bytes_max=1 << 20, rows_max=2)) as b:
        b.peer.gate.clear()
        waiting = [b.offer(samples(("a", n))) for n in range(2)]
        assert "too much waits" in error(await b.offer(samples(("a", 3))))
        assert b.sender._metrics.queue_full.value == 1
        b.peer.gate.set()
        assert [await o for o in waiting] == [PushResult(1)] * 2
        await b.store(("a", 4))


async def test_a_peer_that_is_down_is_not_waited_for() -> None:
    async with bed() as b:
        b.peer.gate.clear()
        under_way = b.offer(samples(("a", 1)))
        await settle()
        waiting = b.offer(samples(("a", 2)))
        b.peer.healthy = False
        assert "cannot be reached" in error(await b.offer(samples(("a", 3))))
        b.peer.gate.set()
        assert await under_way == PushResult(1)
        assert "cannot be reached" in error(await waiting)


async def test_failures_open_the_breaker_and_a_probe_closes_it() -> None:
    async with bed(breaker=CircuitBreaker(failures_max=2, cooldown_s=0.0)) as b:

        def fault() -> None:
            raise Unavailable("connection lost")

        b.peer.fault = fault
        for n in range(2):
            assert "connection lost" in error(await b.offer(samples(("a", n))))
        await settle()
        b.peer.gate.clear()
        b.peer.fault = lambda: None
        probe = b.offer(samples(("a", 5)))
        await settle()
        assert "left alone" in error(await b.offer(samples(("a", 6))))
        b.peer.gate.set()
        assert await probe == PushResult(1)
        await b.store(("a", 7))


@pytest.mark.parametrize("back", ["connected anew", "in another life"])
async def test_an_ingester_that_is_back_is_not_left_alone(back: str) -> None:
    async with bed(breaker=CircuitBreaker(failures_max=1, cooldown_s=1000)) as b:

        def fault() -> None:
            raise Unavailable("connection lost")

        b.peer.fault = fault
        assert "connection lost" in error(await b.offer(samples(("a", 1))))
        b.peer.fault = lambda: None
        assert "left alone" in error(await b.offer(samples(("a", 2))))
        if back == "in another life":
            b.ingester.restart()
        else:
            b.peer.healthy = False
            assert "cannot be reached" in error(await b.offer(samples(("a", 3))))
            b.peer.healthy = True
        await b.store(("a", 4))


async def test_what_waits_too_long_is_not_sent() -> None:
    async with bed() as b:
        b.peer.gate.clear()
        first = b.offer(samples(("a", 1)))
        await settle()
        late = b.offer(samples(("a", 2)), wait_s=-1.0)
        b.peer.gate.set()
        assert await first == PushResult(1)
        assert "too slow" in error(await late)
        assert len(b.peer.messages) == 1


async def test_no_answer_in_time() -> None:
    async with bed(timeout_s=0.01) as b:
        b.peer.gate.clear()
        assert "no answer" in error(await b.offer(samples(("a", 1))))


async def test_stop_ends_what_waits_and_cancelling_what_is_on_the_way() -> None:
    async with bed() as b:
        b.peer.gate.clear()
        outcomes = [b.offer(samples(("a", 1)))]
        await settle()
        outcomes.append(b.offer(samples(("a", 2))))
        b.sender.stop()
        await b.tasks.cancel()
        assert [type(await o) for o in outcomes] == [Unavailable] * 2


async def test_one_encoding_for_all_that_are_sent_the_same() -> None:
    class Counting:
        def __init__(self, made: WriteBatch) -> None:
            self.made, self.encoded = made, 0

        def __getattr__(self, name: str) -> object:
            return getattr(self.made, name)

        def encode(self, rows: object = None, **more: object) -> bytes:
            self.encoded += 1
            return self.made.encode(rows, **more)  # type: ignore[arg-type]

    counting = Counting(samples(("a", 1), ("b", 1)))
    source = PushSource(tenant="t", batch=counting, key=KEY)  # type: ignore[arg-type]
    shares: Sequence[Share] = (Share(), Share(np.array([1], dtype=np.uint32)))
    for share in shares:
        assert len({source.full(share) for _ in range(3)}) == 1
    assert counting.encoded == 2
    assert source.full(replace(shares[0])) is not None


async def test_metadata_goes_where_the_share_says() -> None:
    async with bed() as b:
        what = batch(up("a", (START_MS, 1.0)), metadata=[(2, "up", "help", "")])
        assert isinstance(await b.offer(what, Share(metadata=False)), PushResult)
        assert b.ingester.metadata == []
        assert isinstance(await b.offer(what, Share(np.zeros(0, np.uint32), metadata=True)), PushResult)
        assert b.ingester.metadata == [("t", "up")]
        assert len(b.stored()) == 1
