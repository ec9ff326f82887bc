"""The pages name only metrics that the program has and files that exist."""

import re

import pytest

from tests.tidy.source import ROOT

NAME = re.compile(r"\b(?:cortex|mimir_rw)_[a-z0-9_]+\b")
QUOTED = re.compile(r'"((?:cortex|mimir_rw)_[a-z0-9_]+)"')
LINK = re.compile(r"\]\((?!https?:)([^)#][^)]*)\)")
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_metrics_in_the_docs_exist(page):
    sources = (ROOT / "mimir_rw").rglob("*.py")
    known = {name for path in sources for name in QUOTED.findall(path.read_text())}
    parts = {name: re.sub(r"_(bucket|count|sum)$", "", name) for name in NAME.findall(page.read_text())}
    assert {name for name, metric in parts.items() if not known & {name, metric}} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_link_to_what_exists(page):
    targets = {target.partition("#")[0] for target in LINK.findall(page.read_text())}
    assert [target for target in targets if not (page.parent / target).exists()] == []
