"""One series set of what several replicas hold."""

from __future__ import annotations

from collections.abc import Sequence

from mimir_rw._native import merge_series_sets
from mimir_rw.kit.offload import Offload
from mimir_rw.storage.contract import NATIVE_SETS, SeriesSet


async def merge_series(sets: Sequence[SeriesSet], offload: Offload) -> SeriesSet:
    """The series of all sets, at least one, with the samples of all. Sets without series may be of any kind."""
    found = [each for each in sets if len(each.labels)]
    if len(found) <= 1:
        return found[0] if found else sets[0]
    native = [each for each in found if isinstance(each, NATIVE_SETS)]
    assert len(native) == len(found), "replicas hand out native sets"
    return await offload.run(merge_series_sets, native)
