"""What a distributor offers its callers (the push API; later the ruler)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mimir_rw.model.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Written:
    """What of a push is stored; what was stored before and came again counts."""

    samples: int = 0
    """Floats."""
    histograms: int = 0
    exemplars: int = 0


class PartlyStored(BadRequest):
    """Some of a push was refused, the rest stored."""

    def __init__(self, message: str, *, error_id: str | None, written: Written) -> None:
        super().__init__(message, error_id=error_id)
        self.written = written


class Distributor(Protocol):
    async def push_remote_write(self, tenant: str, body: bytes, *, version: int = 1) -> Written:
        """Store a remote write body (snappy block, protobuf) of version 1.0 or 2.0 for the tenant.

        Returns when a quorum holds every valid series of it. When some rows are invalid the others are stored all the
        same and PartlyStored is raised: of a 1.0 body it names the first bad one and how many, of 2.0 the first for
        each reason. RateLimited stores nothing. Unavailable and Internal mean that the sender should retry.
        """
        ...
