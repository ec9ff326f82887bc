"""The bucket of a process that keeps it in a directory, with the blocks of its single tenant."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.processes import Process

TENANT = "anonymous"
WAIT_S = 60.0


class Bucket:
    def __init__(self, root: Path) -> None:
        self.root = root / TENANT
        self.root.mkdir(parents=True)

    def add(self, block: Path) -> Path:
        """As an uploader leaves it: without tombstones, meta.json last."""
        target = self.root / block.name
        shutil.copytree(block, target, ignore=shutil.ignore_patterns("tombstones", "meta.json"))
        shutil.copy(block / "meta.json", target / "meta.json")
        return target

    def whole(self) -> list[Path]:
        return sorted(path.parent for path in self.root.glob("*/meta.json"))

    def live(self) -> list[Path]:
        """Not marked for deletion, as the bucket index sees it: a process that dies between the two copies of a mark
        has written the one that counts."""
        marks = self.root / "markers"
        return [path for path in self.whole() if not (marks / f"{path.name}-deletion-mark.json").exists()]


def until(holds: Callable[[], Any], what: str, process: Process) -> Any:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited in vain until {what}\n{process.log_tail()}")
