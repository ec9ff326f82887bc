"""The settings of time that belong together: where a query could miss a sample, or ask for a block that is gone,
between what ingesters hold, what the store is asked for, and what the compactor deletes (docs/store-gateway.md)."""

from __future__ import annotations

from collections.abc import Iterator

from mimir_rw.config.tree import Config

_STORE = "blocks_storage.bucket_store"
_FLAGS = "-blocks-storage.bucket-store"


def shipped_within_ms(config: Config) -> int:
    """How long after its time a sample is in the bucket index at the latest, if all is well: a head is cut when it has
    half a block range more than a block; then the block is shipped and the index written."""
    tsdb = config.blocks_storage.tsdb
    lag = 2 * tsdb.head_compaction_interval + 2 * tsdb.ship_interval + config.compactor.cleanup_interval
    return tsdb.block_range_ms * 3 // 2 + lag


def indexed_within_ms(config: Config) -> int:
    """How long after a block was shipped queriers go by an index that has it, at the latest, if all is well."""
    return config.compactor.cleanup_interval + 2 * config.blocks_storage.bucket_store.sync_interval


def stale_ms_max(config: Config) -> int:
    """How old a bucket index may be that is used at all: before any block that it names can be gone."""
    return config.compactor.deletion_delay - config.blocks_storage.bucket_store.sync_interval


def time_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Keys of settings to change, and what is wrong with them."""
    yield from _range_problems(config)
    yield from _local_problems(config)
    yield from _deletion_problems(config)


def _range_problems(config: Config) -> Iterator[tuple[str, str]]:
    store = config.blocks_storage.bucket_store
    after, within = config.querier.query_store_after, config.limits.query_ingesters_within
    if after and within and after >= within:
        message = "must be below limits.query_ingesters_within (-querier.query-ingesters-within), or nobody is asked"
        yield "querier.query_store_after", f"{message} for what lies between"
    if store.ignore_blocks_within > after:
        message = "must not be above querier.query_store_after (-querier.query-store-after): store-gateways are asked"
        yield f"{_STORE}.ignore_blocks_within", f"{message} for such blocks"


def _local_problems(config: Config) -> Iterator[tuple[str, str]]:
    """What ingesters are asked for they must still have."""
    tsdb = config.blocks_storage.tsdb
    within = config.limits.query_ingesters_within or config.querier.query_store_after
    setting = "limits.query_ingesters_within (-querier.query-ingesters-within)"
    if not config.limits.query_ingesters_within:
        setting = "querier.query_store_after (-querier.query-store-after)"
    if tsdb.retention_period < within:
        message = f"must not be below {setting}: ingesters would have forgotten what they are asked for"
        yield "blocks_storage.tsdb.retention_period", message


def _deletion_problems(config: Config) -> Iterator[tuple[str, str]]:
    store, compactor = config.blocks_storage.bucket_store, config.compactor
    stale = store.bucket_index.max_stale_period
    stale_flag = f"{_FLAGS}.bucket-index.max-stale-period"
    if store.sync_interval + compactor.cleanup_interval > stale:
        message = f"with compactor.cleanup_interval (-compactor.cleanup-interval) it must not be above {_STORE}"
        yield f"{_STORE}.sync_interval", f"{message}.bucket_index.max_stale_period ({stale_flag})"
    if store.ignore_deletion_mark_while_querying_delay > store.ignore_deletion_mark_delay:
        message = f"must not be above ignore_deletion_mark_delay ({_FLAGS}.ignore-deletion-marks-delay)"
        yield f"{_STORE}.ignore_deletion_mark_while_querying_delay", message
    for name, flag, delay in (
        ("ignore_deletion_mark_delay", f"{_FLAGS}.ignore-deletion-marks-delay", store.ignore_deletion_mark_delay),
        ("bucket_index.max_stale_period", stale_flag, stale),
    ):
        if delay + store.sync_interval > compactor.deletion_delay:
            message = (
                f"must not be below {_STORE}.{name} ({flag}) and sync_interval together: blocks would be gone that"
            )
            yield "compactor.deletion_delay", f"{message} are still asked for"
