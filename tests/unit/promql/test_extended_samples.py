"""An instant query for an anchored or smoothed range vector."""

from __future__ import annotations

import pytest

from mimir_rw.promql.exec.extended_samples import Points, extended

TS, VALUES = [0, 10, 20, 30, 40], [1.0, 3.0, 5.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("mint", "maxt", "smoothed", "wanted"),
    [
        (5, 25, False, [(5, 1.0), (10, 3.0), (20, 5.0), (25, 5.0)]),
        (5, 25, True, [(5, 2.0), (10, 3.0), (20, 5.0), (25, 4.5)]),
        (10, 30, True, [(10, 3.0), (20, 5.0), (30, 4.0)]),
        (10, 40, False, [(10, 3.0), (20, 5.0), (30, 4.0), (40, 8.0)]),
        (-20, 15, True, [(-20, 1.0), (0, 1.0), (10, 3.0), (15, 4.0)]),
        (35, 60, False, [(35, 4.0), (40, 8.0), (60, 8.0)]),
        (21, 24, True, [(21, 4.9), (24, 4.6)]),
        (40, 60, False, []),
        (45, 60, True, []),
    ],
    ids=str,
)
def test_both_ends_have_a_value(mint: int, maxt: int, smoothed: bool, wanted: Points) -> None:
    # An anchored selector reads no further than the end.
    read = [(t, v) for t, v in zip(TS, VALUES, strict=True) if smoothed or t <= maxt]
    ts, values = [t for t, _ in read], [v for _, v in read]
    found = extended(ts, values, mint, maxt, smoothed=smoothed)
    assert [t for t, _ in found] == [t for t, _ in wanted]
    assert [v for _, v in found] == pytest.approx([v for _, v in wanted])


def test_nothing_to_make_values_of() -> None:
    assert extended([], [], 0, 10, smoothed=True) == []
