import os
import subprocess
import sys

from tests.tidy.source import ROOT


def trace_of(seed: int, hash_seed: int) -> str:
    command = [sys.executable, "-m", "tests.unit.testing.echo_script", str(seed)]
    env = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout


def test_equal_seeds_leave_equal_traces_and_others_do_not():
    first = trace_of(7, hash_seed=1)
    assert int(first.split()[0]) > 500
    assert trace_of(7, hash_seed=2) == first
    assert trace_of(8, hash_seed=1) != first
