"""The compactor's metrics, by Mimir's names."""

from __future__ import annotations

from mimir_rw.kit.metrics import Counter, Family, Metrics

JOB_SECONDS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)


class CompactorMetrics:
    def __init__(self, metrics: Metrics, *, marked_for_deletion: Family[Counter]) -> None:
        """marked_for_deletion: by reason; the cleaner counts its own there."""
        self.marked_for_deletion = marked_for_deletion
        self.runs_started = metrics.counter("cortex_compactor_runs_started_total", "Runs over all tenants that began.")
        self.runs_completed = metrics.counter(
            "cortex_compactor_runs_completed_total", "Runs in which no tenant failed."
        )
        self.runs_failed = metrics.counters(
            "cortex_compactor_runs_failed_total", "Runs in which a tenant failed, or that were stopped.", ("reason",)
        )
        self.last_success = metrics.gauge(
            "cortex_compactor_last_successful_run_timestamp_seconds",
            "When the last run in which no tenant failed ended.",
        )
        self.tenants_discovered = metrics.gauge("cortex_compactor_tenants_discovered", "Tenants found in this run.")
        self.tenants_skipped = metrics.gauge("cortex_compactor_tenants_skipped", "Tenants of others in this run.")
        self.tenants_succeeded = metrics.gauge(
            "cortex_compactor_tenants_processing_succeeded", "Tenants that this run is done with."
        )
        self.tenants_failed = metrics.gauge(
            "cortex_compactor_tenants_processing_failed", "Tenants that failed in this run."
        )
        self.jobs_started = metrics.counter("cortex_compactor_group_compaction_runs_started_total", "Jobs that began.")
        self.jobs_completed = metrics.counter(
            "cortex_compactor_group_compaction_runs_completed_total", "Jobs that ended without an error."
        )
        self.jobs_failed = metrics.counters(
            "cortex_compactor_group_compactions_failures_total", "Jobs that failed, each try for itself.", ("reason",)
        )
        self.vertical = metrics.counter(
            "cortex_compactor_group_vertical_compactions_total", "Jobs that merged blocks of overlapping time."
        )
        self.compactions = metrics.counter("cortex_compactor_group_compactions_total", "Jobs that made blocks.")
        self.job_duration = metrics.histogram(
            "cortex_compactor_job_duration_seconds", "How long jobs took, from download to mark.", JOB_SECONDS
        )
        self.merge_cpu = metrics.counter(
            "mimir_rw_compactor_merge_cpu_seconds_total", "Processor time of the processes that merge blocks."
        )
        self.merged_samples = metrics.counter(
            "mimir_rw_compactor_merged_samples_total", "Samples in blocks that jobs made."
        )
        self.merge_peak = metrics.gauge(
            "mimir_rw_compactor_merge_peak_memory_bytes", "The most that the last merge held in memory."
        )
        self.jobs_running = metrics.gauge("mimir_rw_compactor_jobs_running", "Jobs under way.")
        self.marked_no_compact = metrics.counters(
            "cortex_compactor_blocks_marked_for_no_compaction_total", "Blocks set aside from compaction.", ("reason",)
        )
        self.broken_metas = metrics.gauges(
            "mimir_rw_compactor_blocks_broken", "Blocks whose meta.json cannot be read.", ("user",)
        )
        self.garbage = metrics.counter(
            "cortex_compactor_garbage_collected_blocks_total", "Superfluous blocks that were marked for deletion."
        )
