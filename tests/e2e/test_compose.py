"""The read-write mode in containers: compose/read-write.yml on a real Docker engine, from images of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import three_zones_active
from tests.e2e.equality import assert_ten_queries_equal
from tests.e2e.processes import free_port, query

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
PROJECT = "mimir-rw-test"
SERVERS = ["write-a", "write-b", "write-c", "backend-a", "backend-b", "backend-c", "read-1", "read-2"]


def run(*argv: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, cwd=ROOT, env=os.environ | (env or {}), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


class Compose:
    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self.gateway = f"http://127.0.0.1:{env['GATEWAY_PORT']}"
        self.prometheus = f"http://127.0.0.1:{env['PROMETHEUS_PORT']}"

    def __call__(self, *argv: str) -> str:
        return run(".tools/docker-compose", "-p", PROJECT, "-f", "compose/read-write.yml", *argv, env=self._env)

    def inspect(self, service: str) -> Any:
        return json.loads(run("docker", "inspect", self("ps", "-q", service).strip()))[0]


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    run("scripts/docker-tools")
    lines = run("compose/local-images/build", "test").splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    made = Compose(env | {"GATEWAY_PORT": str(free_port()), "PROMETHEUS_PORT": str(free_port()), "SUBNET": "10.89.83"})
    try:
        made("up", "--detach", "--no-build", "--quiet-pull")
        yield made
    finally:
        print(made("logs", "--tail", "30"))
        made("down", "--volumes", "--timeout", "30")


def wait_healthy(compose: Compose, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        rows = [json.loads(line) for line in compose("ps", "--format", "json").splitlines()]
        healthy = {row["Service"] for row in rows if row.get("Health") == "healthy"}
        if healthy >= set(SERVERS):
            return
        assert time.monotonic() < deadline, [(row["Service"], row["State"], row.get("Health")) for row in rows]
        time.sleep(1)


def test_a_real_prometheus_writes_through_the_gateway_and_answers_are_equal(compose: Compose) -> None:
    wait_healthy(compose)
    assert_ten_queries_equal(
        compose.prometheus, f"{compose.gateway}/prometheus", series='up{job=~"mimir-.*"} == 1', count=8
    )


def test_three_zones_are_active(compose: Compose) -> None:
    wait_healthy(compose)
    assert three_zones_active(compose.gateway)


def test_the_object_storage_is_fit_and_holds_nothing_that_is_not_ours(compose: Compose) -> None:
    wait_healthy(compose)
    flag = "-config.file=/etc/mimir-rw/mimir.yaml"
    said = compose("exec", "-T", "backend-a", "mimir-rw", "bucket", "validate", "--objects=50", flag)
    assert said.count("\nok ") == 8, said
    tenants = json.loads(compose("exec", "-T", "read-1", "mimir-rw", "bucket", "ls", "--json", flag))
    assert {each["tenant"] for each in tenants} <= {"anonymous"}


@pytest.mark.parametrize("service", SERVERS)
def test_containers_are_locked_down(compose: Compose, service: str) -> None:
    facts = compose.inspect(service)
    host = facts["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == 512 << 20
    assert facts["Config"]["User"] == "10001:10001"


def test_ports_are_published_on_loopback_only(compose: Compose) -> None:
    for service in ("gateway", "prometheus"):
        bindings = [b for each in compose.inspect(service)["NetworkSettings"]["Ports"].values() for b in each or []]
        assert bindings
        assert {b["HostIp"] for b in bindings} == {"127.0.0.1"}


def test_a_killed_container_comes_back_and_loses_nothing(compose: Compose) -> None:
    wait_healthy(compose)
    at = time.time() - 5
    before = query(f"{compose.gateway}/prometheus", "query", query='count({__name__=~".+"})', time=at)["result"]
    run("docker", "kill", "--signal", "KILL", compose("ps", "-q", "write-b").strip())
    during = query(f"{compose.gateway}/prometheus", "query", query='count({__name__=~".+"})', time=at)["result"]
    compose("start", "write-b")
    wait_healthy(compose)
    after = query(f"{compose.gateway}/prometheus", "query", query='count({__name__=~".+"})', time=at)["result"]
    assert before == during == after
