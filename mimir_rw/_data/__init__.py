"""Data files that are part of the package: a file per target."""
