"""Collaborators of everything else: clock, chance, threads, services, tasks, backoff, limits, metrics, logging."""
