"""The bucket that a command works on: named by the server's own flags and configuration file."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import typer

from mimir_rw.app.build.buckets import blocks_bucket, bucket_name
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.flags import COMMANDS, CONFIG_FILE
from mimir_rw.config.load import load, read_bytes, settings_by_flag
from mimir_rw.config.settings import Kind
from mimir_rw.config.storage import PART_BYTES_MIN
from mimir_rw.config.tree import BlocksStorageConfig, Config
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload, ThreadOffload
from mimir_rw.kit.rng import system_rng
from mimir_rw.model.errors import MimirError
from mimir_rw.objstore.contract import Bucket
from mimir_rw.objstore.instrumented import BucketMetrics

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    config: Config
    bucket: Bucket
    offload: Offload

    async def create(self) -> bool:
        """Make S3's bucket; False if it is there already."""
        from mimir_rw.objstore.s3 import S3Bucket

        whole = dataclasses.replace(self.config.blocks_storage, storage_prefix="")
        bucket = _bucket(whole)
        assert isinstance(bucket, S3Bucket)
        try:
            return await bucket.create()
        finally:
            await bucket.close()

    def with_small_parts(self) -> Bucket:
        """The same bucket, of a client that sends even a small file in parts."""
        storage = self.config.blocks_storage
        return _bucket(dataclasses.replace(storage, s3=dataclasses.replace(storage.s3, part_size=PART_BYTES_MIN)))

    @property
    def name(self) -> str:
        return f"{self.config.blocks_storage.backend} {bucket_name(self.config.blocks_storage)}"


def split_server_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The server's flags among a command's arguments (one dash; our own options have two), and the rest."""
    settings = settings_by_flag()
    flags: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        name = argument.removeprefix("-")
        if not argument.startswith("-") or argument.startswith("--") or not name:
            rest.append(argument)
            continue
        flags.append(argument)
        known = name == CONFIG_FILE or (name in settings and settings[name].leaf.kind is not Kind.BOOLEAN)
        if known and name not in COMMANDS and (value := next(waiting, None)) is not None:
            flags.append(value)
    return flags, rest


def work_on_bucket(context: typer.Context, work: Callable[[Place], Coroutine[Any, Any, T]]) -> T:
    """Run `work` with the bucket that the flags name. What goes wrong is one line and exit status 1."""
    try:
        loaded = load(list(context.obj or ()), environment=os.environ, read=read_bytes)
    except ConfigError as error:
        print(f"mimir-rw: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    try:
        return asyncio.run(_work(loaded.config, work))
    except (MimirError, OSError) as error:
        print(f"mimir-rw: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


async def _work(config: Config, work: Callable[[Place], Coroutine[Any, Any, T]]) -> T:
    bucket = _bucket(config.blocks_storage)
    offload = ThreadOffload(name="work")
    try:
        return await work(Place(config, bucket, offload))
    finally:
        await bucket.close()
        offload.close()


def _bucket(storage: BlocksStorageConfig) -> Bucket:
    clock = SystemClock()
    return blocks_bucket(
        storage,
        clock=clock,
        rng=system_rng(),
        new_offload=lambda name, threads: ThreadOffload(name=name, threads=threads),
        metrics=BucketMetrics(Metrics(), clock=clock),
    )
