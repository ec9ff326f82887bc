"""A modest number of random queries to the Prometheus there is; `python -m tests.differential.run` asks more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.generator import Generator
from tests.differential.peers import REFERENCE, dialect_of, reference_binary, version_of
from tests.differential.run import Pair, generated

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

QUERIES = 1500


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    running = Pair.start(tmp_path_factory.mktemp("differential"), reference_binary())
    yield running
    running.stop()


@pytest.mark.parametrize("seed", [1, 2])
def test_random_queries_equal_prometheus(pair: Pair, seed: int) -> None:
    version = version_of(reference_binary())
    newest = version >= REFERENCE
    requests = generated(Generator(seed, dialect_of(version)), QUERIES)
    tally = pair.compare(requests, messages=newest, tolerance=1e-12 if newest else 1e-9)
    assert not tally.different, f"{tally.summary()}; the first: {tally.different[:3]}"
    assert tally.answered > QUERIES / 3
