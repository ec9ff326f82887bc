"""The native head through its Python face, and against Prometheus' own tools where they are installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mimir_rw._native import DataDamaged, Head, RegexError, WalFailed
from tests.e2e.processes import need
from tests.unit.tsdb.batches import KEY, START_MS, batch, up

ALL = (-(1 << 62), 1 << 62)


def opened(directory: Path) -> Head:
    head = Head(str(directory), tenant="t", hash_key=KEY)
    done, total = 0, 1
    while done < total:
        done, total = head.replay_step(1 << 20)
    return head


def samples(head: Head) -> dict[str, list[tuple[int, float]]]:
    found = head.select([], *ALL)
    columns = found.decode(0, len(found.labels), *ALL)
    ends = columns.offsets.tolist()
    pairs = list(zip(columns.ts.tolist(), columns.values.tolist(), strict=True))
    return {row["instance"]: pairs[ends[i] : ends[i + 1]] for i, row in enumerate(found.labels.rows())}


def test_what_is_appended_is_selected_and_survives_reopening(tmp_path: Path) -> None:
    head = opened(tmp_path)
    results = head.append(
        [batch(up("a", (START_MS, 1.0)), up("b", (START_MS, 2.0))), batch(up("a", (START_MS + 1, 3.0)))]
    )
    assert [r.samples_stored for r in results] == [2, 1]
    want = {"a": [(START_MS, 1.0), (START_MS + 1, 3.0)], "b": [(START_MS, 2.0)]}
    assert samples(head) == want
    head.close()
    with pytest.raises(WalFailed):
        head.append([batch(up("a", (START_MS + 2, 1.0)))])
    again = opened(tmp_path)
    assert samples(again) == want
    assert again.extent() == (2, START_MS, START_MS + 1)
    assert again.replay_report().samples == 3


def test_a_segment_behind_a_link_is_read(tmp_path: Path) -> None:
    head = opened(tmp_path / "t")
    head.append([batch(up("a", (START_MS, 1.0)))])
    head.close()
    segment = tmp_path / "t" / "wal" / "00000000"
    segment.rename(tmp_path / "elsewhere")
    segment.symlink_to(tmp_path / "elsewhere")
    assert samples(opened(tmp_path / "t")) == {"a": [(START_MS, 1.0)]}


@pytest.mark.parametrize("kind", ["directory", "link to nowhere"])
def test_what_only_has_a_segments_name_is_not_passed_over(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "wal" / "00000000"
    path.parent.mkdir()
    path.symlink_to("nowhere") if kind != "directory" else path.mkdir()
    with pytest.raises(DataDamaged, match="00000000 has a segment's name and is no file"):
        opened(tmp_path)


def test_a_missing_segment_is_told(tmp_path: Path) -> None:
    for n in range(4):
        head = opened(tmp_path)
        head.append([batch(up(f"i{n}", (START_MS, 1.0)))])
        head.close()
    for gone in (1, 2):
        (tmp_path / "wal" / f"{gone:08}").unlink()
    head = opened(tmp_path)
    assert set(samples(head)) == {"i0", "i3"}
    assert head.replay_report().damage == [f"{tmp_path}/wal: segments 1 to 2 are missing"]


def test_refusals_name_the_first_sample(tmp_path: Path) -> None:
    head = opened(tmp_path)
    head.append([batch(up("a", (START_MS, 1.0)))])
    (result,) = head.append([batch(up("a", (START_MS, 2.0), (START_MS - 5, 2.0)), up("b", (START_MS, 1.0)))])
    assert result.samples_stored == 1
    refused = [(r.error_id, r.count, r.labels, r.time_ms) for r in result.refused]
    series = 'up{instance="a"}'
    assert refused == [
        ("sample-duplicate-timestamp", 1, series, START_MS),
        ("sample-out-of-order", 1, series, START_MS - 5),
    ]


def test_label_queries(tmp_path: Path) -> None:
    head = opened(tmp_path)
    head.append([batch(up("a", (START_MS, 1.0)), ({"__name__": "x", "job": "j"}, [(START_MS + 9, 1.0)]))])
    assert head.label_names([], *ALL) == ["__name__", "instance", "job"]
    assert head.label_names([(0, "__name__", "x")], *ALL) == ["__name__", "job"]
    assert head.label_names([], START_MS, START_MS + 1) == ["__name__", "instance"]
    assert head.label_values("__name__", [], *ALL) == ["up", "x"]
    assert head.label_values("__name__", [(3, "job", ".+")], *ALL) == ["up"]
    assert head.label_values("none", [], *ALL) == []
    frame = head.series([[(0, "job", "j")], [(2, "instance", "a|b")], [(0, "__name__", "up")]], *ALL)
    assert frame.rows() == [{"__name__": "up", "instance": "a"}, {"__name__": "x", "job": "j"}]
    with pytest.raises(RegexError):
        head.select([(2, "job", "(")], *ALL)


def test_prometheus_reads_the_log(tmp_path: Path) -> None:
    promtool = need("promtool", "prometheus")
    head = opened(tmp_path / "data")
    for step in range(200):
        rows = [up(f"i{i}", (START_MS + step * 1000, step * i / 7)) for i in range(50)]
        assert head.append([batch(*rows)])[0].samples_stored == 50
    want = samples(head)
    head.close()
    dumped = subprocess.run(
        [promtool, "tsdb", "dump", str(tmp_path / "data")], capture_output=True, text=True, check=True
    )
    got: dict[str, list[tuple[int, float]]] = {}
    for line in dumped.stdout.splitlines():
        labels, value, time = line.rsplit(" ", 2)
        instance = labels.split('instance="')[1].split('"')[0]
        got.setdefault(instance, []).append((int(time), float(value)))
    assert got == want
