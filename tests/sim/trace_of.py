"""Prints the hash of a short run of a scenario: started in interpreters that hash differently."""

from __future__ import annotations

import sys

from mimir_rw.testing import cluster_scenario, storage_scenario
from mimir_rw.testing.seeds import SCENARIOS, run_seed

if __name__ == "__main__":
    cluster_scenario.LASTS_S = storage_scenario.LASTS_S = 120.0
    outcome = run_seed(SCENARIOS[sys.argv[2]], int(sys.argv[1]))
    print(outcome.events, outcome.digest, *outcome.complaints)
