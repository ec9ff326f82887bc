"""What one query holds in memory, against its limits.

Operators follow a stack discipline: what an operator took above its mark is given back when it ends, but for its
result. The estimate counts matrices and decoded samples, which is nearly everything.
"""

from __future__ import annotations

from mimir_rw.model.errors import LimitExceeded, QueryFailed

SAMPLE_BYTES = 16
CELL_BYTES = 9  # of a matrix: a float64 and its presence
TOO_MANY_SAMPLES = "query processing would load too many samples into memory in query execution"


class MemoryAccount:
    """Mutable; owned by one evaluation. bytes_max 0: no limit."""

    def __init__(self, *, bytes_max: int, samples_max: int) -> None:
        self._bytes_max = bytes_max
        self._samples_max = samples_max
        self._results_bytes = 0
        self.current_bytes = 0
        self.held_bytes = 0
        self.peak_bytes = 0
        self.samples_read = 0

    def take(self, nbytes: int) -> None:
        """Raises LimitExceeded when the query would hold more bytes than it may, QueryFailed for too many samples."""
        self.current_bytes += nbytes
        if self.current_bytes + self.held_bytes > self.peak_bytes:
            self.peak_bytes = self.current_bytes + self.held_bytes
            if self.peak_bytes > self._samples_max * SAMPLE_BYTES:
                raise QueryFailed(TOO_MANY_SAMPLES)
            self._check(self.peak_bytes)

    def check_beside(self, result_bytes: int) -> None:
        """A result was made, and what it was made of is still there. Raises LimitExceeded."""
        self._check(self.current_bytes + self.held_bytes + result_bytes)

    def _check(self, nbytes: int) -> None:
        if 0 < self._bytes_max < nbytes:
            raise LimitExceeded(
                "the query exceeded the maximum allowed estimated amount of memory consumed by a single query "
                f"(limit: {self._bytes_max} bytes)",
                error_id="max-estimated-memory-consumption-per-query",
            )

    def settle(self, mark: int, result_bytes: int) -> None:
        """Back to `mark`, plus the result that stays."""
        self.current_bytes = mark
        self.take(result_bytes)

    def hold(self, nbytes: int) -> None:
        """What stays whatever operators end, until `release`. Raises as `take` does."""
        self.held_bytes += nbytes
        self.take(0)

    def release(self, nbytes: int) -> None:
        self.held_bytes -= nbytes

    def keep_result(self, nbytes: int) -> None:
        """An evaluation has ended; of what it took only its result stays, to the end of the query."""
        self.current_bytes = 0
        self._results_bytes += nbytes
        self.held_bytes = self._results_bytes
        self.take(0)

    def read_samples(self, count: int) -> None:
        self.samples_read += count
