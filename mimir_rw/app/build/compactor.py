"""The compactor and all that it is made of."""

from __future__ import annotations

from pathlib import Path

from mimir_rw.api.compactor_pages import CompactorPages
from mimir_rw.app.build.base import Base
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.bucket.cleaner import Cleaner, CleanerSettings
from mimir_rw.bucket.cleaner_metrics import CleanerMetrics
from mimir_rw.components.compactor.check_process import ChildCheck
from mimir_rw.components.compactor.cleaning import Cleaning
from mimir_rw.components.compactor.compaction import Compaction, CompactionSettings
from mimir_rw.components.compactor.merge_process import ChildMerger, Merger, OffloadMerger
from mimir_rw.components.compactor.metrics import CompactorMetrics
from mimir_rw.components.compactor.ownership import Ownership
from mimir_rw.components.compactor.planner import PlannerSettings
from mimir_rw.components.compactor.progress import Progress
from mimir_rw.components.compactor.runner import JobRunner, disk_free
from mimir_rw.components.compactor.service import Compactor, CompactorSettings
from mimir_rw.components.compactor.store import BucketBlockStore
from mimir_rw.components.compactor.uploads import BlockUploads
from mimir_rw.config.compactor import block_ranges_ms
from mimir_rw.kit.offload import Offload
from mimir_rw.objstore.contract import Bucket
from mimir_rw.rpc.stubs.hand_over import register_index_writer

_SCRATCH_THREADS = 2


class CompactorBuild:
    """One compactor: `service` makes it."""

    def __init__(self, base: Base, cluster: Cluster) -> None:
        self._base = base
        self._cluster = cluster
        self._config = base.config.compactor
        self._scratch = Path(self._config.data_dir)
        self._offload: Offload = (
            base.world.new_offload("compactor", _SCRATCH_THREADS) if base.world.new_offload else base.offload
        )

    def service(self) -> Compactor:
        base, config = self._base, self._config
        bucket = base.buckets.blocks("compactor")
        ring = self._cluster.rings["compactor"]
        ownership = Ownership(
            ring=ring,
            instance_id=self._cluster.ring_identity("compactor").id,
            shard_size=lambda tenant: base.limits.for_tenant(tenant).compactor_tenant_shard_size,
        )
        cleaner_metrics = CleanerMetrics(base.metrics)
        store = BucketBlockStore(
            bucket=bucket, offload=self._offload, clock=base.clock, concurrency=config.meta_sync_concurrency
        )
        runner = self._runner(store)
        progress = Progress()
        compactor = Compactor(
            ring=ring,
            ownership=ownership,
            compaction=self._compaction(store, runner, ownership, progress, cleaner_metrics),
            cleaning=self._cleaning(bucket, ownership, cleaner_metrics),
            runner=runner,
            uploads=lambda service: self._uploads(bucket, service),
            progress=progress,
            settings=CompactorSettings(
                compaction_interval_s=config.compaction_interval / 1000,
                cleanup_interval_s=config.cleanup_interval / 1000,
                ring_stable_s=config.sharding_ring.wait_stability_min_duration / 1000,
                ring_stable_s_max=config.sharding_ring.wait_stability_max_duration / 1000,
            ),
            rng=base.rng,
        )
        base.apis["compactor"] = CompactorPages(compactor=compactor, uploads=compactor.uploads, root=base.prefixes.root)
        register_index_writer(self._cluster.router, compactor)
        return compactor

    def _runner(self, store: BucketBlockStore) -> JobRunner:
        base, config = self._base, self._config
        merger: Merger = (
            ChildMerger(memory_bytes=config.job_memory_max_bytes)
            if base.world.new_offload
            else OffloadMerger(offload=base.offload)
        )
        return JobRunner(
            store=store,
            merger=merger,
            scratch=self._scratch / "jobs",
            offload=self._offload,
            clock=base.clock,
            entropy=base.world.secret,
            space_free=disk_free,
            downloads=config.block_sync_concurrency,
        )

    def _compaction(
        self,
        store: BucketBlockStore,
        runner: JobRunner,
        ownership: Ownership,
        progress: Progress,
        cleaner_metrics: CleanerMetrics,
    ) -> Compaction:
        base, config = self._base, self._config
        return Compaction(
            store=store,
            runner=runner,
            owns=ownership,
            settings=CompactionSettings(
                concurrency=config.compaction_concurrency,
                tries=config.compaction_retries,
                run_s_max=config.max_compaction_time / 1000,
                enabled=frozenset(config.enabled_tenants),
                disabled=frozenset(config.disabled_tenants),
            ),
            planner=self._planner_settings,
            progress=progress,
            metrics=CompactorMetrics(base.metrics, marked_for_deletion=cleaner_metrics.marked),
            clock=base.clock,
            rng=base.rng,
        )

    def _planner_settings(self, tenant: str) -> PlannerSettings:
        limits, config = self._base.limits.for_tenant(tenant), self._config
        return PlannerSettings(
            ranges_ms=block_ranges_ms(config),
            shards=limits.compactor_split_and_merge_shards,
            split_groups=limits.compactor_split_groups,
            first_level_wait_ms=config.first_level_compaction_wait_period,
            lookback_ms=limits.compactor_max_lookback,
            order=config.compaction_jobs_order,
        )

    def _cleaning(self, bucket: Bucket, ownership: Ownership, cleaner_metrics: CleanerMetrics) -> Cleaning:
        base, config = self._base, self._config
        settings = CleanerSettings(
            deletion_delay_s=config.deletion_delay // 1000, tenant_delay_s=config.tenant_cleanup_delay // 1000
        )
        return Cleaning(
            bucket=bucket,
            cleaner=Cleaner(bucket=bucket, clock=base.clock, settings=settings, metrics=cleaner_metrics),
            cleaner_metrics=cleaner_metrics,
            owns_tenant=ownership.owns_tenant,
            limits=base.limits,
            concurrency=config.cleanup_concurrency,
            remove_empty_index=config.no_blocks_file_cleanup_enabled,
            clock=base.clock,
            metrics=base.metrics,
        )

    def _uploads(self, bucket: Bucket, service: Compactor) -> BlockUploads:
        base, config = self._base, self._config
        scratch = self._scratch / "uploads"
        return BlockUploads(
            bucket=bucket,
            checker=ChildCheck(
                bucket=bucket,
                scratch=scratch,
                memory_bytes=config.job_memory_max_bytes,
                offload=self._offload,
                space_free=disk_free,
            ),
            limits=base.limits,
            range_max_ms=block_ranges_ms(config)[-1],
            validations_max=config.max_block_upload_validation_concurrency,
            scratch=scratch,
            offload=self._offload,
            clock=base.clock,
            metrics=base.metrics,
            tasks=lambda: service.tasks,
        )
