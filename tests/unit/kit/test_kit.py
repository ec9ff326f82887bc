import asyncio
import io
import json
import threading

import pytest

from mimir_rw.kit import logging as kit_logging
from mimir_rw.kit.metrics import Histogram, Metrics
from mimir_rw.kit.offload import InlineOffload, OffloadFull, ThreadOffload
from mimir_rw.kit.rate_limiter import TokenBucket
from mimir_rw.kit.tasks import TaskSupervisor


def test_bucket_starts_full_and_refills_up_to_burst():
    bucket = TokenBucket(rate=10, burst=20, now_s=0.0)
    assert bucket.allow(0.0, 20)
    assert not bucket.allow(0.0, 1)
    assert bucket.allow(0.1, 1)
    assert not bucket.allow(0.1, 1)
    assert bucket.tokens(100.0) == 20
    assert not bucket.allow(100.0, 21)
    assert bucket.allow(100.0, 20)


def test_bucket_ignores_a_clock_that_goes_back():
    bucket = TokenBucket(rate=10, burst=10, now_s=100.0)
    assert bucket.allow(100.0, 10)
    assert not bucket.allow(50.0, 1)
    assert not bucket.allow(100.0, 1)
    assert bucket.allow(100.2, 1)


def test_bucket_reconfigure_keeps_what_flowed_in():
    bucket = TokenBucket(rate=1, burst=100, now_s=0.0)
    assert bucket.allow(0.0, 100)
    bucket.reconfigure(rate=100, burst=5, now_s=3.0)
    assert bucket.tokens(3.0) == 3
    assert bucket.tokens(4.0) == 5


async def test_threads_return_results_and_raise_errors():
    pool = ThreadOffload(name="t", threads=2)
    assert await pool.run(lambda a, b: a + b, 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 / 0)
    assert await pool.run(threading.get_ident) != threading.get_ident()
    assert pool.pending == 0
    pool.close()
    assert await InlineOffload().run(threading.get_ident) == threading.get_ident()


async def test_a_full_pool_refuses():
    pool = ThreadOffload(name="t", threads=1, queue_max=1)
    gate = threading.Event()
    first = asyncio.ensure_future(pool.run(gate.wait))
    await asyncio.sleep(0)
    with pytest.raises(OffloadFull):
        await pool.run(int)
    gate.set()
    assert await first
    assert await pool.run(int) == 0
    pool.close()


async def test_cancelled_work_that_did_not_begin_is_skipped():
    pool = ThreadOffload(name="t", threads=1)
    gate = threading.Event()
    ran = []
    first = asyncio.ensure_future(pool.run(gate.wait))
    second = asyncio.ensure_future(pool.run(ran.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    gate.set()
    await first
    await pool.run(int)
    assert ran == []
    assert pool.pending == 0
    pool.close()


async def test_supervisor_reports_the_first_failure_and_cancels_the_rest():
    group = TaskSupervisor()
    group.spawn(asyncio.sleep(1000), name="sleeper")

    async def fail():
        raise ValueError("x")

    group.spawn(fail(), name="failing")
    assert str(await group.wait_failure()) == "x"
    await group.cancel()
    assert len(group) == 0


def test_metrics_text():
    metrics = Metrics()
    metrics.counter("cortex_a_total", "A.").value += 2
    metrics.gauges("cortex_b", "B.", ("user",)).labels("t1").set(1.5)
    hist = metrics.histogram("cortex_c_seconds", "C.", (0.1, 1, 1048576))
    hist.observe(0.1)
    hist.observe(5)
    metrics.gauges_read("cortex_d", "D.", ("x",), lambda: [(("1",), 7)])
    text = metrics.render().decode()
    for line in (
        "# TYPE cortex_a_total counter",
        "cortex_a_total 2.0",
        'cortex_b{user="t1"} 1.5',
        'cortex_c_seconds_bucket{le="0.1"} 1.0',
        'cortex_c_seconds_bucket{le="1"} 1.0',
        'cortex_c_seconds_bucket{le="1.048576e+06"} 2.0',
        'cortex_c_seconds_bucket{le="+Inf"} 2.0',
        "cortex_c_seconds_count 2.0",
        'cortex_d{x="1"} 7.0',
    ):
        assert line in text.splitlines()


def test_histogram_bounds_are_inclusive():
    hist = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5):
        hist.observe(value)
    assert hist.counts == [2, 1, 1]


def test_metric_names_are_registered_once():
    metrics = Metrics()
    metrics.counter("cortex_a_total", "A.")
    with pytest.raises(AssertionError, match="twice"):
        metrics.counter("cortex_a_total", "A.")


@pytest.fixture
def restore_logging():
    yield
    kit_logging.configure()


@pytest.mark.usefixtures("restore_logging")
def test_logfmt_lines_lead_with_ts_level_msg_and_never_break():
    out = io.StringIO()
    kit_logging.configure(stream=out)
    log = kit_logging.get_logger(component="x")
    log.warning("two words", tenant="a\nlevel=error\x1b", n=3)
    log.debug("hidden")
    line = out.getvalue()
    assert line.count("\n") == 1
    assert line.startswith("ts=")
    assert ' level=warn msg="two words" component=x tenant="a\\nlevel=error\\\\x1b" n=3' in line


@pytest.mark.usefixtures("restore_logging")
@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "disk full"), ValueError("closed file")])
def test_a_line_that_cannot_be_written_fails_nothing(error):
    class Broken(io.StringIO):
        def write(self, text):
            raise error

        def flush(self):
            raise error

    kit_logging.configure(stream=Broken())
    kit_logging.get_logger().error("the disk is full")


@pytest.mark.usefixtures("restore_logging")
def test_json_lines():
    out = io.StringIO()
    kit_logging.configure(level="debug", format="json", stream=out)
    kit_logging.get_logger().debug("hi", n=1)
    event = json.loads(out.getvalue())
    assert list(event) == ["ts", "level", "msg", "n"]
    assert event["level"] == "debug"
