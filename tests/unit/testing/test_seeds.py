import asyncio

import pytest

from mimir_rw.kit.logging import get_logger
from mimir_rw.testing import seeds


async def fine(sim, directory):
    assert directory.is_dir()
    await asyncio.sleep(600)
    get_logger(component="x").info("a line")
    return []


async def sour(sim, directory):
    await asyncio.sleep(1)
    return [f"{sim.rng('x').random():.3f} is not what it should be"]


async def broken(sim, directory):
    await asyncio.sleep(1)
    raise ValueError("no")


async def careless(sim, directory):
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(1)
    return []


@pytest.fixture(autouse=True)
def scenarios(monkeypatch):
    names = ("fine", "sour", "broken", "careless")
    monkeypatch.setattr(seeds, "SCENARIOS", {name: f"{__name__}:{name}" for name in names})


def test_a_seed_without_complaint(tmp_path, capsys):
    trace = tmp_path / "trace"
    assert seeds.main(["--scenario=fine", "--seed=3", f"--trace={trace}"]) == 0
    assert "1600 virtual seconds" in capsys.readouterr().err
    assert "a line" in trace.read_text()


@pytest.mark.parametrize(
    ("scenario", "text"),
    [("sour", "is not what it should be"), ("broken", "ValueError: no"), ("careless", "ZeroDivisionError")],
)
def test_a_complaint_names_the_seed_and_how_to_run_it_again(scenario, text, capsys):
    assert seeds.main([f"--scenario={scenario}", "--seed=3"]) == 1
    said = capsys.readouterr().err
    assert text in said
    assert f"make sim SEED=3 SCENARIO={scenario} TRACE=" in said


def test_many_seeds_outlast_the_workers_that_begin(monkeypatch, capsys):
    monkeypatch.setattr(seeds, "_SEEDS_PER_WORKER", 1)
    assert seeds.main(["--scenario=fine", "--seeds=5", "--jobs=2"]) == 0
    assert "5/5 seeds" in capsys.readouterr().err


def test_many_seeds_of_which_some_complain(capsys):
    assert seeds.main(["--scenario=sour", "--seeds=2", "--jobs=1"]) == 1
    assert "2 failed" in capsys.readouterr().err
