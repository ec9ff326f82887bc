"""A bounded number of random queries to the Prometheus there is; `python -m tests.differential.run` asks more.

The seeds are fixed: what another seed finds is not the fault of the change under test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.generator import requests
from tests.differential.peers import dialect_of, reference_binary
from tests.differential.run import Pair

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

QUERIES = 1000
SEEDS = (9021, 77)


@pytest.fixture(scope="module", params=["delayed", "eager"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory: Path = tmp_path_factory.mktemp("differential")
    running = Pair.start(directory, reference_binary(), delayed=request.param == "delayed")
    yield running
    running.stop()


@pytest.mark.parametrize("seed", SEEDS)
def test_random_queries_equal_prometheus(pair: Pair, seed: int) -> None:
    tally = pair.compare(requests(seed, range(QUERIES), dialect_of(pair.version)))
    assert tally.good(pair.version), f"seed {seed}: {tally.summary()}\n" + "\n".join(tally.different[:20])
    assert tally.answered > QUERIES / 4
