"""Ask mimir-rw and a real Prometheus the same random queries and name every difference.

    python -m tests.differential.run --count 5000 --seed 1
    PROMETHEUS=/path/to/prometheus python -m tests.differential.run

Exit status 1 when an answer differs. `--keep` leaves both servers running until Enter.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.differential.compare import difference
from tests.differential.data import series
from tests.differential.generator import Generator, Request
from tests.differential.peers import (
    REFERENCE,
    Asker,
    dialect_of,
    give,
    reference_binary,
    start_ours,
    start_prometheus,
    version_of,
)
from tests.e2e.processes import Process

TRIES = 8
"""Prometheus gathers the rows of a range query in a map: which of two equals comes first is another one each time."""


ROUNDED = re.compile(
    r"\^|atan2|\b(a?(sin|cos|tan)h?|exp|ln|log2|log10|rad|deg|stddev|stdvar|avg|sum|avg_over_time|sum_over_time|deriv"
    r"|stddev_over_time|stdvar_over_time|predict_linear|rate|increase|delta|double_exponential_smoothing)\b"
)
"""The last bit of these is that of a mathematical library, or depends on the order of rows."""
TELLING = re.compile(
    r"count_values|quantile_over_time|histogram_quantile|[=!]=|[<>]|changes|resets|topk|bottomk|\bsort|[%]|floor|ceil|round|sgn"
)
"""These tell numbers apart that differ in the last bit."""


CHOOSING = re.compile(r"topk|bottomk|limitk")
"""Among equals the first is taken, and which is first see TRIES."""


@dataclass(slots=True)
class Tally:
    asked: int = 0
    answered: int = 0
    """Success with a result that is not empty."""
    refused: int = 0
    inexact: list[tuple[Request, str]] = field(default_factory=list)
    different: list[tuple[Request, str]] = field(default_factory=list)

    def summary(self) -> str:
        return (
            f"{self.asked} queries: {self.answered} with results, {self.refused} errors on both sides, "
            f"{len(self.inexact)} equal only within the tolerance, {len(self.different)} different"
        )


@dataclass(slots=True)
class Pair:
    """Both sides, running and loaded."""

    ours: Process
    theirs: Process

    @classmethod
    def start(cls, directory: Path, binary: str) -> Pair:
        ours = start_ours(directory / "ours")
        try:
            pair = cls(ours, start_prometheus(directory / "theirs", binary))
        except BaseException:
            ours.kill()
            raise
        written = series()
        try:
            give(pair.ours, "/api/v1/push", written)
            give(pair.theirs, "/api/v1/write", written)
        except BaseException:
            pair.stop()
            raise
        return pair

    def stop(self) -> None:
        self.ours.kill()
        self.theirs.kill()

    def compare(self, requests: Iterable[Request], *, messages: bool, tolerance: float) -> Tally:
        mine, other = Asker(self.ours, "/prometheus"), Asker(self.theirs, "")
        tally = Tally()
        for request in requests:
            a, b = mine.ask(request), other.ask(request)
            found = difference(a, b, messages=messages, tolerance=tolerance)
            for _ in range(TRIES if found and not found.startswith("inexact") else 0):
                again = difference(a, other.ask(request), messages=messages, tolerance=tolerance)
                found = min(found, again, key=len)
            found = judged(request, found)
            tally.asked += 1
            tally.answered += a.status == 200 and b'"result":[]' not in a.body
            tally.refused += a.status >= 400
            if found.startswith("inexact"):
                tally.inexact.append((request, found))
            elif found:
                tally.different.append((request, found))
        return tally


def judged(request: Request, found: str) -> str:
    """A difference that follows from last bits, or from which of two equals comes first, is an inexact answer."""
    if not found or found.startswith("inexact"):
        return found
    if found == "order of the result" and "sort" not in request.query:
        return ""
    if found.startswith("series") and re.search(r"absent.*(\w+)[=!]~?[^,}]*, \1[=!]", request.query):
        return ""  # Prometheus sorts the matchers of a label in place, and looks at them in that order
    of_equals = found.startswith(("series", "{")) and request.path == "query_range" and CHOOSING.search(request.query)
    of_last_bits = ROUNDED.search(request.query) and TELLING.search(request.query)
    return f"inexact: {found}" if of_equals or of_last_bits else found


def generated(generator: Generator, count: int) -> Iterator[Request]:
    for _ in range(count):
        yield generator.request()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--show", type=int, default=40, help="differences to print")
    options.add_argument("--keep", action="store_true")
    chosen = options.parse_args()
    binary = reference_binary()
    version = version_of(binary)
    newest = version >= REFERENCE
    with tempfile.TemporaryDirectory() as directory:
        pair = Pair.start(Path(directory), binary)
        try:
            generator = Generator(chosen.seed, dialect_of(version))
            requests = generated(generator, chosen.count)
            tally = pair.compare(requests, messages=newest, tolerance=1e-12 if newest else 1e-9)
            for request, found in (tally.different + tally.inexact)[: chosen.show]:
                print(f"{request.path} {dict(request.params)}\n    {found[:700]}")
            kinds = Counter(found.split(" ")[0] for _, found in tally.different)
            print(f"Prometheus {version[0]}.{version[1]}, seed {chosen.seed}: {tally.summary()} {dict(kinds) or ''}")
            if chosen.keep:
                print(f"ours {pair.ours.url}  theirs {pair.theirs.url}")
                sys.stdin.readline()
        finally:
            pair.stop()
    return 1 if tally.different else 0


if __name__ == "__main__":
    sys.exit(main())
