"""The data directory: one subdirectory per tenant, and a lock so that one process at a time uses it.

The names of our own files hold a character that no tenant id has.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from mimir_rw.model.errors import BadRequest
from mimir_rw.model.tenant import validate_tenant
from mimir_rw.tsdb.local_blocks import sync_directory

LOCK_NAME = "@lock"
PROBE_NAME = "@probe"
SHUTDOWN_NAME = "shutdown-requested.txt"
"""Mimir's name."""
PROBE_BYTES = 256 << 10


class DirectoryInUse(Exception):
    """Another process has the data directory open."""


class DirectoryUnusable(Exception):
    """The data directory cannot be made or written to."""


class DataDirectory:
    """Blocking calls: run them off the event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def lock(self) -> None:
        """Make the directory and take its lock. Raises DirectoryInUse or DirectoryUnusable."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            why = "it is no directory" if isinstance(error, FileExistsError) else error.strerror
            raise DirectoryUnusable(f"the data directory {self.path} cannot be used: {why}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise DirectoryInUse(f"the data directory {self.path} is in use by another process") from error
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def tenant(self, tenant: str) -> Path:
        """The tenant's own directory. Raises BadRequest for an id that is not valid."""
        return self.path / validate_tenant(tenant)

    def tenants(self) -> tuple[list[tuple[str, int]], list[str]]:
        """Tenants that have a log with its bytes, by name; and what else lies there under names no tenant can have."""
        found, foreign = [], []
        for entry in sorted(os.scandir(self.path), key=lambda e: e.name):
            if entry.name in (LOCK_NAME, PROBE_NAME) or not entry.is_dir():
                continue
            try:
                validate_tenant(entry.name)
            except BadRequest:
                foreign.append(entry.name)
                continue
            found.append((entry.name, _log_bytes(Path(entry.path))))
        return found, foreign

    def remove_tenant(self, tenant: str) -> None:
        """Remove all that a tenant has here. Raises OSError."""
        shutil.rmtree(self.tenant(tenant))

    @property
    def shutdown_prepared(self) -> bool:
        """Whether the next stop is to be for good."""
        return (self.path / SHUTDOWN_NAME).exists()

    def prepare_shutdown(self, prepared: bool) -> None:
        """Raises OSError."""
        marker = self.path / SHUTDOWN_NAME
        if not prepared:
            marker.unlink(missing_ok=True)
            return
        with marker.open("wb") as file:
            os.fsync(file.fileno())
        sync_directory(self.path)

    def probe(self) -> None:
        """Write and remove a file, to see whether the disk takes writes again. Raises OSError."""
        path = self.path / PROBE_NAME
        try:
            with path.open("wb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _log_bytes(tenant: Path) -> int:
    logs = (tenant / "wal", tenant / "wbl")
    return sum(file.stat().st_size for log in logs if log.is_dir() for file in log.iterdir() if file.is_file())
