"""Limits of what one query fetches, counted as it arrives, by whoever fetches."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.model.errors import LimitExceeded


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Of what one query fetches. 0 means no limit."""

    series_max: int = 0
    chunk_bytes_max: int = 0
    memory_bytes_max: int = 0

    def check(self, series: int, size: int, held: int) -> None:
        """series, size: fetched so far; held: bytes in memory at once. Raises LimitExceeded."""
        if 0 < self.series_max < series:
            raise _exceeded(
                "number of series",
                f"{self.series_max} series",
                "-querier.max-fetched-series-per-query",
                "max-series-per-query",
            )
        if 0 < self.chunk_bytes_max < size:
            raise _exceeded(
                "aggregated chunks size",
                f"{self.chunk_bytes_max} bytes",
                "-querier.max-fetched-chunk-bytes-per-query",
                "max-chunks-bytes-per-query",
            )
        if 0 < self.memory_bytes_max < held:
            raise _exceeded(
                "allowed amount of estimated memory consumed by a single query",
                f"{self.memory_bytes_max} bytes",
                "-querier.max-estimated-memory-consumption-per-query",
                "max-estimated-memory-consumption-per-query",
            )


def _exceeded(what: str, limit: str, flag: str, error_id: str) -> LimitExceeded:
    return LimitExceeded(
        f"the query exceeded the maximum {what} (limit: {limit}); consider reducing the time range and/or number of "
        f"series selected by the query; to change the limit, set {flag} or contact your service administrator",
        error_id=error_id,
    )
