"""Local files that are whole or not there: written under a temporary name in the same directory, synced, renamed, and
the directory synced, so that neither a reader nor a crash of the machine meets a half of one. Blocking: for threads.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mimir_rw.objstore.contract import TEMPORARY


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which becomes `path` when the block ends well; directories are made as they are needed."""
    with _temporary(path) as (file, name):
        yield file
        file.flush()
        os.fsync(file.fileno())
        os.replace(name, path)
    with contextlib.suppress(FileNotFoundError):  # whoever deletes the file at once may take the directory with it
        sync_directory(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    with new_file(path) as file:
        file.write(data)


def copy_whole(source: Path, path: Path) -> int:
    """Copy a file; its size."""
    with source.open("rb") as reading, new_file(path) as file:
        shutil.copyfileobj(reading, file, 1 << 20)
        return file.tell()


def read_whole(path: Path) -> bytes:
    return path.read_bytes()


def sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    file, name = _open_temporary(path.parent)
    try:
        with file:
            yield file, name
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _open_temporary(directory: Path) -> tuple[BinaryIO, str]:
    """Who deletes the last file of a directory removes the directory: it may go between its making and its use."""
    for _ in range(100):
        try:
            make_directories(directory)
            handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=directory)
        except FileNotFoundError:
            continue
        os.fchmod(handle, 0o644)
        return os.fdopen(handle, "wb"), name
    raise FileNotFoundError(2, "the directory vanishes again and again", str(directory))


def make_directories(directory: Path) -> None:
    """Make a directory and those above it; each one that is new is synced into the one above."""
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        if directory.parent == directory:
            break
        directory = directory.parent
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            each.mkdir()
            sync_directory(each.parent)
