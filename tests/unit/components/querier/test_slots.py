import pytest

from mimir_rw.components.querier.slots import spread_slots


@pytest.mark.parametrize(
    ("schedulers", "slots", "spread"),
    [
        ([], 20, {}),
        ([("a", True)], 20, {"a": 20}),
        ([("a", True), ("b", True), ("c", False)], 21, {"a": 11, "b": 10, "c": 1}),
        ([("a", True), ("b", True), ("c", True)], 2, {"a": 1, "b": 1, "c": 1}),
        ([("a", False), ("b", False)], 20, {"a": 1, "b": 1}),
    ],
)
def test_those_in_use_share_the_slots(schedulers, slots, spread):
    assert spread_slots(schedulers, slots) == spread
