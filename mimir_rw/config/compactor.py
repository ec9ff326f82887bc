"""The compactor's settings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from mimir_rw.config.kvstore import ADVANCED, EXPERIMENTAL
from mimir_rw.config.rings import CompactorRingConfig
from mimir_rw.config.settings import duration, integer, names, section, switch, text
from mimir_rw.config.values import parse_duration

JOB_ORDERS = ("smallest-range-oldest-blocks-first", "newest-blocks-first")


@dataclass(frozen=True, slots=True)
class CompactorConfig:
    block_ranges: tuple[str, ...] = names(
        ("2h0m0s", "12h0m0s", "24h0m0s"),
        flag="compactor.block-ranges",
        help="Time ranges that blocks are compacted to, ascending; each divides the next one.",
    )
    block_sync_concurrency: int = integer(
        8,
        flag="compactor.block-sync-concurrency",
        help="Blocks of a job that are downloaded at once.",
        category=ADVANCED,
        low=1,
    )
    meta_sync_concurrency: int = integer(
        20,
        flag="compactor.meta-sync-concurrency",
        help="meta.json of a tenant's blocks that are read at once.",
        category=ADVANCED,
        low=1,
    )
    data_dir: str = text(
        "./data-compactor/",
        flag="compactor.data-dir",
        help="Directory for blocks that are being compacted. Nothing in it outlives the process.",
    )
    compaction_interval: int = duration(
        "1h", flag="compactor.compaction-interval", help="How often blocks to compact are looked for.", low="100ms"
    )
    compaction_retries: int = integer(
        3,
        flag="compactor.compaction-retries",
        help="How often a job that failed is tried within one run.",
        category=ADVANCED,
        low=1,
    )
    compaction_concurrency: int = integer(
        1,
        flag="compactor.compaction-concurrency",
        help="Jobs done at once, each in a process of its own that keeps one core busy.",
        category=ADVANCED,
        low=1,
    )
    first_level_compaction_wait_period: int = duration(
        "25m",
        flag="compactor.first-level-compaction-wait-period",
        help="How long blocks of ingesters wait for those of other ingesters before they are compacted. "
        "Blocks that come later put a job off once at most.",
    )
    cleanup_interval: int = duration(
        "15m",
        flag="compactor.cleanup-interval",
        help="How often bucket indexes are rewritten, retention is applied and marked blocks are deleted.",
        category=ADVANCED,
        low="100ms",
    )
    cleanup_concurrency: int = integer(
        20,
        flag="compactor.cleanup-concurrency",
        help="Tenants that are cleaned up after at once.",
        category=ADVANCED,
        low=1,
    )
    deletion_delay: int = duration(
        "12h",
        flag="compactor.deletion-delay",
        help="How long a block that is marked for deletion stays, so that nobody still reads it when it goes. "
        "0 deletes it with the next cleanup.",
        category=ADVANCED,
    )
    tenant_cleanup_delay: int = duration(
        "6h",
        flag="compactor.tenant-cleanup-delay",
        help="How long after the last block of a deleted tenant its marks are deleted too.",
        category=ADVANCED,
    )
    max_compaction_time: int = duration(
        "1h",
        flag="compactor.max-compaction-time",
        help="No job of a tenant is begun after so long; other tenants get their turn. 0 means no limit.",
        category=ADVANCED,
    )
    no_blocks_file_cleanup_enabled: bool = switch(
        False,
        flag="compactor.no-blocks-file-cleanup-enabled",
        help="Delete the bucket index of a tenant that has no blocks left.",
        category=EXPERIMENTAL,
    )
    job_memory_max_bytes: int = integer(
        4 << 30,
        flag="compactor.job-memory-max-bytes",
        help="Address space of the process of a job; a job that needs more fails and takes nothing else with it.",
        category=ADVANCED,
        low=256 << 20,
    )
    max_block_upload_validation_concurrency: int = integer(
        1,
        flag="compactor.max-block-upload-validation-concurrency",
        help="Uploaded blocks that are validated at once; finishing further ones is answered with 429. "
        "0 means no limit.",
        category=ADVANCED,
    )
    enabled_tenants: tuple[str, ...] = names(
        (),
        flag="compactor.enabled-tenants",
        help="Tenants that are compacted; empty means all.",
        category=ADVANCED,
    )
    disabled_tenants: tuple[str, ...] = names(
        (), flag="compactor.disabled-tenants", help="Tenants that are not compacted.", category=ADVANCED
    )
    sharding_ring: CompactorRingConfig = section(CompactorRingConfig, flag_prefix="compactor.ring")
    compaction_jobs_order: str = text(
        JOB_ORDERS[0],
        flag="compactor.compaction-jobs-order",
        help="In which order the jobs of a tenant are done.",
        category=ADVANCED,
        choices=JOB_ORDERS,
    )


def block_ranges_ms(config: CompactorConfig) -> tuple[int, ...]:
    """Raises ValueError when they are none, do not ascend, or one does not divide the next."""
    ranges = tuple(parse_duration(each) for each in config.block_ranges)
    if not ranges or ranges[0] <= 0:
        raise ValueError("must have a range above 0")
    for small, large in pairwise(ranges):
        if large <= small or large % small:
            raise ValueError("each range must be a multiple of the one before it")
    return ranges
