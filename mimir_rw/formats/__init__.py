"""Bytes at rest, as Prometheus and Mimir write them (docs/object-storage.md)."""
