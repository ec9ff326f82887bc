"""Instants as text, the way Go writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(seconds: int) -> str:
    """`2020-09-13T12:26:40Z`; what no calendar has is shown as seconds."""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return f"{seconds}s"
