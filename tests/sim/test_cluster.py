"""A whole cluster at work under faults; and what is broken on purpose is seen."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mimir_rw.components.distributor.sender import IngesterSender
from mimir_rw.components.ingester.service import IngesterService
from mimir_rw.ring.quorum import BatchTracker, ReadTracker
from mimir_rw.rpc.contracts.ingester import PushResult
from mimir_rw.testing import cluster_scenario
from mimir_rw.testing.node import Node
from mimir_rw.testing.process import current_process
from mimir_rw.testing.seeds import SCENARIOS, run_seed
from tests.sim.broken import seen
from tests.tidy.source import ROOT

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seed", [1])
def test_a_cluster_keeps_its_promise(seed):
    assert run_seed(SCENARIOS["cluster"], seed).complaints == ()


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(cluster_scenario, "LASTS_S", 150.0)


def test_an_ingester_that_acknowledges_and_forgets(short, monkeypatch):
    push = IngesterService.push_group

    async def forgetful(self, parts):
        if current_process().host.name == "write-b-0":
            return [PushResult(part.batch.sample_count) for part in parts]
        return await push(self, parts)

    monkeypatch.setattr(IngesterService, "push_group", forgetful)
    assert seen("cluster", "is held 1 times")


def test_a_log_that_is_gone_after_a_crash(short, monkeypatch):
    kill = Node.kill

    def wipe(self):
        kill(self)
        if self.name.startswith("write"):
            shutil.rmtree(self.host.directory / "tsdb", ignore_errors=True)

    monkeypatch.setattr(Node, "kill", wipe)
    assert seen("cluster", "is held 0 times")


def test_a_resend_that_is_dropped(short, monkeypatch):
    encode = IngesterSender._encode

    async def hopeful(self, jobs, known):
        """Takes the ingester to hold every series, so that labels go with resends only."""
        for job, sent in zip(jobs, known, strict=True):
            if sent is not None:
                sent.add(job.source.batch, np.arange(job.source.batch.series_count, dtype=np.uint32))
        return await encode(self, jobs, known)

    async def drop(self, again, epoch):
        self._end([each.job for each in again], PushResult(0))

    monkeypatch.setattr(IngesterSender, "_encode", hopeful)
    assert run_seed(SCENARIOS["cluster"], 1).complaints == ()
    monkeypatch.setattr(IngesterSender, "_send_again", drop)
    assert seen("cluster", "is held 1 times")


def test_a_querier_that_answers_from_one_zone(short, monkeypatch):
    counted = ReadTracker.counted
    monkeypatch.setattr(ReadTracker, "counted", lambda self: counted(self)[:1])
    assert seen("cluster", "lacks acknowledged samples")


def test_a_distributor_that_wants_all_replicas(short, monkeypatch):
    decide = BatchTracker.__init__

    def strict(self, placement):
        decide(self, placement)
        self._sets.max_errors = self._sets.max_errors * 0
        self._sets.needed = self._sets.awaited.copy()

    monkeypatch.setattr(BatchTracker, "__init__", strict)
    assert seen("cluster", "write failed at")


def trace_of(seed, *, hash_seed, scenario="cluster"):
    command = [sys.executable, "-m", "tests.sim.trace_of", str(seed), scenario]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_equal_seeds_leave_equal_traces():
    first = trace_of(5, hash_seed=1)
    assert int(first.split()[0]) > 5_000
    assert trace_of(5, hash_seed=2) == first
