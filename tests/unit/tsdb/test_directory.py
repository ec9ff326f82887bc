from __future__ import annotations

from pathlib import Path

import pytest

from mimir_rw.model.errors import BadRequest
from mimir_rw.tsdb.directory import DataDirectory, DirectoryInUse, DirectoryUnusable


def test_one_at_a_time(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path / "tsdb"), DataDirectory(tmp_path / "tsdb")
    first.lock()
    with pytest.raises(DirectoryInUse, match="in use"):
        second.lock()
    first.unlock()
    second.lock()


def test_what_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DirectoryUnusable, match=r"data directory .*/file cannot be used: it is no directory"):
        DataDirectory(tmp_path / "file").lock()
    with pytest.raises(DirectoryUnusable, match=r"cannot be used: Not a directory"):
        DataDirectory(tmp_path / "file" / "tsdb").lock()


def test_only_tenants_are_listed(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.lock()
    (tmp_path / "b" / "wal").mkdir(parents=True)
    (tmp_path / "b" / "wal" / "00000000").write_bytes(b"12345")
    (tmp_path / "a").mkdir()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "file").write_text("x")
    assert directory.tenants() == ([("a", 0), ("b", 5)], ["lost+found"])


@pytest.mark.parametrize("tenant", ["..", ".", "a/b", "", "@lock", "x" * 151])
def test_no_way_out_of_the_directory(tmp_path: Path, tenant: str) -> None:
    with pytest.raises(BadRequest):
        DataDirectory(tmp_path).tenant(tenant)


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.probe()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        DataDirectory(tmp_path / "gone").probe()
