"""Random query texts against the parser and the printer, as long as one likes.

    python -m tests.fuzz.promql_text --runs 1000000 --seed 7
    python -m tests.fuzz.promql_text --runs 20000 --reference .tools/prometheus

Grammar-aware texts are grown (`tests/differential/generator.py`) and damaged by words; others are mutated by characters
and bytes from recorded ones. Whatever the text is, the parser gives a tree that prints and reads back, or a ParseError
(`check`); and twice the text costs about twice the steps, which are counted, not timed (`check_growth`). With a
reference, its `/format_query` must give the same text or the same error.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from mimir_rw.promql import ast
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.printer import format_expr, pretty
from tests.differential.generator import Dialect, Generator

RECORDS = json.loads((Path(__file__).parents[1] / "golden" / "promql_parse" / "promql_parse.json").read_text())
CORPUS = [record["expr"] for record in RECORDS]
ALPHABET = "abeinostux_:019.eE+-*/%^=!~<>@#()[]{},\"'`\\ \n\t\0\u00e9\ufffd\ud800\U0001f600"
WORDS = (
    "sum", "by", "without", "(", ")", "{", "}", "[", "]", ":", ",", "foo", "a:b", '"s"', "'\\x41'", "`r`", "1",
    "0x1f", "5m", "1e3", "-", "+", "*", "/", "%", "^", "==", "!=", "=~", "!~", "=", "<", ">=", "</", ">/", "and",
    "or", "unless", "atan2", "bool", "on", "ignoring", "group_left", "group_right", "fill", "fill_left", "offset",
    "@", "start()", "end(", "step()", "range()", "max_of(", "min_of(", "anchored", "smoothed", "rate", "topk",
    "limitk", "count_values", "info", "inf", "NaN", "# c\n", "é", "\\", "$", "\n",
)  # fmt: skip
GROWTH_MAX = 2.3
"""Steps of a text with twice the repetitions, as a multiple."""
REPEATED = 60
NOTHING = re.compile(r"\[0s|:0s\]")
"""Less than a millisecond is a range that prints as none, and nobody may write that. Neither does all arithmetic after
`offset` read back: what follows its parentheses is taken for a part of it. Prometheus prints and reads so."""
BOUNDS = (
    "levels are allowed", "operators can follow on one another", "operators are allowed", "timestamp out of bounds",
)  # fmt: skip
"""Errors of our own: nesting and length are bounded here alone, and times that fit into 64 bits only as seconds."""


def texts(seed: int) -> Iterator[str]:
    """Endless; of a form that the API would hand on: no lone surrogates but those of bytes that are not UTF-8."""
    rng = random.Random(seed)
    while True:
        roll = rng.random()
        if roll < 0.35:
            text = Generator(rng, Dialect()).expression()
        elif roll < 0.5:
            text = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 18)))
        else:
            text = rng.choice(CORPUS) if roll < 0.85 else Generator(rng, Dialect()).expression()
            text = _mutated_bytes(rng, text) if rng.random() < 0.3 else _mutated(rng, text)
        kept = "replace" if _lone(text) else "surrogateescape"
        yield text.encode("utf-8", kept).decode("utf-8", "surrogateescape")


def _lone(text: str) -> bool:
    return any("\ud800" <= char < "\udc80" or "\udcff" < char <= "\udfff" for char in text)


def _mutated(rng: random.Random, text: str) -> str:
    for _ in range(rng.randint(1, 4)):
        at, other = rng.randint(0, len(text)), rng.randint(0, len(text))
        match rng.randrange(6):
            case 0:
                text = text[:at] + rng.choice(ALPHABET) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(1, 4) :]
            case 2:
                text = text[:at] + text[other : other + 12] + text[at:]
            case 3:
                donor = rng.choice(CORPUS)
                text = text[:at] + donor[rng.randint(0, len(donor)) :]
            case 4:
                text = text[:at] + " " + rng.choice(WORDS) + " " + text[at:]
            case _:
                text = text[:at] + text[at : at + 3] * rng.randint(2, 40) + text[at:]
    return text


def _mutated_bytes(rng: random.Random, text: str) -> str:
    data = bytearray(text.encode("utf-8", "replace"))
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(3):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randint(1, 3)]
            case _:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 3)))
    return data.decode("utf-8", "surrogateescape")


def check(text: str) -> bool:
    """Whether it is a query. What it prints reads back as the same, and prettified too."""
    try:
        expr = parse_expression(text)
    except ParseError:
        return False
    same = _plain(expr)
    if NOTHING.search(same) or any(getattr(node, "offset_expr", None) is not None for node in ast.walk(expr)):
        return True
    assert _plain(parse_expression(format_expr(expr))) == same, text
    assert _plain(parse_expression(pretty(expr))) == same, text
    return True


def _plain(expr: ast.Expr) -> str:
    """Without unary plus: infinity prints with its sign, which before `^` reads as an operator."""
    return format_expr(ast.transform(expr, lambda node: node.expr if _is_plus(node) else node))  # type: ignore[union-attr]


def _reading(text: str) -> str:
    try:
        return _plain(parse_expression(text))
    except ParseError:
        return ""


def _is_plus(node: ast.Expr) -> bool:
    return isinstance(node, ast.UnaryExpr) and node.op is ast.BinaryOp.ADD


def steps(text: str) -> int:
    """Calls that parsing and printing take, of Python's functions and of C's."""
    count = 0

    def seen(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        pretty(parse_expression(text))
    except ParseError:
        pass
    finally:
        sys.setprofile(None)
    return count


def check_growth(rng: random.Random, text: str) -> None:
    """A part of the text, repeated twice as often, costs at most about twice as much."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    end = rng.randint(at + 1, min(len(words), at + 4))
    before, part, after = " ".join(words[:at]), " ".join(words[at:end]) + " ", " ".join(words[end:])
    less, more = (steps(f"{before} {part * times}{after}") for times in (REPEATED, 2 * REPEATED))
    assert more <= GROWTH_MAX * less + 200, (less, more, before, part, after)


class Reference:
    """`/format_query` of a Prometheus."""

    def __init__(self, port: int) -> None:
        self._client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def formatted(self, text: str) -> tuple[bool, str]:
        """Whether it is a query; what it prints, or the error."""
        form = urllib.parse.urlencode({"query": text.encode("utf-8", "surrogateescape")})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._client.request("POST", "/api/v1/format_query", form, headers)
        answer = json.loads(self._client.getresponse().read())
        if answer["status"] == "success":
            return True, answer["data"]
        return False, answer["error"].removeprefix('invalid parameter "query": ')


def ours(text: str) -> tuple[bool, str]:
    try:
        return True, pretty(parse_expression(text))
    except ParseError as error:
        return False, str(error)


def told_otherwise(text: str, reference: Reference) -> str:
    """ "" where the reference says the same."""
    mine, other = ours(text), reference.formatted(text)
    if mine == other or any(bound in mine[1] for bound in BOUNDS):
        return ""
    if mine[0] and other[0] and _reading(other[1]) != _plain(parse_expression(text)):
        return ""  # what theirs prints means something else: `x offset ((2m)) * 2` without its parentheses
    return f"{text!r}\n    ours   {mine[1]!r}\n    theirs {other[1]!r}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=200_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--reference", help="a Prometheus binary to compare with")
    chosen = options.parse_args()
    source, rng, trees, different = texts(chosen.seed), random.Random(chosen.seed), 0, 0
    if chosen.reference:
        from tests.differential.peers import start_prometheus

        with tempfile.TemporaryDirectory() as directory:
            process = start_prometheus(Path(directory), chosen.reference)
            try:
                reference = Reference(process.port)
                for _ in range(chosen.runs):
                    if found := told_otherwise(next(source), reference):
                        different += 1
                        print(found)
            finally:
                process.kill()
        print(f"{chosen.runs} texts, {different} of them told otherwise")
        return 1 if different else 0
    for number in range(chosen.runs):
        text = next(source)
        trees += check(text)
        if number % 50 == 0:
            check_growth(rng, text)
    print(f"{chosen.runs} texts, {trees} of them queries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
