"""The same work for many things, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_A_TIME = 16


async def in_parallel(items: Iterable[T], work: Callable[[T], Awaitable[R]], *, at_a_time: int = AT_A_TIME) -> list[R]:
    """The results, in the order of the items. The first error ends it all: what has not begun is not begun."""
    waiting = enumerate(items)
    found: dict[int, R] = {}

    async def draw() -> None:
        for number, item in waiting:
            found[number] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_a_time):
                group.create_task(draw())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return [found[number] for number in sorted(found)]
