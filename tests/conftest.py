"""Fixtures of the end-to-end tests: processes that are killed whatever happens. Properties have no deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from tests.e2e.processes import Process

settings.register_profile("without-a-clock", deadline=None)
settings.load_profile("without-a-clock")


@pytest.fixture
def keep() -> Iterator[Callable[[Process], Process]]:
    """Register a process to be killed at the end of the test."""
    kept: list[Process] = []

    def register(process: Process) -> Process:
        kept.append(process)
        return process

    yield register
    for process in kept:
        process.kill()
