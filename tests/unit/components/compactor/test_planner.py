"""Plans of recorded bucket states, and that plans end with every sample where it was."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir_rw.components.compactor.jobs import CompactionJob, StoredBlock, sources_of
from mimir_rw.components.compactor.planner import NEWEST_FIRST, Plan, PlannerSettings, plan
from tests.unit.components.compactor.bucket_states import DAY_MS, HOUR_MS, block, ulid

RANGES = (2 * HOUR_MS, 12 * HOUR_MS, DAY_MS)
LATER = 10 * DAY_MS
UNSPLIT = PlannerSettings(RANGES)
SPLIT = PlannerSettings(RANGES, shards=4, split_groups=2)


def shown(found: Plan) -> list[str]:
    """`stage shard begin-end: names`, hours."""
    return [show(job) for job in found.jobs]


def show(job: CompactionJob) -> str:
    where = f"{job.range_start // HOUR_MS}-{job.range_end // HOUR_MS}"
    names = {ulid(name): name for name in NAMES}
    sources = " ".join(sorted(names.get(meta.ulid, meta.ulid) for meta in job.blocks))
    return f"{job.stage.value} {job.shard or '-'} {where}: {sources}"


NAMES = [*"abcdefghijklmnopqrstuvwxyz", *(f"r{number}" for number in range(30)), "late", "old", "day"]


@pytest.mark.parametrize(
    ("blocks", "jobs"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([block("a", 0, 2)], [], id="one block has nothing to be merged with"),
        pytest.param(
            [block("a", 0, 2), block("b", 0, 2), block("c", 0, 2)], ["merge - 0-2: a b c"], id="replicas of one range"
        ),
        pytest.param(
            [block("a", 0, 2), block("b", 2, 4), block("c", 10, 12)], ["merge - 0-12: a b c"], id="neighbours"
        ),
        pytest.param(
            [block("a", 0, 2), block("b", 0, 2), block("c", 2, 4), block("d", 12, 14), block("e", 14, 16)],
            ["merge - 0-2: a b", "merge - 12-24: d e"],
            id="a larger range waits for the smaller one in it",
        ),
        pytest.param(
            [block("a", 0, 12, level=2), block("b", 12, 24, level=2)], ["merge - 0-24: a b"], id="the largest range"
        ),
        pytest.param(
            [block("a", 0, 24, level=3), block("late", 3, 3.5, out_of_order=True)],
            ["merge - 0-24: a late"],
            id="a late block goes into the day that is there",
        ),
        pytest.param(
            [block("a", 0, 2), block("b", 1, 3), block("c", 0, 2)],
            ["merge - 0-2: a c"],
            id="a block over the edge of two windows is for a larger range",
        ),
        pytest.param([block("a", 1, 3), block("b", 0, 2)], ["merge - 0-12: a b"], id="overlapping, in a larger range"),
        pytest.param([block("a", 20, 26), block("b", 20, 26)], [], id="over the edge of the largest range: left alone"),
        pytest.param([block("a", 0, 48), block("b", 0, 48)], [], id="wider than the largest range: left alone"),
        pytest.param([block("a", -2, 0), block("b", -2, 0)], ["merge - -2-0: a b"], id="before 1970"),
        pytest.param(
            [block("a", 0, 2), block("b", 0, 2, no_compact=True), block("c", 0, 2)],
            ["merge - 0-2: a c"],
            id="marked no-compact",
        ),
        pytest.param(
            [block("a", 0, 2, labels={"x": "1"}), block("b", 0, 2), block("c", 0, 2, labels={"x": "1"})],
            ["merge - 0-2: a c"],
            id="other external labels",
        ),
        pytest.param(
            [block("a", 0, 2, labels={"__ingester_id__": "1"}), block("b", 0, 2, labels={"__ingester_id__": "2"})],
            ["merge - 0-2: a b"],
            id="labels of old ingesters do not count",
        ),
        pytest.param(
            [block("a", 0, 2, out_of_order=True, labels={"__out_of_order__": "true"}), block("b", 0, 2)],
            [],
            id="out-of-order blocks with a label stay by themselves",
        ),
        pytest.param(
            [block("a", 0, 2, shard="1_of_2"), block("b", 0, 2, shard="1_of_2"), block("c", 0, 2, shard="2_of_2")],
            ["merge 1_of_2 0-2: a b"],
            id="shards are merged when they are not made any more",
        ),
    ],
)
def test_plans_without_shards(blocks: list[StoredBlock], jobs: list[str]) -> None:
    assert shown(plan("t", blocks, UNSPLIT, LATER)) == jobs


@pytest.mark.parametrize(
    ("blocks", "jobs"),
    [
        pytest.param([block("a", 0, 2)], ["split 1_of_2 0-2: a"], id="one block is split too"),
        pytest.param(
            [block("a", 0, 2), block("b", 0, 2), block("d", 0, 2)],
            ["split 1_of_2 0-2: a b", "split 2_of_2 0-2: d"],
            id="in groups",
        ),
        pytest.param(
            [block("a", 0, 2, shard="1_of_4", level=2), block("b", 0, 2, shard="1_of_4", level=2), block("c", 2, 4)],
            ["merge 1_of_4 0-2: a b", "split 1_of_2 2-4: c"],
            id="what was split is merged, by shard",
        ),
        pytest.param(
            [block("a", 0, 2, shard="1_of_4"), block("b", 0, 2, shard="1_of_4"), block("late", 1, 2)],
            ["split 2_of_2 0-2: late"],
            id="a window with something to split is not merged yet",
        ),
        pytest.param(
            [block("a", 0, 2, shard="1_of_4"), block("b", 2, 4, shard="1_of_4"), block("c", 2, 4, shard="2_of_4")],
            ["merge 1_of_4 0-12: a b"],
            id="neighbours of one shard",
        ),
        pytest.param(
            [block("a", 0, 2, shard="1_of_2"), block("b", 0, 2, shard="1_of_4")], [], id="shards of another number"
        ),
        pytest.param(
            [block("old", 0, 24, level=3), block("day", 0, 24, level=3)],
            ["merge - 0-24: day old"],
            id="blocks that were never split and are large already",
        ),
    ],
)
def test_plans_with_shards(blocks: list[StoredBlock], jobs: list[str]) -> None:
    assert shown(plan("t", blocks, SPLIT, LATER)) == jobs


def test_a_window_is_taken_once_it_is_complete() -> None:
    replicas = [block("a", 0, 2), block("b", 0, 2)]
    neighbours = [block("c", 2, 4), block("d", 12, 14)]
    assert shown(plan("t", replicas, UNSPLIT, 2 * HOUR_MS)) == ["merge - 0-2: a b"]
    # A head that was cut early, for instance: others will follow.
    early = [block("a", 0, 1), block("b", 0, 1)]
    assert shown(plan("t", early, UNSPLIT, 2 * HOUR_MS)) == []
    assert shown(plan("t", [block("a", 0, 2), block("c", 2, 4)], UNSPLIT, 4 * HOUR_MS)) == []
    assert shown(plan("t", [block("a", 0, 2), *neighbours], UNSPLIT, 4 * HOUR_MS)) == ["merge - 0-12: a c"]


def test_a_tenant_that_sends_no_longer_is_compacted_too() -> None:
    blocks = [block("a", 0, 2), block("b", 2, 4)]
    assert shown(plan("t", blocks, UNSPLIT, 16 * HOUR_MS - 1)) == []
    assert shown(plan("t", blocks, UNSPLIT, 16 * HOUR_MS)) == ["merge - 0-12: a b"]


def test_blocks_of_ingesters_wait_for_one_another() -> None:
    wait = PlannerSettings(RANGES, first_level_wait_ms=HOUR_MS // 2)
    blocks = [block("a", 0, 2, uploaded_h=3), block("b", 0, 2, uploaded_h=3.25)]
    found = plan("t", blocks, wait, int(3.5 * HOUR_MS))
    assert found.jobs == ()
    assert [(show(each.job), each.ready_ms) for each in found.waiting] == [("merge - 0-2: a b", int(3.75 * HOUR_MS))]
    assert shown(plan("t", blocks, wait, int(3.75 * HOUR_MS))) == ["merge - 0-2: a b"]


def test_late_blocks_do_not_put_a_job_off_for_ever() -> None:
    wait = PlannerSettings(RANGES, first_level_wait_ms=HOUR_MS)
    blocks = [block("a", 0, 2, uploaded_h=3), block("b", 0, 2, uploaded_h=4.9)]
    assert shown(plan("t", blocks, wait, 5 * HOUR_MS)) == ["merge - 0-2: a b"]
    late = [*blocks, block("late", 0, 2, uploaded_h=4.99, out_of_order=True)]
    assert shown(plan("t", late, wait, 5 * HOUR_MS)) == ["merge - 0-2: a b late"]
    compacted = [block("a", 0, 2, level=2, uploaded_h=4.9), block("b", 0, 2, level=2, uploaded_h=4.9)]
    assert shown(plan("t", compacted, wait, 5 * HOUR_MS)) == ["merge - 0-2: a b"]


def test_blocks_uploaded_too_long_ago_are_left_alone() -> None:
    blocks = [block("a", 0, 2, uploaded_h=2), block("b", 0, 2, uploaded_h=2), block("c", 12, 24, uploaded_h=30)]
    recent = PlannerSettings(RANGES, lookback_ms=DAY_MS)
    assert shown(plan("t", blocks, recent, 26 * HOUR_MS)) == ["merge - 0-2: a b"]
    assert shown(plan("t", blocks, recent, 27 * HOUR_MS)) == []


def test_the_order_of_jobs() -> None:
    blocks = [
        block("a", 0, 2), block("b", 0, 2),
        block("c", 24, 26), block("d", 24, 26),
        block("e", 48, 50), block("f", 50, 52),
    ]  # fmt: skip
    oldest = ["merge - 0-2: a b", "merge - 24-26: c d", "merge - 48-60: e f"]
    assert shown(plan("t", blocks, UNSPLIT, LATER)) == oldest
    assert shown(plan("t", blocks, PlannerSettings(RANGES, order=NEWEST_FIRST), LATER)) == oldest[::-1]


@pytest.mark.parametrize(
    ("blocks", "redundant"),
    [
        pytest.param([block("a", 0, 2), block("b", 0, 2)], "", id="replicas are not"),
        pytest.param(
            [block("a", 0, 2), block("b", 0, 2), block("c", 0, 2, level=2, sources="ab")],
            "ab",
            id="sources of a merge whose compactor died before it marked them",
        ),
        pytest.param(
            [block("c", 0, 2, level=2, sources="ab"), block("d", 0, 2, level=2, sources="ab")],
            "d",
            id="a job done by two: the first by name stays",
        ),
        pytest.param(
            [
                block("c", 0, 2, level=2, sources="ab"), block("d", 0, 2, level=2, sources="ab"),
                block("e", 0, 4, level=3, sources="abx"),
            ],
            "cd",
            id="covered by one that is covered by none",
        ),
        pytest.param(
            [block("c", 0, 2, level=2, sources="ab"), block("d", 0, 2, level=2, sources="bx")], "", id="half of it"
        ),
        pytest.param(
            [block("a", 0, 2), block("c", 0, 2, level=2, sources="ab", shard="1_of_2")], "", id="only one shard of it"
        ),
        pytest.param(
            [
                block("a", 0, 2),
                block("c", 0, 2, level=2, sources="ab", shard="1_of_2"),
                block("d", 0, 2, level=2, sources="abx", shard="2_of_2"),
            ],
            "a",
            id="all shards of it",
        ),
        pytest.param(
            [
                block("a", 0, 2),
                block("c", 0, 2, level=2, sources="a", shard="1_of_4"),
                block("d", 0, 2, level=2, sources="a", shard="2_of_2"),
            ],
            "",
            id="shards of different numbers make no whole",
        ),
        pytest.param(
            [block("a", 0, 2), block("c", 0, 2, level=2, sources="ab", no_compact=True)],
            "",
            id="a block set aside stands in for nobody",
        ),
        pytest.param(
            [block("a", 0, 2, labels={"x": "1"}), block("c", 0, 2, level=2, sources="ab")], "", id="other labels"
        ),
    ],
)  # fmt: skip
def test_blocks_that_others_hold_are_superfluous_and_in_no_job(blocks: list[StoredBlock], redundant: str) -> None:
    found = plan("t", blocks, UNSPLIT, LATER)
    assert [each.ulid for each in found.redundant] == [ulid(name) for name in redundant]
    taken = {meta.ulid for job in found.jobs for meta in job.blocks}
    assert not taken & {each.ulid for each in found.redundant}


def test_a_job_keeps_its_name_when_a_block_comes() -> None:
    blocks = [block("a", 0, 2), block("b", 0, 2)]
    (job,) = plan("t", blocks, UNSPLIT, LATER).jobs
    (more,) = plan("t", [*blocks, block("c", 0, 2)], UNSPLIT, LATER).jobs
    assert job.key == more.key == "t--merge--0-7200000"
    (other,) = plan("u", blocks, UNSPLIT, LATER).jobs
    assert other.key != job.key


def test_the_meta_of_results() -> None:
    blocks = [
        block("a", 0, 2, out_of_order=True, labels={"__ingester_id__": "1", "x": "1"}),
        block("b", 0, 4, level=2, sources="bc", labels={"x": "1"}),
    ]
    (job,) = plan("t", blocks, UNSPLIT, LATER).jobs
    meta = job.output_meta(0, ulid("r"))
    assert (meta.min_time, meta.max_time, meta.compaction.level) == (0, 4 * HOUR_MS, 3)
    assert meta.compaction.sources == tuple(sorted(map(ulid, "abc")))
    assert [(p.ulid, p.max_time) for p in meta.compaction.parents] == [
        (ulid("a"), 2 * HOUR_MS),
        (ulid("b"), 4 * HOUR_MS),
    ]
    assert meta.compaction.hints == ()  # not all of it is out of order
    assert meta.thanos is not None
    assert (meta.thanos.labels, meta.thanos.source) == ({"x": "1"}, "compactor")
    split = plan("t", [block("a", 0, 2, out_of_order=True)], SPLIT, LATER).jobs[0]
    assert [split.output_labels(number)["__compactor_shard_id__"] for number in range(split.outputs)] == [
        "1_of_4", "2_of_4", "3_of_4", "4_of_4",
    ]  # fmt: skip
    assert split.output_meta(0, ulid("r")).compaction.hints == ("from-out-of-order",)


# -- plans end --------------------------------------------------------------------------------------------------------


class Store:
    """Applies plans. What a block holds is told by its sources and shard: a cell for each source and each of 12 shares
    of its series."""

    def __init__(self, blocks: list[StoredBlock]) -> None:
        self.blocks = {each.ulid: each for each in blocks}
        self.made = 0

    def apply(self, found: Plan) -> None:
        for each in found.redundant:
            del self.blocks[each.ulid]
        for job in found.jobs:
            assert all(meta.ulid in self.blocks for meta in job.blocks), "a block in two jobs"
            for meta in job.blocks:
                del self.blocks[meta.ulid]
            for number in range(job.outputs):
                self.made += 1
                meta = job.output_meta(number, ulid(f"~{self.made:05}"))
                self.blocks[meta.ulid] = StoredBlock(meta, LATER)

    def cells(self) -> dict[tuple[str, int], int]:
        count: defaultdict[tuple[str, int], int] = defaultdict(int)
        for each in self.blocks.values():
            number, _, of = each.meta.shard_id.partition("_of_")
            for source in sources_of(each.meta):
                for share in range(12):
                    if not of or share % int(of) == int(number) - 1:
                        count[source, share] += 1
        return dict(count)


@st.composite
def buckets(draw: st.DrawFn) -> list[StoredBlock]:
    found = []
    for number in range(draw(st.integers(0, 24))):
        width = draw(st.sampled_from([0.5, 2, 2, 2, 2, 6, 12, 24, 30]))
        begin = draw(st.integers(0, 60)) * (width if width >= 2 else 0.5)
        found.append(
            block(
                f"s{number:02}",
                begin,
                begin + width,
                out_of_order=draw(st.booleans()),
                labels={"x": "1"} if draw(st.integers(0, 9)) == 0 else None,
                no_compact=draw(st.integers(0, 9)) == 0,
            )
        )
        found[-1] = StoredBlock(
            found[-1].meta.replaced(compaction=found[-1].meta.compaction.__class__(sources=(ulid(f"s{number:02}"),))),
            found[-1].uploaded_ms,
            found[-1].no_compact,
        )
    return found


@settings(max_examples=150, deadline=None)
@given(buckets(), st.sampled_from([0, 1, 2, 3, 4]), st.sampled_from([1, 2, 3]))
def test_plans_end_and_nothing_is_lost_or_doubled(blocks: list[StoredBlock], shards: int, groups: int) -> None:
    store = Store(blocks)
    before = store.cells()
    limits = PlannerSettings(RANGES, shards=shards, split_groups=groups)
    for _ in range(20):
        found = plan("t", store.blocks.values(), limits, 100 * DAY_MS)
        if not found.jobs and not found.redundant:
            break
        assert not found.redundant, "nobody died"
        store.apply(found)
        assert store.cells() == before
    else:
        pytest.fail("plans do not end")
    windows: defaultdict[tuple[object, ...], int] = defaultdict(int)
    for each in store.blocks.values():
        if not each.no_compact and each.meta.max_time <= (each.meta.min_time // DAY_MS + 1) * DAY_MS:
            labels = tuple(sorted(each.meta.thanos.labels.items()))  # type: ignore[union-attr]
            windows[each.meta.min_time // DAY_MS, labels] += 1
    assert all(count == 1 for count in windows.values()), "a day in more than one block of a shard"


@settings(max_examples=100, deadline=None)
@given(buckets(), st.sampled_from([0, 2, 3]), st.data())
def test_whatever_a_dead_compactor_left_is_put_right(
    blocks: list[StoredBlock], shards: int, data: st.DataObject
) -> None:
    """Each job stops after some of its results are uploaded, or before some of its sources are marked."""
    store = Store(blocks)
    before = set(store.cells())
    limits = PlannerSettings(RANGES, shards=shards, split_groups=2)
    for round_ in range(40):
        found = plan("t", store.blocks.values(), limits, 100 * DAY_MS)
        if not found.jobs and not found.redundant:
            break
        for each in found.redundant:
            del store.blocks[each.ulid]
        for job in found.jobs:
            kept = dict(store.blocks)
            store.apply(Plan(jobs=(job,)))
            if round_ < 10 and data.draw(st.booleans(), label="dies"):
                results = sorted(set(store.blocks) - set(kept))
                uploaded = data.draw(st.integers(0, len(results)), label="uploaded")
                marked = data.draw(st.integers(0, len(job.blocks)), label="marked") if uploaded == len(results) else 0
                for meta in job.blocks[marked:]:
                    store.blocks[meta.ulid] = kept[meta.ulid]
                for each in results[uploaded:]:
                    del store.blocks[each]
        assert set(store.cells()) == before, "a sample is nowhere"
    else:
        pytest.fail("plans do not end")
    assert all(count == 1 for count in store.cells().values()), "a sample is in two blocks for good"
