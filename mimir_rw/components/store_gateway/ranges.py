"""Which ranges of an object are read together. Pure.

Ranges are rows (offset, end) of an int64 array, ascending by offset; they may touch and overlap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I64Table = NDArray[np.int64]


def joined(ranges: I64Table, *, gap_max: int, length_max: int) -> I64Table:
    """Fewer ranges that hold all of the given ones: those are joined that are at most gap_max apart, as long as the
    whole is not longer than length_max (one that is longer by itself stays whole)."""
    if not len(ranges):
        return ranges
    starts, ends = ranges[:, 0], np.maximum.accumulate(ranges[:, 1])
    apart = np.flatnonzero(starts[1:] - ends[:-1] > gap_max) + 1
    out: list[tuple[int, int]] = []
    for first, last in zip([0, *apart.tolist()], [*apart.tolist(), len(ranges)], strict=True):
        begin = first
        while begin < last:
            # As many as fit, one at least: a bisection, since ends ascend.
            bound = int(starts[begin]) + length_max
            end = max(begin + 1, begin + int(np.searchsorted(ends[begin:last], bound, side="right")))
            out.append((int(starts[begin]), int(ends[end - 1])))
            begin = end
    return np.array(out, dtype=np.int64).reshape(-1, 2)


def pages_of(ranges: I64Table, page_bytes: int) -> NDArray[np.int64]:
    """Numbers of the pages that ranges lie in, ascending, each once. Empty ranges lie in none."""
    filled = ranges[ranges[:, 1] > ranges[:, 0]]
    if not len(filled):
        return np.zeros(0, dtype=np.int64)
    firsts, lasts = filled[:, 0] // page_bytes, (filled[:, 1] - 1) // page_bytes
    counts = lasts - firsts + 1
    offsets = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.unique(np.repeat(firsts, counts) + offsets)


def runs_of(pages: NDArray[np.int64], *, gap_max: int, length_max: int) -> list[tuple[int, int]]:
    """Stretches (first, end) of page numbers that hold all of `pages` (ascending, each once): those at most gap_max
    pages apart together, none longer than length_max pages."""
    table = np.column_stack((pages, pages + 1))
    return [(first, end) for first, end in joined(table, gap_max=gap_max, length_max=length_max).tolist()]
