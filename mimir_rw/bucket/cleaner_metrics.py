"""What the cleaner counts, with Mimir's names."""

from __future__ import annotations

from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.kit.metrics import Metrics


class CleanerMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self._blocks = metrics.gauges("cortex_bucket_blocks_count", "Blocks in the bucket, marked ones too.", ("user",))
        self._marks = metrics.gauges(
            "cortex_bucket_blocks_marked_for_deletion_count", "Blocks in the bucket that are marked.", ("user",)
        )
        self._partial = metrics.gauges(
            "cortex_bucket_blocks_partials_count", "Partial blocks in the bucket.", ("user",)
        )
        self._updated = metrics.gauges(
            "cortex_bucket_index_last_successful_update_timestamp_seconds",
            "Unix time of the last bucket index that was written.",
            ("user",),
        )
        self.deleted = metrics.counter("cortex_compactor_blocks_cleaned_total", "Blocks deleted.")
        self.failures = metrics.counter(
            "cortex_compactor_block_cleanup_failures_total", "Blocks that could not be deleted."
        )
        self.marked = metrics.counters(
            "cortex_compactor_blocks_marked_for_deletion_total", "Blocks marked for deletion.", ("reason",)
        )

    def cleaned(self, tenant: str, index: BucketIndex, *, partial: int) -> None:
        """Tell what a run has left."""
        self._blocks.labels(tenant).set(len(index.blocks))
        self._marks.labels(tenant).set(len(index.deletion_marks))
        self._partial.labels(tenant).set(partial)
        self._updated.labels(tenant).set(index.updated_at_s)

    def forget(self, tenant: str) -> None:
        """Drop what is told of a tenant that is gone, or somebody else's now."""
        for family in (self._blocks, self._marks, self._partial, self._updated):
            family.remove(tenant)
