"""The pure parts of the storage lanes: the blocks made for them, percentiles, and what is held."""

from __future__ import annotations

from pathlib import Path

from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.formats.ulid import make_ulid
from tests.bench.blocks import BEGIN_MS, DAY_MS, RANGE_MS, TENANT, gaps, labels, meta_of, write_block
from tests.bench.storage_lanes import QUERIES, Cost, filler, home, percentiles, query_verdicts

ULID = make_ulid(BEGIN_MS, b"\0" * 10)


def cost(cpu_ms: float, value: str = "1") -> Cost:
    return Cost(cpu_ms, cpu_ms, 0, [{"metric": {"job": "a"}, "values": [[1.0, value]]}])


def test_a_block_says_what_is_in_it(tmp_path: Path) -> None:
    meta = meta_of(write_block(tmp_path, ULID, BEGIN_MS, 100, 60_000, range_ms=DAY_MS, metrics=1))
    assert (meta.min_time, meta.max_time) == (BEGIN_MS, BEGIN_MS + DAY_MS)
    assert (meta.stats.series, meta.stats.samples) == (100, 100 * 1440)


def test_gaps_are_missing_samples(tmp_path: Path) -> None:
    meta = meta_of(write_block(tmp_path, ULID, BEGIN_MS, 100, 60_000, gaps))
    assert 100 * 120 * 0.97 < meta.stats.samples < 100 * 120


def test_one_metric_gives_each_series_an_instance() -> None:
    made = [labels(number, 1) for number in range(1000)]
    assert {each["__name__"] for each in made} == {"container_metric_00_total"}
    assert len({each["instance"] for each in made}) == 1000


def test_both_servers_get_the_same_block_and_ours_an_index(tmp_path: Path) -> None:
    block = write_block(tmp_path / "made", ULID, BEGIN_MS, 10, 60_000)
    for ours in (True, False):
        data = tmp_path / str(ours)
        filler(block, ours=ours)(data)
        copied = home(data, ours=ours) / ULID
        assert (copied / "index").read_bytes() == (block / "index").read_bytes()
    index = BucketIndex.decode((tmp_path / "True/blocks" / TENANT / "bucket-index.json.gz").read_bytes())
    assert [(b.ulid, b.min_time, b.max_time) for b in index.blocks] == [(ULID, BEGIN_MS, BEGIN_MS + RANGE_MS)]


def test_percentiles_are_milliseconds() -> None:
    assert percentiles([n / 1000 for n in range(1, 102)]) == "51.0 / 100.0 of 101"
    assert percentiles([]) == "-"


def test_a_slower_query_and_another_answer_are_not_held() -> None:
    name = next(iter(QUERIES))
    assert [held for _, held in query_verdicts({name: cost(1)}, {name: cost(2)})] == [True, True]
    assert [held for _, held in query_verdicts({name: cost(3)}, {name: cost(2)})] == [False, True]
    assert [held for _, held in query_verdicts({name: cost(1, "2")}, {name: cost(2)})] == [True, False]


def test_no_answer_is_not_an_equal_one() -> None:
    name = next(iter(QUERIES))
    empty = Cost(1, 1, 0, [])
    assert [held for _, held in query_verdicts({name: empty}, {name: empty})] == [True, False]
