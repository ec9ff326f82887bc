"""Data directories at the top of the tree are part of the package: each of their files has a link under `_data`.

The build follows links to files, not links to directories.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tidy.source import PACKAGE, ROOT


@pytest.mark.parametrize("name", ["targets"])
def test_every_data_file_is_linked(name: str) -> None:
    files = {p.relative_to(ROOT / name) for p in (ROOT / name).rglob("*") if p.is_file()}
    packed = PACKAGE / "_data" / name
    links = {p.relative_to(packed): p for p in packed.rglob("*") if not p.is_dir()}
    assert files
    assert set(links) == files
    for relative, link in links.items():
        assert link.is_symlink()
        assert link.resolve() == (ROOT / name / relative).resolve()
        assert not Path(link.readlink()).is_absolute()
