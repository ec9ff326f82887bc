"""Caches of bytes that can be fetched again."""
