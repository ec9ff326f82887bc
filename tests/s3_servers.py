"""S3 servers for tests: moto's in this process, and one that checks signatures, built by scripts/s3-server."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.processes import free_port

KEY, SECRET = "test-key", "test-secret-of-some-length"
ROOT = Path(__file__).resolve().parents[1]
_numbers = itertools.count()
STRICT = ROOT / ".tools" / "versitygw"


@cache
def moto() -> str:
    """host:port of a server that keeps everything in memory and checks no signature; one for the whole run."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"{host}:{port}"


@cache
def strict() -> str:
    """host:port of a server that refuses requests with a wrong signature; one for the whole run. MIMIR_RW_TEST_S3 names
    another one that runs already and has these keys."""
    if "MIMIR_RW_TEST_S3" in os.environ:
        return os.environ["MIMIR_RW_TEST_S3"]
    place = Path(tempfile.mkdtemp(prefix="mimir-rw-s3-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    process, endpoint = start_strict(place)
    atexit.register(process.wait)
    atexit.register(process.kill)
    return endpoint


def start_strict(place: Path, *more: str, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """Such a server with its objects below a directory; the caller ends it. more: flags. port: 0 takes a free one."""
    if not STRICT.exists():
        if os.environ.get("CI") and shutil.which("go"):
            pytest.fail(f"{STRICT} is not there: run scripts/s3-server")
        pytest.skip(f"{STRICT} is not there: run scripts/s3-server")
    port = port or free_port()
    for name in ("objects", "sidecar"):
        (place / name).mkdir(parents=True, exist_ok=True)
    argv = [str(STRICT), "--access", KEY, "--secret", SECRET, "--port", f"127.0.0.1:{port}", "--region", "us-east-1",
            "--quiet", *more, "posix", "--sidecar", str(place / "sidecar"), str(place / "objects")]  # fmt: skip
    with (place / "log").open("wb") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log), f"127.0.0.1:{port}"


async def wait_until_it_listens(endpoint: str) -> None:
    host, _, port = endpoint.rpartition(":")
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                return
            await asyncio.sleep(0.02)


async def new_bucket(endpoint: str) -> str:
    """Make one, once the server listens; its name."""
    import boto3

    await wait_until_it_listens(endpoint)
    name = f"bucket-{next(_numbers)}-{os.getpid()}"
    client = boto3.client(
        "s3", endpoint_url=f"http://{endpoint}", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )  # fmt: skip
    await asyncio.get_running_loop().run_in_executor(None, lambda: client.create_bucket(Bucket=name))
    return name
