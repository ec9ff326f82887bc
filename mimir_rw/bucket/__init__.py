"""A tenant's blocks in object storage: everything whose order on shared storage matters (docs/object-storage.md)."""
