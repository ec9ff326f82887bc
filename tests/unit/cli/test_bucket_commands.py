"""`mimir-rw bucket` from the command line, over a bucket in a directory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from mimir_rw.bucket.cleaner import Cleaner, CleanerSettings, TenantPolicy
from mimir_rw.bucket.cleaner_metrics import CleanerMetrics
from mimir_rw.cli.bucket_place import split_server_flags
from mimir_rw.cli.commands import run_command
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.objstore.filesystem import FilesystemBucket
from tests.unit.bucket.bucket_world import promtool_blocks


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run_command(["bucket", arguments[0], f"-blocks-storage.filesystem.dir={place}", *arguments[1:]])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    return promtool_blocks(tmp_path)


def clean(place: Path) -> None:
    bucket = FilesystemBucket(place, offload=InlineOffload(), clock=SystemClock())
    cleaner = Cleaner(bucket=bucket, clock=SystemClock(), settings=CleanerSettings(), metrics=CleanerMetrics(Metrics()))
    asyncio.run(cleaner.clean("team-a", TenantPolicy()))


def test_from_a_prometheus_to_the_bucket_and_back(run, blocks, place):
    code, out, _ = run("backfill", "team-a", str(blocks), "--json")
    results = json.loads(out)
    assert code == 0
    assert {result["state"] for result in results} == {"uploaded"}
    code, out, _ = run("backfill", "team-a", str(blocks))
    assert code == 0
    assert out.count("there already") == len(results)
    clean(place)

    code, out, _ = run("ls", "--json")
    (tenant,) = json.loads(out)
    assert (tenant["tenant"], tenant["blocks"], tenant["min_time"]) == ("team-a", len(results), 1_600_000_000_000)
    code, out, _ = run("ls")
    assert "team-a" in out
    code, out, _ = run("ls", "team-a", "--json")
    listed = [row["block"] for row in json.loads(out)]
    assert sorted(listed) == sorted(result["block"] for result in results)
    code, out, _ = run("ls", "team-a")
    assert "2020-09-13 12:26:40" in out

    code, out, _ = run("inspect", "team-a", listed[0], "--json")
    facts = json.loads(out)
    assert (facts["source"], facts["series"], facts["level"]) == ("upload", 2, 1)
    assert set(facts["objects"]) == {"chunks/000001", "index", "meta.json"}
    code, out, _ = run("inspect", "team-a", listed[0])
    assert "samples" in out

    code, out, _ = run("verify", "team-a", "--json")
    assert (code, {tuple(row["problems"]) for row in json.loads(out)}) == (0, {()})
    (place / "team-a" / listed[0] / "chunks" / "000001").write_bytes(b"damaged")
    code, out, _ = run("verify", "team-a", listed[0])
    assert code == 1
    assert "chunks/000001 has 7 bytes" in out


def test_marks(run, blocks, place):
    run("backfill", "team-a", str(blocks), "--no-verify")
    one, two = sorted(path.name for path in blocks.iterdir())[:2]
    assert run("mark", "team-a", one, "--delete", "--details=too much")[0] == 0
    assert run("mark", "team-a", two, "--no-compact")[0] == 0
    rows = {row["block"]: row for row in json.loads(run("ls", "team-a", "--json")[1])}
    assert rows[one]["deletion_time"] is not None
    assert rows[two]["no_compact"]
    text = run("ls", "team-a")[1]
    assert "no-compact" in text
    assert "deleted " in text
    assert run("undelete", "team-a", one)[0] == 0
    assert run("undelete", "team-a", two, "--no-compact")[0] == 0
    rows = {row["block"]: row for row in json.loads(run("ls", "team-a", "--json")[1])}
    assert rows[one]["deletion_time"] is None
    assert not rows[two]["no_compact"]


def test_what_goes_wrong_is_one_line(run, tmp_path):
    nothing = "01EJ0000000000000000000001"
    for arguments, said in (
        (["inspect", "team-a", nothing], "does not exist"),
        (["inspect", "team-a", "../../etc"], "is not the ULID of a block"),
        (["ls", "../x"], "tenant ID"),
        (["mark", "team-a", nothing, "--delete"], "does not exist"),
        (["undelete", "team-a", nothing], "no meta.json"),
        (["backfill", "team-a", str(tmp_path)], "has no blocks"),
        (["backfill", "team-a", str(tmp_path / "none")], "No such file"),
        (["ls", "-blocks-storage.backend=gcs"], "gcs is not supported"),
        (["ls", "-config.file", str(tmp_path / "none.yaml")], "none.yaml: No such file"),
    ):
        code, _, err = run(*arguments)
        assert (code, err.count("\n")) == (1, 1), (arguments, err)
        assert said in err
    assert run("mark", "team-a", nothing)[0] == 2


def test_validate(run, place):
    code, out, _ = run("validate", "--objects=30", "--json")
    assert code == 0
    assert {each["problem"] for each in json.loads(out)} == {""}
    assert not list(place.iterdir())


def test_flags_of_the_server_stand_anywhere():
    arguments = ["bucket", "-config.file", "m.yaml", "ls", "-common.storage.s3.insecure", "t", "--json", "-a.b=c"]
    flags, rest = split_server_flags(arguments)
    assert flags == ["-config.file", "m.yaml", "-common.storage.s3.insecure", "-a.b=c"]
    assert rest == ["bucket", "ls", "t", "--json"]
