"""Odd requests are answered as Prometheus answers them: status, kind and text of errors, data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.peers import REFERENCE, give, reference_binary, start_ours, start_prometheus, version_of
from tests.differential.requests import WRITTEN, Odd, groups
from tests.e2e.processes import Process

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

GROUPS = dict(groups())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Process]]:
    binary = reference_binary()
    if version_of(binary) < REFERENCE:
        pytest.skip("an older Prometheus has other rules")
    directory = tmp_path_factory.mktemp("requests")
    ours = start_ours(directory / "ours")
    try:
        theirs = start_prometheus(directory / "theirs", binary)
    except BaseException:
        ours.kill()
        raise
    give(ours, "/api/v1/push", WRITTEN)
    give(theirs, "/api/v1/write", WRITTEN)
    yield ours, theirs
    ours.kill()
    theirs.kill()


@pytest.mark.parametrize("group", GROUPS)
def test_odd_requests(pair: tuple[Process, Process], group: str) -> None:
    ours, theirs = pair
    different: list[tuple[Odd, object, object]] = []
    for odd in GROUPS[group]:
        mine, other = odd.ask(ours, "/prometheus"), odd.ask(theirs, "")
        if mine != other:
            different.append((odd, mine, other))
    assert not different, f"{len(different)} of {len(GROUPS[group])}; the first: {different[:5]}"
