"""Prometheus' own tool reads our blocks, and we read its."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mimir_rw._native import LocalBlock, copy_block
from tests.unit.blocks.made import RANGES, START_MS, Content, Made, read

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
SERIES = 300


def promtool(*args: str) -> str:
    return subprocess.run(["promtool", *args], check=True, capture_output=True, text=True, timeout=120).stdout


def dumped(text: str) -> Content:
    """`{__name__="a", b="c"} 1.5 1600000000000`, a line for each sample."""
    content: Content = {}
    for line in text.splitlines():
        labels, value, time = re.fullmatch(r"(\{.*\}) (\S+) (\d+)", line).groups()  # type: ignore[union-attr]
        pairs = dict(re.findall(r'([\w]+)="((?:[^"\\]|\\.)*)"', labels))
        name = pairs.pop("__name__")
        key = name + "{" + ", ".join(f'{label}="{text}"' for label, text in sorted(pairs.items())) + "}"
        content.setdefault(key, []).append((int(time), float(value)))
    return content


def test_promtool_reads_our_block(tmp_path: Path) -> None:
    made = Made(tmp_path, SERIES, segment_bytes=64 << 10)
    (tmp_path / "wal").mkdir()
    listed = promtool("tsdb", "list", str(tmp_path))
    columns = listed.splitlines()[1].split()
    assert columns[0] == made.path.name
    assert [int(number) for number in columns[4:7]] == [made.stats.samples, made.stats.chunks, made.stats.series]
    analysed = promtool("tsdb", "analyze", str(tmp_path), made.path.name)
    assert f"Series: {SERIES}" in analysed
    expected = made.content(range(SERIES), *RANGES[0])
    found = dumped(promtool("tsdb", "dump", str(tmp_path)))
    normal = {dumped_key(labels): samples for labels, samples in expected.items()}
    assert {labels: sorted(samples) for labels, samples in found.items()} == normal
    some = dumped(promtool("tsdb", "dump", '--match={__name__="metric_2",zone=~"z[01]"}', str(tmp_path)))
    block = LocalBlock(str(made.path))
    ours = read(block.select([(0, "__name__", "metric_2"), (2, "zone", "z[01]")], *RANGES[0]), *RANGES[0])
    assert some == {dumped_key(labels): samples for labels, samples in ours.items()}


def dumped_key(labels: str) -> str:
    """As `dumped` writes it."""
    name, rest = labels.split("{", 1)
    pairs = re.findall(r'([\w]+)="((?:[^"\\]|\\.)*)"', rest)
    return name + "{" + ", ".join(f'{label}="{text}"' for label, text in sorted(pairs)) + "}"


def sections(index: bytes) -> list[int]:
    return [int.from_bytes(index[at : at + 8], "big") for at in range(len(index) - 52, len(index) - 4, 8)]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A block that promtool made."""
    directory = tmp_path_factory.mktemp("theirs")
    made = Made(tmp_path_factory.mktemp("source"), 120)
    lines = []
    for labels, samples in made.content(range(120), *RANGES[0]).items():
        lines += [
            f"{labels.replace(', ', ',')} {value!r} {time / 1000}"
            for time, value in samples
            if time < START_MS + 3_000_000
        ]
    source = directory / "source.txt"
    source.write_text("\n".join([*lines, "# EOF", ""]))
    promtool("tsdb", "create-blocks-from", "openmetrics", str(source), str(directory / "out"))
    (block, *_) = sorted((directory / "out").iterdir())
    return block


def test_a_block_of_theirs_written_again_is_theirs(theirs: Path, tmp_path: Path) -> None:
    copy_block(str(theirs), str(tmp_path))
    for path in sorted((theirs / "chunks").iterdir()):
        assert (tmp_path / "chunks" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "tombstones").read_bytes() == (theirs / "tombstones").read_bytes()
    index, own = (theirs / "index").read_bytes(), (tmp_path / "index").read_bytes()
    symbols, series, _, label_table, postings, table = sections(index)
    own_symbols, own_series, own_label_indices, own_label_table, own_postings, own_table = sections(own)
    assert (own_symbols, own_series) == (symbols, series)
    # Symbols and series are equal bytes. Newer releases write no label indices behind them, nor do we.
    end = own_label_indices
    assert own[:end] == index[:end]
    assert own_postings == own_label_indices
    assert own_label_table == own_table
    shift = (postings + 3) // 4 * 4 - (own_postings + 3) // 4 * 4
    lists_end = label_table if label_table != table else table
    assert own[(own_postings + 3) // 4 * 4 : own_table] == index[(postings + 3) // 4 * 4 : lists_end]
    ours = [(name, value, at + shift) for name, value, at in entries(own, own_table)]
    assert ours == entries(index, table)


def entries(index: bytes, at: int) -> list[tuple[bytes, bytes, int]]:
    """Of a postings table."""
    count, at = int.from_bytes(index[at + 4 : at + 8], "big"), at + 8
    found = []
    for _ in range(count):
        assert index[at] == 2
        name, at = text(index, at + 1)
        value, at = text(index, at)
        offset, at = uvarint(index, at)
        found.append((name, value, offset))
    return found


def text(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = uvarint(data, at)
    return data[at : at + size], at + size


def uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] >= 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1


def test_we_read_their_block(theirs: Path) -> None:
    ours = read(LocalBlock(str(theirs)).select([], *RANGES[0]), *RANGES[0])
    (theirs.parent / "wal").mkdir(exist_ok=True)
    found = dumped(promtool("tsdb", "dump", str(theirs.parent)))
    known = {dumped_key(labels): samples for labels, samples in ours.items()}
    for labels, samples in known.items():
        assert set(samples) <= set(found[labels])
    # Their output has a block for every two hours.
    last = max(time for samples in known.values() for time, _ in samples)
    assert sum(map(len, known.values())) == sum(time <= last for samples in found.values() for time, _ in samples)
