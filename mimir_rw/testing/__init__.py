"""The simulation: a loop with virtual time, a network in memory, faults from one seed. Imported by tests only."""
