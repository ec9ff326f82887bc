"""What was asked of a cluster and what it answered, and whether the answers can be true.

Pure. Times are true (virtual) seconds, whatever the cluster's clocks said. A sample that was acknowledged before a read
began must be in its answer; one that is in an answer must have been sent before the answer came, as it was sent, and
stand there once. What was sent and not acknowledged may be there or not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mimir_rw.testing.samples import SamplePlan, decode_value

Points = Sequence[tuple[int, float]]
"""(ms, value) as an answer has them."""


@dataclass(slots=True)
class _Series:
    """By sequence: when the sample was first sent (ascending), and when it was acknowledged."""

    sent_s: list[float]
    acknowledged_s: list[float | None]


@dataclass(frozen=True, slots=True)
class Window:
    """What a read asked for: samples at start_ms < t <= end_ms; and when (true seconds) it began and ended."""

    start_ms: int
    end_ms: int
    begun_s: float
    ended_s: float


class History:
    def __init__(self, plan: SamplePlan) -> None:
        self.plan = plan
        self._series: dict[int, _Series] = {}

    def sent(self, series: int, sequence: int, now_s: float) -> None:
        """Sequences of a series are sent one after the other; one may be sent again."""
        known = self._series.setdefault(series, _Series([], []))
        if sequence == len(known.sent_s):
            known.sent_s.append(now_s)
            known.acknowledged_s.append(None)
        assert sequence < len(known.sent_s), "sequences are sent in order"

    def acknowledged(self, series: int, sequence: int, now_s: float) -> None:
        times = self._series[series].acknowledged_s
        if times[sequence] is None:
            times[sequence] = now_s

    @property
    def series(self) -> list[int]:
        return sorted(self._series)

    def acknowledged_count(self) -> int:
        return sum(time is not None for known in self._series.values() for time in known.acknowledged_s)

    def must_have(self, series: int, window: Window) -> set[int]:
        """Sequences that an answer for the window must hold."""
        known = self._series.get(series)
        if known is None:
            return set()
        times, within = known.acknowledged_s, self.plan.within(series, window.start_ms, window.end_ms)
        return {
            sequence
            for sequence in range(within.start, min(within.stop, len(times)))
            if (time_s := times[sequence]) is not None and time_s <= window.begun_s
        }

    def complaints(self, answer: Mapping[int, Points], window: Window, asked: Sequence[int]) -> list[str]:
        """What is wrong with an answer of raw samples. answer: points by series; asked: series that were asked for."""
        found = [f"series {series} was not asked for" for series in sorted(answer) if series not in asked]
        for series in asked:
            points = answer.get(series, ())
            found += self._wrong_points(series, points, window)
            missing = self.must_have(series, window) - {decode_value(value)[1] for _, value in points}
            if missing:
                found.append(f"series {series} lacks acknowledged samples {_spans(sorted(missing))}")
        return found

    def inventions(self, answer: Mapping[int, Points], window: Window) -> list[str]:
        """What is wrong with samples of one place, which need not have all."""
        return [text for series in sorted(answer) for text in self._wrong_points(series, answer[series], window)]

    def count_complaint(self, count: float, window: Window, asked: Sequence[int]) -> str | None:
        """What is wrong with a number of samples in the window, all of `asked` together."""
        least = sum(len(self.must_have(series, window)) for series in asked)
        most = sum(self._may_have(series, window) for series in asked)
        if least <= count <= most:
            return None
        return f"{count:g} samples counted where {least} were acknowledged and {most} sent"

    def lost(self, holders: Mapping[tuple[int, int], int], quorum: int) -> list[str]:
        """Acknowledged samples that fewer than `quorum` places hold. holders: places by (series, sequence)."""
        return [
            f"series {series} sample {sequence} was acknowledged and is held {holders.get((series, sequence), 0)} times"
            for series, known in sorted(self._series.items())
            for sequence, time_s in enumerate(known.acknowledged_s)
            if time_s is not None and holders.get((series, sequence), 0) < quorum
        ]

    def _may_have(self, series: int, window: Window) -> int:
        known = self._series.get(series)
        if known is None:
            return 0
        within = self.plan.within(series, window.start_ms, window.end_ms)
        return max(0, min(within.stop, bisect_right(known.sent_s, window.ended_s)) - within.start)

    def _wrong_points(self, series: int, points: Points, window: Window) -> list[str]:
        found, seen = [], set()
        for time_ms, value in points:
            whose, sequence = decode_value(value)
            wrong = self._wrong_point(series, time_ms, whose, sequence, window)
            if wrong is not None:
                found.append(f"series {series} at {time_ms} has {value:.0f}: {wrong}")
            elif sequence in seen:
                found.append(f"series {series} sample {sequence} is there twice")
            seen.add(sequence)
        return found

    def _wrong_point(self, series: int, time_ms: int, whose: int, sequence: int, window: Window) -> str | None:
        if whose != series:
            return f"a sample of series {whose}"
        known = self._series.get(series)
        if known is None or sequence >= len(known.sent_s) or known.sent_s[sequence] > window.ended_s:
            return "never sent"
        if self.plan.time_ms(series, sequence) != time_ms:
            return f"sent for {self.plan.time_ms(series, sequence)}"
        if not window.start_ms < time_ms <= window.end_ms:
            return "not in the range"
        return None


def _spans(numbers: Sequence[int]) -> str:
    """Ascending numbers as 3-7, 9."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)
