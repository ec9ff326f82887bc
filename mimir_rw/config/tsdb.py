"""Settings of the ingesters' heads and local blocks."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.config.kvstore import ADVANCED, EXPERIMENTAL
from mimir_rw.config.settings import duration, integer, names, switch, text
from mimir_rw.config.values import parse_duration


@dataclass(frozen=True, slots=True)
class TsdbConfig:
    dir: str = text(
        "./tsdb/", flag=".dir", help="Directory of the write-ahead logs and local blocks; one directory per tenant."
    )
    wal_compression_enabled: bool = switch(
        False, flag=".wal-compression-enabled", help="Compress the write-ahead log.", category=ADVANCED
    )
    wal_segment_size_bytes: int = integer(
        128 << 20,
        flag=".wal-segment-size-bytes",
        help="Size of a segment file of the write-ahead log, in whole pages of 32 KiB.",
        category=ADVANCED,
        low=32 << 10,
        high=1 << 30,
    )
    wal_fsync: str = text(
        "segment",
        flag=".wal-fsync",
        help="When the write-ahead log is forced to disk: segment (when a segment is full, as Prometheus does), "
        "interval (every second) or always (before a push is acknowledged).",
        category=ADVANCED,
        choices=("segment", "interval", "always"),
    )
    wal_replay_concurrency: int = integer(
        0,
        flag=".wal-replay-concurrency",
        help="Write-ahead logs replayed at once at start. 0 means half of the cores.",
        category=ADVANCED,
    )
    out_of_order_capacity_max: int = integer(
        32,
        flag=".out-of-order-capacity-max",
        help="Samples in a chunk of out-of-order samples.",
        category=EXPERIMENTAL,
        low=1,
        high=255,
    )
    block_ranges_period: tuple[str, ...] = names(
        ("2h0m0s",),
        flag=".block-ranges-period",
        help="Time range of the blocks that heads are cut into; one range, since blocks are compacted elsewhere.",
        category=ADVANCED,
    )
    head_compaction_interval: int = duration(
        "1m",
        flag=".head-compaction-interval",
        help="How often it is looked whether heads are to be cut into blocks; a fifth more or less, so that ingesters "
        "do not do it all at once.",
        low="100ms",
        category=ADVANCED,
    )
    head_compaction_concurrency: int = integer(
        1,
        flag=".head-compaction-concurrency",
        help="Tenants whose heads are cut at once; each keeps one core busy.",
        low=1,
        category=ADVANCED,
    )
    head_compaction_idle_timeout: int = duration(
        "1h",
        flag=".head-compaction-idle-timeout",
        help="A head that took nothing for so long is cut as a whole; up to a quarter later, so that replicas do not "
        "do it all at once. 0 means never.",
        category=ADVANCED,
    )
    retention_period: int = duration(
        "13h",
        flag=".retention-period",
        help="How long a local block stays after it was uploaded. Queries ask ingesters for as long as that "
        "(querier.query_ingesters_within).",
    )
    ship_interval: int = duration(
        "1m", flag=".ship-interval", help="How often blocks are uploaded. 0 means never.", category=ADVANCED
    )
    ship_concurrency: int = integer(
        10, flag=".ship-concurrency", help="Tenants whose blocks are uploaded at once.", low=1, category=ADVANCED
    )
    close_idle_tsdb_timeout: int = duration(
        "13h",
        flag=".close-idle-tsdb-timeout",
        help="A tenant that sent nothing for so long, and whose samples are all uploaded, is closed and its directory "
        "removed. 0 means never.",
        category=ADVANCED,
    )
    flush_blocks_on_shutdown: bool = switch(
        False,
        flag=".flush-blocks-on-shutdown",
        help="Cut and upload everything when the ingester stops. Without it, the write-ahead log keeps it.",
    )
    early_head_compaction_min_in_memory_series: int = integer(
        0,
        flag=".early-head-compaction-min-in-memory-series",
        help="With so many series in memory, heads of tenants many of whose series ended are cut early. 0: never.",
        category=EXPERIMENTAL,
    )
    early_head_compaction_min_estimated_series_reduction_percentage: int = integer(
        15,
        flag=".early-head-compaction-min-estimated-series-reduction-percentage",
        help="Part of a tenant's series in memory that must have ended for its head to be cut early.",
        high=100,
        category=EXPERIMENTAL,
    )

    @property
    def block_range_ms(self) -> int:
        """Raises ValueError for what is no duration; `check_config` sees to it."""
        return parse_duration(self.block_ranges_period[0])
