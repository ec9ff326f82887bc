"""Metrics of cutting, uploading and closing, by Mimir's names."""

from __future__ import annotations

from mimir_rw.kit.metrics import Metrics
from mimir_rw.tsdb.cutter import CutReport

CUT_BUCKETS_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class UpkeepMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self.triggered = metrics.counter(
            "cortex_ingester_tsdb_compactions_triggered_total", "Times that a head was to be cut."
        )
        self.cuts = metrics.counter("cortex_ingester_tsdb_compactions_total", "Blocks cut from heads.")
        self.failed = metrics.counter("cortex_ingester_tsdb_compactions_failed_total", "Cuts that failed.")
        self.seconds = metrics.histogram(
            "cortex_ingester_tsdb_compaction_duration_seconds", "How long it took to cut a head.", CUT_BUCKETS_S
        )
        self.series_removed = metrics.counters(
            "cortex_ingester_memory_series_removed_total", "Series that left memory.", ("user",)
        )
        self.checkpoints = metrics.counter(
            "cortex_ingester_tsdb_checkpoint_creations_total", "Checkpoints of write-ahead logs."
        )
        self.idle_checks = metrics.counters(
            "cortex_ingester_idle_tsdb_checks_total", "Looks whether a tenant can be closed, by outcome.", ("result",)
        )
        self.syncs = metrics.counter("cortex_ingester_shipper_dir_syncs_total", "Looks for blocks to upload.")
        self.sync_failures = metrics.counter(
            "cortex_ingester_shipper_dir_sync_failures_total", "Looks for blocks to upload that failed."
        )
        self.quarantined = metrics.counter(
            "mimir_rw_ingester_blocks_quarantined_total", "Local blocks that were set aside because they are damaged."
        )

    def cut(self, user: str, report: CutReport, seconds: float) -> None:
        self.cuts.inc(len(report.blocks))
        self.seconds.observe(seconds)
        if report.series_dropped:
            self.series_removed.labels(user).inc(report.series_dropped)
        if report.segments_folded:
            self.checkpoints.inc()
