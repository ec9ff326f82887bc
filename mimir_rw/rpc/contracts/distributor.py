"""What a distributor offers its callers (the push API; later the ruler)."""

from __future__ import annotations

from typing import Protocol


class Distributor(Protocol):
    async def push_remote_write(self, tenant: str, body: bytes) -> None:
        """Store a remote write 1.0 body (snappy block, protobuf) for the tenant.

        Returns when a quorum holds every valid series of it. When some rows are invalid the others are stored all the
        same and BadRequest (naming the first bad one and how many) is raised; RateLimited stores nothing. Unavailable
        and Internal mean that the sender should retry.
        """
        ...
