"""Marks: small JSON objects beside blocks that say what is to become of them, and of a whole tenant.

Times are Unix seconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mimir_rw.formats.json_members import Members
from mimir_rw.formats.ulid import is_ulid

MARK_BYTES_MAX = 1 << 20
VERSION = 1

REASON_MANUAL = "manual"
REASON_INDEX_SIZE = "index-size-exceeding"
REASON_OUT_OF_ORDER_CHUNK = "block-index-out-of-order-chunk"
REASON_CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class DeletionMark:
    """The block is to be deleted once a delay has passed, so that nobody still reads it."""

    ulid: str
    deletion_time_s: int
    """When the mark was set."""
    details: str = ""

    def encode(self) -> bytes:
        return _encode({"id": self.ulid, "version": VERSION, "deletion_time": self.deletion_time_s}, self.details)

    @classmethod
    def decode(cls, data: bytes, what: str = "deletion mark") -> DeletionMark:
        """Raises DataDamaged."""
        mark = Members.read(data, what, bytes_max=MARK_BYTES_MAX)
        mark.version(VERSION)
        return cls(mark.checked("id", is_ulid, "a ULID"), mark.integer("deletion_time"), mark.text("details"))


@dataclass(frozen=True, slots=True)
class NoCompactMark:
    """The block is served as it is and no compaction takes it."""

    ulid: str
    no_compact_time_s: int
    reason: str
    details: str = ""

    def encode(self) -> bytes:
        mark = {
            "id": self.ulid,
            "version": VERSION,
            "no_compact_time": self.no_compact_time_s,
            "reason": self.reason,
        }
        return _encode(mark, self.details)

    @classmethod
    def decode(cls, data: bytes, what: str = "no-compact mark") -> NoCompactMark:
        """Raises DataDamaged."""
        mark = Members.read(data, what, bytes_max=MARK_BYTES_MAX)
        mark.version(VERSION)
        return cls(
            mark.checked("id", is_ulid, "a ULID"),
            mark.integer("no_compact_time"),
            mark.text("reason"),
            mark.text("details"),
        )


@dataclass(frozen=True, slots=True)
class TenantDeletionMark:
    """All that the tenant has is to be deleted."""

    deletion_time_s: int
    """When it was asked for."""
    finished_time_s: int = 0
    """When the last block had gone; 0 while there are blocks."""

    def encode(self) -> bytes:
        mark = {"deletion_time": self.deletion_time_s}
        if self.finished_time_s:
            mark["finished_time"] = self.finished_time_s
        return json.dumps(mark, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes, what: str = "tenant deletion mark") -> TenantDeletionMark:
        """Raises DataDamaged."""
        mark = Members.read(data, what, bytes_max=MARK_BYTES_MAX)
        return cls(mark.integer("deletion_time"), mark.integer("finished_time"))


def _encode(mark: dict[str, Any], details: str) -> bytes:
    if details:
        mark["details"] = details
    return json.dumps(mark, separators=(",", ":"), ensure_ascii=False).encode()
