"""`mimir-rw bucket`: look at the blocks in object storage, mark them, bring some, prove that a store is fit.

The bucket is named by the server's own flags (-config.file=…, -blocks-storage.…), anywhere among the arguments.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mimir_rw.bucket.backfill import BackfillResult, BackfillState, backfill_block, deletions_text, find_blocks
from mimir_rw.bucket.blocks import (
    block_objects,
    download_block,
    fetch_meta,
    mark_deleted,
    mark_no_compact,
    unmark,
)
from mimir_rw.bucket.index_updater import read_index_or_rebuild, scan_tenant
from mimir_rw.bucket.layout import DELETION_MARK, NO_COMPACT_MARK, OWN, meta_key
from mimir_rw.bucket.tenants import list_tenants
from mimir_rw.cli.bucket_place import Place, work_on_bucket
from mimir_rw.cli.bucket_text import (
    block_data,
    block_table,
    blocks_data,
    blocks_table,
    plain_table,
    tenants_data,
    tenants_table,
)
from mimir_rw.formats.markers import REASON_MANUAL
from mimir_rw.formats.ulid import is_ulid
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.rng import secret_bytes
from mimir_rw.model.errors import BadRequest, DataDamaged, NotFound
from mimir_rw.model.tenant import validate_tenant
from mimir_rw.objstore.contract import ObjectNotFound
from mimir_rw.objstore.validate import Outcome, Validation

PIPED_WIDTH = 240
FILE_BYTES = 12_345_678
"""Of what is sent in parts to see whether that works: three of them."""

bucket_app = typer.Typer(help="Look at blocks in object storage, mark, verify and bring them.", no_args_is_help=True)

Tenant = Annotated[str, typer.Argument(help="The tenant.", metavar="TENANT")]
Blocks = Annotated[list[str], typer.Argument(help="Blocks, by their ULIDs.", metavar="BLOCK...")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@bucket_app.callback()
def bucket() -> None:
    """Look at blocks in object storage, mark, verify and bring them. The server's flags (-config.file=…,
    -blocks-storage.…) say where it is."""


@bucket_app.command()
def create(context: typer.Context) -> None:
    """Make the bucket itself, where it is S3's, unless it is there."""

    async def work(place: Place) -> None:
        storage = place.config.blocks_storage
        if storage.backend != "s3":
            print(f"{place.name}: a directory is made when it is needed")
            return
        new = await place.create()
        print(f"{place.name}: {'made' if new else 'is there already'}")

    work_on_bucket(context, work)


@bucket_app.command()
def ls(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Argument(help="Show this tenant's blocks.", metavar="TENANT")] = None,
    as_json: Json = False,
) -> None:
    """List the tenants of the bucket, or the blocks of one."""
    work_on_bucket(context, lambda place: _ls(place, tenant, as_json))


async def _ls(place: Place, tenant: str | None, as_json: bool) -> None:
    if tenant is None:
        found = {name: await read_index_or_rebuild(place.bucket, name) for name in await list_tenants(place.bucket)}
        _print_json(tenants_data(found)) if as_json else _console().print(tenants_table(found))
        return
    old = await read_index_or_rebuild(place.bucket, validate_tenant(tenant))
    scan = await scan_tenant(place.bucket, tenant, old=old, now_ms=SystemClock().now_ms())
    _print_json(blocks_data(scan)) if as_json else _console().print(blocks_table(scan))


@bucket_app.command()
def inspect(context: typer.Context, tenant: Tenant, block: str, as_json: Json = False) -> None:
    """Show what a block says of itself, and its objects."""
    work_on_bucket(context, lambda place: _inspect(place, tenant, block, as_json))


async def _inspect(place: Place, tenant: str, block: str, as_json: bool) -> None:
    _check(tenant, [block])
    objects = await block_objects(place.bucket, tenant, block)
    if not objects:
        raise NotFound(f"block {block} of {tenant} does not exist")
    meta, problem = None, ""
    try:
        meta = await fetch_meta(place.bucket, tenant, block)
    except (ObjectNotFound, DataDamaged) as error:
        problem = str(error)
    data = block_data(block, meta, problem, objects)
    _print_json(data) if as_json else _console().print(block_table(data))


@bucket_app.command()
def verify(
    context: typer.Context,
    tenant: Tenant,
    blocks: Annotated[list[str] | None, typer.Argument(help="Blocks; all without one.", metavar="BLOCK...")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Download into this directory and keep it: a second run takes what is there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Download blocks and read every byte of them. Exit status 1 if one is damaged."""
    sound = work_on_bucket(context, lambda place: _verify(place, tenant, blocks or [], keep, as_json))
    if not sound:
        raise typer.Exit(1)


async def _verify(place: Place, tenant: str, blocks: list[str], keep: Path | None, as_json: bool) -> bool:
    _check(tenant, blocks)
    if not blocks:
        scan = await scan_tenant(place.bucket, tenant, old=None, now_ms=SystemClock().now_ms())
        blocks = [block.ulid for block in scan.index.blocks]
    found: dict[str, list[str]] = {}
    with _progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as progress:
        task = progress.add_task("verifying", total=len(blocks))
        for block in blocks:
            found[block] = await _damage(place, tenant, block, keep)
            progress.advance(task)
    if as_json:
        _print_json([{"block": block, "problems": problems} for block, problems in found.items()])
    else:
        table = plain_table("BLOCK", "STATE", "FIRST PROBLEM")
        for block, problems in found.items():
            table.add_row(block, "damaged" if problems else "sound", problems[0] if problems else "")
        _console().print(table)
    return not any(found.values())


async def _damage(place: Place, tenant: str, block: str, keep: Path | None) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="mimir-rw-verify-") as scratch:
        directory = (keep or Path(scratch)) / block
        try:
            await download_block(place.bucket, tenant, block, directory, offload=place.offload)
        except (ObjectNotFound, DataDamaged) as error:
            return [str(error)]
        return await place.offload.run(block_problems, directory)


def block_problems(directory: Path) -> list[str]:
    """What verification finds in a block on disk, deletions that are not carried out too. Blocking."""
    from mimir_rw.blocks.verify import verify_block  # here: most commands need no native core

    report = verify_block(directory)
    return [*report.problems, *([deletions_text(report.tombstones)] if report.tombstones else [])]


@bucket_app.command()
def mark(
    context: typer.Context,
    tenant: Tenant,
    blocks: Blocks,
    delete: Annotated[bool, typer.Option("--delete", help="Mark for deletion; see undelete.")] = False,
    no_compact: Annotated[bool, typer.Option("--no-compact", help="Keep from being compacted.")] = False,
    details: Annotated[str, typer.Option(help="Why.")] = "",
    reason: Annotated[str, typer.Option(help="Reason of a no-compact mark.")] = REASON_MANUAL,
) -> None:
    """Mark blocks for deletion, which follows after the compactor's delay, or keep them from being compacted."""
    if delete == no_compact:
        print("mimir-rw: one of --delete and --no-compact is needed", file=sys.stderr)
        raise typer.Exit(2)

    async def work(place: Place) -> None:
        _check(tenant, blocks)
        for block in blocks:
            if not await block_objects(place.bucket, tenant, block):
                raise NotFound(f"block {block} of {tenant} does not exist")
        now_ms = SystemClock().now_ms()
        for block in blocks:
            if delete:
                await mark_deleted(place.bucket, tenant, block, now_ms=now_ms, details=details)
            else:
                await mark_no_compact(place.bucket, tenant, block, now_ms=now_ms, reason=reason, details=details)
            print(f"{block}: marked {'for deletion' if delete else 'no-compact'}")

    work_on_bucket(context, work)


@bucket_app.command()
def undelete(
    context: typer.Context,
    tenant: Tenant,
    blocks: Blocks,
    no_compact: Annotated[bool, typer.Option("--no-compact", help="Take the no-compact mark instead.")] = False,
) -> None:
    """Take marks back. A block whose deletion has begun is lost."""

    async def work(place: Place) -> None:
        _check(tenant, blocks)
        for block in blocks:
            if not await place.bucket.exists(meta_key(tenant, block)):
                raise NotFound(
                    f"block {block} of {tenant} has no meta.json: its deletion has begun, or it was never whole"
                )
            await unmark(place.bucket, tenant, block, NO_COMPACT_MARK if no_compact else DELETION_MARK)
            print(f"{block}: mark taken back")

    work_on_bucket(context, work)


@bucket_app.command()
def backfill(
    context: typer.Context,
    tenant: Tenant,
    directory: Annotated[Path, typer.Argument(help="Data directory of a Prometheus, or any with blocks in it.")],
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not read blocks before they are sent.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look, and send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Upload the blocks of a Prometheus data directory. What is there already stays; an interrupted run goes on where
    it ended. Exit status 1 if a block was refused or failed."""
    results = work_on_bucket(
        context, lambda place: _backfill(place, tenant, directory, verify=not no_verify, dry_run=dry_run)
    )
    if as_json:
        _print_json([{"block": r.ulid, "state": r.state.value, "detail": r.detail} for r in results])
    else:
        table = plain_table("BLOCK", "STATE", "DETAIL")
        for result in results:
            table.add_row(result.ulid, result.state.value, result.detail)
        _console().print(table)
    if any(result.state in (BackfillState.REFUSED, BackfillState.FAILED) for result in results):
        raise typer.Exit(1)


async def _backfill(place: Place, tenant: str, directory: Path, *, verify: bool, dry_run: bool) -> list[BackfillResult]:
    validate_tenant(tenant)
    blocks = await place.offload.run(find_blocks, directory)
    if not blocks:
        raise NotFound(f"{directory} has no blocks")
    results = []
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with _progress(*columns) as progress:
        task = progress.add_task("sending", total=sum(block.bytes for block in blocks))
        done = 0
        for block in blocks:
            results.append(
                await backfill_block(
                    place.bucket, tenant, block, offload=place.offload,
                    problems=block_problems if verify else None, dry_run=dry_run,
                )
            )  # fmt: skip
            done += block.bytes
            progress.update(task, completed=done)
    return results


@bucket_app.command()
def validate(
    context: typer.Context,
    objects: Annotated[int, typer.Option(help="Objects to write for a list of many.", min=1)] = 1100,
    as_json: Json = False,
) -> None:
    """Prove that the store does what is needed, by doing it in a directory that is removed again. Exit status 1 if
    it does not."""
    outcomes = work_on_bucket(context, lambda place: _validate(place, objects, quiet=as_json))
    if as_json:
        _print_json([{"check": o.name, "problem": o.problem, "seconds": round(o.seconds, 3)} for o in outcomes])
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(1)


async def _validate(place: Place, objects: int, *, quiet: bool) -> list[Outcome]:
    bucket = place.with_small_parts()
    run = Validation(
        bucket, directory=f"{OWN}validate_{secret_bytes(6).hex()}/", clock=SystemClock(),
        offload=place.offload, file_bytes=FILE_BYTES, objects=objects,
    )  # fmt: skip
    outcomes = []
    if not quiet:
        print(place.name)
    try:
        async for outcome in run.run():
            outcomes.append(outcome)
            if not quiet:
                print(f"{'ok    ' if not outcome.problem else 'FAILED'} {outcome.name} ({outcome.seconds:.2f} s)"
                      f"{': ' + outcome.problem if outcome.problem else ''}", flush=True)  # fmt: skip
    finally:
        await run.clean()
        await bucket.close()
    return outcomes


def _check(tenant: str, blocks: list[str]) -> None:
    validate_tenant(tenant)
    for block in blocks:
        if not is_ulid(block):
            raise BadRequest(f"{block} is not the ULID of a block")


def _console() -> Console:
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=PIPED_WIDTH)


def _progress(*columns: Any) -> Progress:
    """On a terminal only, beside what is printed."""
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print_json(data: object) -> None:
    print(json.dumps(data, indent=2))
