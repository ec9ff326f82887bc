"""Runs a seed of a scenario that a test has broken."""

from __future__ import annotations

from mimir_rw.testing.seeds import SCENARIOS, run_seed


def complaints(scenario: str, *, seed: int) -> str:
    """What the seed complains of, a line each."""
    return "\n".join(run_seed(SCENARIOS[scenario], seed).complaints)
