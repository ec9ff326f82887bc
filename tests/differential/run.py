"""Ask mimir-rw and a real Prometheus the same random queries and name every difference, shrunk, one to a line.

    python -m tests.differential.run --count 20000 --seed 1
    python -m tests.differential.run --seed 1 --only 4711
    PROMETHEUS=/path/to/prometheus python -m tests.differential.run

Exit status 1 when an answer differs. `--keep` leaves both servers running until Enter.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mimir_rw.promql import ast
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.parser import parse_expression
from tests.differential.compare import Difference, decoded, difference
from tests.differential.data import series
from tests.differential.exceptions import SHARE_MAX, Case, excused
from tests.differential.generator import Request, requests
from tests.differential.peers import (
    REFERENCE,
    Asker,
    Version,
    dialect_of,
    give,
    reference_binary,
    start_ours,
    start_prometheus,
    version_of,
)
from tests.differential.shrink import shrunk
from tests.e2e.processes import Process

TRIES = 4
"""Prometheus gathers the rows of a range query in a map: which of two equals comes first is another one each time."""
SHRUNK_MAX = 60
"""So many differences of one run are shrunk."""


@dataclass(slots=True)
class Tally:
    asked: int = 0
    answered: int = 0
    """Success with a result that is not empty."""
    refused: int = 0
    excused: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)
    """A line each."""

    def summary(self) -> str:
        by_rule = "".join(f", {name}: {count}" for name, count in sorted(self.excused.items()))
        return (
            f"{self.asked} queries: {self.answered} with results, {self.refused} errors on both sides, "
            f"{len(self.different)} different; {self.share():.2%} by rules{by_rule}"
        )

    def share(self) -> float:
        """Of queries that an exception rule matched."""
        return sum(self.excused.values()) / max(1, self.asked)

    def good(self, version: Version) -> bool:
        return not self.different and (self.share() < SHARE_MAX or version < REFERENCE)


@dataclass(slots=True)
class Pair:
    """Both sides, running and loaded."""

    ours: Process
    theirs: Process
    version: Version

    @classmethod
    def start(cls, directory: Path, binary: str, *, delayed: bool, native: bool = True) -> Pair:
        """delayed: names are removed at the end of queries. native: with histograms, if the reference has them."""
        version = version_of(binary)
        delayed = delayed and version >= REFERENCE
        ours = start_ours(directory / "ours", delayed=delayed)
        try:
            pair = cls(ours, start_prometheus(directory / "theirs", binary, delayed=delayed), version)
        except BaseException:
            ours.kill()
            raise
        try:
            written = series(native=native and version >= REFERENCE)
            give(pair.ours, "/api/v1/push", written)
            give(pair.theirs, "/api/v1/write", written)
        except BaseException:
            pair.stop()
            raise
        return pair

    def stop(self) -> None:
        self.ours.kill()
        self.theirs.kill()

    def compare(self, asked: Iterable[Request]) -> Tally:
        comparison = _Comparison(self)
        tally = Tally()
        for request in asked:
            comparison.one(request, tally)
        return tally


class _Comparison:
    def __init__(self, pair: Pair) -> None:
        self._mine, self._other = Asker(pair.ours, "/prometheus"), Asker(pair.theirs, "")
        self._exact = pair.version >= REFERENCE

    def one(self, request: Request, tally: Tally) -> None:
        case, answered = self._case(request)
        tally.asked += 1
        tally.answered += answered is not None and bool(answered)
        tally.refused += answered is None
        if case is None:
            return
        if rule := excused(case, older=not self._exact):
            tally.excused[rule] += 1
            return
        kind = case.found.kind
        smallest = request
        if len(tally.different) < SHRUNK_MAX:
            smallest = shrunk(request, lambda smaller: self._still(smaller, kind))
        again, _ = self._case(smallest)
        params = " ".join(f"{key}={value}" for key, value in smallest.params[1:])
        found = str((again or case).found).replace("\n", "\\n")
        tally.different.append(f"{request.name} {smallest.path} {smallest.query!r} {params}  {found[:600]}")

    def _still(self, request: Request, kind: str) -> bool:
        case, _ = self._case(request)
        return case is not None and case.found.kind == kind and not excused(case, older=not self._exact)

    def _case(self, request: Request) -> tuple[Case | None, object]:
        """The difference that remains when theirs is asked again, and our result, None for an error."""
        ours = decoded(self._mine.ask(request))
        result = ours["data"]["result"] if ours["status"] == "success" else None
        case = None
        for _ in range(TRIES):
            theirs = decoded(self._other.ask(request))
            found = self._difference(request, ours, theirs)
            if found is None:
                return None, result
            case = Case.of(request, ours, theirs, found)
            if not request.is_range:
                break
        return case, result

    def _difference(self, request: Request, ours: object, theirs: object) -> Difference | None:
        tolerance = 1e-12 if self._exact else 1e-9
        found = difference(ours, theirs, messages=self._exact, ordered=_is_ordered(request), tolerance=tolerance)
        return None if found and found.kind == "inexact" and not self._exact else found


def _is_ordered(request: Request) -> bool:
    """Whether the query itself orders an instant result."""
    try:
        expr = parse_expression(request.query)
    except ParseError:
        return False
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    if isinstance(expr, ast.AggregateExpr):
        ranked = expr.op in (ast.AggregateOp.TOPK, ast.AggregateOp.BOTTOMK)
        return not request.is_range and ranked and not expr.grouping and not expr.without
    return not request.is_range and isinstance(expr, ast.Call) and expr.func.name.startswith("sort")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--first", type=int, default=0, help="number of the first query of the seed")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", type=int, help="one query of the seed")
    options.add_argument("--eager", action="store_true", help="names are removed at once, not at the end of queries")
    options.add_argument("--floats", action="store_true", help="no native histograms")
    options.add_argument("--keep", action="store_true")
    chosen = options.parse_args()
    binary = reference_binary()
    numbers = range(chosen.first, chosen.first + chosen.count) if chosen.only is None else [chosen.only]
    with tempfile.TemporaryDirectory() as directory:
        pair = Pair.start(Path(directory), binary, delayed=not chosen.eager, native=not chosen.floats)
        try:
            dialect = dialect_of(pair.version, native=not chosen.floats)
            tally = pair.compare(requests(chosen.seed, numbers, dialect))
            for line in tally.different:
                print(line)
            kinds = dict(Counter(line.split("  ")[-1].split(":")[0] for line in tally.different))
            version = ".".join(map(str, pair.version))
            print(f"Prometheus {version}, seed {chosen.seed}: {tally.summary()} {kinds or ''}")
            good = tally.good(pair.version)
            if chosen.keep:
                print(f"ours {pair.ours.url}  theirs {pair.theirs.url}")
                sys.stdin.readline()
        finally:
            pair.stop()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
