"""A bounded share of the fuzz run of the parser; `python -m tests.fuzz.promql_text` runs longer."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from tests.differential.peers import REFERENCE, reference_binary, start_prometheus, version_of
from tests.fuzz.promql_text import Reference, check, check_growth, steps, texts, told_otherwise

ROUNDS = 40_000
GROWN = 400
ASKED = 4_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_texts() -> None:
    trees = sum(check(text) for text in itertools.islice(texts(1), ROUNDS))
    assert trees > ROUNDS // 4


@pytest.mark.timeout(300)
def test_steps_grow_with_the_text() -> None:
    rng = random.Random(1)
    for text in itertools.islice(texts(2), GROWN):
        check_growth(rng, text)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_texts_are_formatted_and_refused_as_by_prometheus(tmp_path: Path) -> None:
    binary = reference_binary()
    if version_of(binary) < REFERENCE:
        pytest.skip("an older Prometheus has other rules")
    process = start_prometheus(tmp_path, binary)
    try:
        reference = Reference(process.port)
        found = [told_otherwise(text, reference) for text in itertools.islice(texts(3), ASKED)]
    finally:
        process.kill()
    assert not any(found), "\n".join(filter(None, found))


@pytest.mark.parametrize(
    "form",
    ["{} + foo", "abs({})", "({})", "sum by (a) ({} + foo)", "abs(last_over_time(({})[5m:]))", "topk(1, {})"],
)
def test_steps_grow_with_the_height(form: str) -> None:
    """Each level costs the same steps at any height. (Signs are short: a hundred of them are still one line.)"""
    counts = []
    for height in (24, 48, 96):
        text = "foo"
        for _ in range(height // form.count("(") if "(" in form else height):
            text = form.format(text)
        counts.append(steps(text))
    assert counts[2] - counts[1] <= 2.2 * (counts[1] - counts[0]) + 200
