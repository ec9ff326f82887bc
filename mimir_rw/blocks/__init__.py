"""Block artefacts on local disks; the files themselves are read and written by the native core (docs/blocks.md)."""
