"""An id follows a request through tasks and log lines, and nothing else."""

import asyncio
import io

import pytest

from mimir_rw.kit import logging as kit_logging
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.tasks import TaskSupervisor
from mimir_rw.kit.trace import current_trace, new_trace, tracing


@pytest.fixture
def log_text():
    out = io.StringIO()
    kit_logging.configure(stream=out)
    yield out
    kit_logging.configure()


def test_lines_say_which_request_they_are_about(log_text):
    log = kit_logging.get_logger()
    with tracing("abc"):
        log.info("within", n=1)
    log.info("after")
    within, after = log_text.getvalue().splitlines()
    assert within.endswith("msg=within n=1 trace_id=abc")
    assert after.endswith("msg=after")


async def test_tasks_have_the_trace_of_whoever_starts_them_unless_they_outlive_it():
    async def look():
        return current_trace()

    tasks = TaskSupervisor()
    with tracing("abc"):
        own = tasks.spawn(look(), name="own")
        lasting = tasks.spawn(look(), name="lasting", traced=False)
    assert [await own, await lasting, current_trace()] == ["abc", "", ""]


async def test_requests_at_once_keep_theirs():
    async def work(trace):
        with tracing(trace):
            await asyncio.sleep(0)
            return current_trace()

    assert await asyncio.gather(work("a"), work("b")) == ["a", "b"]


def test_new_ones_are_32_digits_and_differ():
    rng = seeded_rng(1)
    made = {new_trace(rng) for _ in range(100)}
    assert len(made) == 100
    assert all(len(trace) == 32 and int(trace, 16) >= 0 for trace in made)
