"""mimir-rw: a horizontally scalable, multi-tenant, long-term store for Prometheus metrics in read-write mode."""

from mimir_rw._native import __version__

__all__ = ["__version__"]
