import pytest

from mimir_rw.components.querier.sources import NO_INDEX, SourcePlan, SourceSettings, plan_sources, stored_ranges
from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock, IndexedMark
from mimir_rw.model.errors import Unavailable
from mimir_rw.model.stored_range import StoredRange

HOUR = 3_600_000
NOW = 1_000_000 * HOUR
SETTINGS = SourceSettings(
    store_after_ms=12 * HOUR,
    shipped_within_ms=3 * HOUR,
    stale_ms=HOUR,
    stale_ms_max=11 * HOUR,
    ignore_marks_after_ms=HOUR,
)


def ago(hours):
    return NOW - int(hours * HOUR)


def block(name, hours_from, hours_to):
    return IndexedBlock(name, ago(hours_from), ago(hours_to), 0)


DAY = block("day", 48, 24)
OLD = block("old", 24, 12)
NEW = block("new", 4, 2)


def index(*blocks, age_h=0.1, marks=()):
    return BucketIndex(tuple(blocks), tuple(marks), int(ago(age_h) // 1000))


def planned(mint, maxt, found, *, within_h=13.0, settings=SETTINGS, handed_over=()):
    within = int(within_h * HOUR)
    ranges = stored_ranges(
        mint, maxt, now_ms=NOW, ingesters_within_ms=within, settings=settings, handed_over=handed_over
    )
    return plan_sources(
        mint, maxt, now_ms=NOW, ingesters_within_ms=within, settings=settings, ranges=ranges, index=found
    )


@pytest.mark.parametrize(
    ("hours", "ingesters", "blocks"),
    [
        ((1, 0), True, ()),
        ((12.5, 0), True, ("old",)),
        ((13, 12.2), True, ("old",)),
        ((30, 14), False, ("day", "old")),
        ((60, 30), False, ("day",)),
        ((60, 0), True, ("day", "old")),
        ((600, 500), False, ()),
    ],
    ids=str,
)
def test_who_is_asked(hours, ingesters, blocks):
    plan = planned(ago(hours[0]), ago(hours[1]), index(DAY, OLD, NEW))
    assert (plan.ingesters, plan.blocks, plan.stale) == (ingesters, blocks, False)
    if blocks:
        assert (plan.mint, plan.maxt) == (ago(hours[0]), min(ago(hours[1]), ago(12)))


def test_a_tenant_without_an_index_has_no_blocks():
    assert planned(ago(60), NOW, NO_INDEX) == SourcePlan(ingesters=True)
    assert planned(ago(60), ago(50), NO_INDEX) == SourcePlan(ingesters=False)


def test_bounds_of_zero_ask_both_for_all():
    plan = planned(ago(60), ago(3), index(DAY, OLD, NEW), within_h=0, settings=SourceSettings(0, 0, HOUR, HOUR, 0))
    assert (plan.ingesters, plan.blocks) == (True, ("day", "old", "new"))


def test_a_tenant_whose_ingesters_are_asked_for_less_has_the_store_asked_for_more():
    plan = planned(ago(60), ago(2.5), index(DAY, OLD, NEW), within_h=2)
    assert (plan.ingesters, plan.blocks) == (False, ("day", "old", "new"))


def test_what_was_handed_over_is_asked_of_the_store_too():
    handed = [StoredRange("t", ago(5), ago(1), 0)]
    plan = planned(ago(3), NOW, index(DAY, OLD, NEW), handed_over=handed)
    assert plan == SourcePlan(True, ("new",), ago(3), ago(1))
    assert planned(ago(0.5), NOW, index(DAY, OLD, NEW), handed_over=handed).blocks == ()


def test_blocks_that_were_marked_long_ago_are_not_asked_for():
    marks = [IndexedMark("day", ago(2) // 1000), IndexedMark("old", ago(0.5) // 1000)]
    assert planned(ago(60), ago(14), index(DAY, OLD, marks=marks)).blocks == ("old",)


@pytest.mark.parametrize(
    ("hours", "age_h", "ingesters"),
    [
        ((30, 14), 2, False),  # what it proves
        ((30, 14), 9, False),
        ((30, 12.5), 9.4, True),
        ((30, 12.2), 9.8, True),  # ingesters have what it may lack, since 13 h
        ((30, 0), 9.5, True),
    ],
)
def test_a_stale_index_is_used_for_what_it_proves(hours, age_h, ingesters):
    plan = planned(ago(hours[0]), ago(hours[1]), index(DAY, OLD, age_h=age_h))
    assert plan.stale
    assert plan.blocks == ("day", "old")
    assert plan.ingesters is ingesters


@pytest.mark.parametrize(
    ("hours", "age_h"),
    [((30, 13.1), 10.5), ((30, 0), 10.5), ((60, 50), 11.1)],
    ids=["neither has it", "a part of it", "its blocks may be gone"],
)
def test_an_index_that_is_too_old_fails_the_query(hours, age_h):
    with pytest.raises(Unavailable, match="last updated") as raised:
        planned(ago(hours[0]), ago(hours[1]), index(DAY, OLD, age_h=age_h))
    assert raised.value.error_id == "bucket-index-too-old"


def test_an_index_that_is_too_old_for_a_gap_serves_what_lies_before_it():
    assert planned(ago(60), ago(14), index(DAY, OLD, age_h=10.5)).blocks == ("day", "old")
    assert planned(ago(2), NOW, index(DAY, OLD, age_h=100)).ingesters, "the store is not needed"
