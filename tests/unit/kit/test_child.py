import asyncio
import os
import sys
from pathlib import Path

import pytest

from mimir_rw.kit.child import ChildFailed, run_child

MODULE = "tests.unit.kit.child_work"


async def test_the_answer_comes_back() -> None:
    assert await run_child(MODULE, b"echo " + b"x" * 100_000) == b"echo " + b"x" * 100_000


@pytest.mark.parametrize(
    ("request_", "says"),
    [(b"crash", "killed by signal 9"), (b"raise", "what went wrong"), (b"exit", "status"), (b"hoard", "MemoryError")],
)
async def test_a_child_that_ends_badly_is_an_error_with_its_reason(request_: bytes, says: str) -> None:
    with pytest.raises(ChildFailed, match=says):
        await run_child(MODULE, request_)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def written(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def started(path: Path) -> int:
    while not written(path):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return int(written(path))


async def test_a_caller_that_is_cancelled_takes_the_child_with_it(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    caller = asyncio.ensure_future(run_child(MODULE, b"pid " + str(path).encode()))
    pid = await started(path)
    assert alive(pid)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not alive(pid)


async def test_a_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    code = (
        f"import asyncio; from mimir_rw.kit.child import run_child; asyncio.run(run_child({MODULE!r}, b'pid {path}'))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=environment)
    pid = await started(path)
    parent.kill()
    await parent.wait()
    for _ in range(500):
        if not alive(pid):
            break
        await asyncio.sleep(0.01)
    assert not alive(pid)
