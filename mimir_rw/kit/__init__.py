"""Collaborators of everything else: clock, chance, threads, services, tasks, limits, metrics, logging."""
