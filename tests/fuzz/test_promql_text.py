"""Mutated queries: whatever the text, the parser gives a tree that prints and reads back, or a ParseError."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.printer import format_expr, pretty

RECORDS = json.loads((Path(__file__).parents[1] / "golden" / "promql_parse" / "promql_parse.json").read_text())
CORPUS = [record["expr"] for record in RECORDS]
ALPHABET = "abeinostux_:019.eE+-*/%^=!~<>@#()[]{},\"'`\\ \n\t\0\u00e9\ufffd\ud800\U0001f600"
ROUNDS = 100_000


def _mutate(rng: random.Random, text: str) -> str:
    for _ in range(rng.randint(1, 4)):
        at, other = rng.randint(0, len(text)), rng.randint(0, len(text))
        match rng.randrange(5):
            case 0:
                text = text[:at] + rng.choice(ALPHABET) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(1, 4) :]
            case 2:
                text = text[:at] + text[other : other + 12] + text[at:]
            case 3:
                donor = rng.choice(CORPUS)
                text = text[:at] + donor[rng.randint(0, len(donor)) :]
            case _:
                text = text[:at] + text[at : at + 3] * rng.randint(2, 40) + text[at:]
    return text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mutated_queries() -> None:
    rng = random.Random(1)
    trees = 0
    for _ in range(ROUNDS):
        text = _mutate(rng, rng.choice(CORPUS))
        try:
            expr = parse_expression(text)
        except ParseError:
            continue
        trees += 1
        printed = format_expr(expr)
        assert format_expr(parse_expression(printed)) == printed, text
        parse_expression(pretty(expr))
    assert trees > ROUNDS // 20
