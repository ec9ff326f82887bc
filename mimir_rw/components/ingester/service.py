"""The ingester as a running service: `rpc.contracts.ingester.Ingester`.

Each tenant has a head of its own (tsdb/head.py) whose lane task belongs to this service. Existing tenants are opened
and replayed before the service is Running; new ones when their first push comes. Everything here is state of the event
loop; what touches bytes runs on the Offload.

A failed log write makes the service not ready and the pushes of its group Unavailable. Readiness comes back when a
probe can write to the data directory again, or when a later group is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mimir_rw._native import (
    HeadStats,
    LabelFrame,
    RegexError,
    ReplayReport,
    WalFailed,
    WriteBatch,
)
from mimir_rw.components.ingester.core import EmptySeriesSet, append_limits, largest_first, replay_text
from mimir_rw.components.ingester.exemplars import series_exemplars
from mimir_rw.components.ingester.hand_over.core import TenantBlocks
from mimir_rw.components.ingester.local_data import LocalData, MatcherTuples
from mimir_rw.components.ingester.metrics import IngesterMetrics
from mimir_rw.components.ingester.ownership import Ownership, RingSource
from mimir_rw.components.ingester.push import PushPath
from mimir_rw.components.ingester.tenant import BlockShipper, Tenant
from mimir_rw.components.ingester.upkeep import Upkeep
from mimir_rw.components.ingester.upkeep_metrics import UpkeepMetrics
from mimir_rw.config.limits import Limits
from mimir_rw.config.tree import IngesterConfig, IngesterInstanceLimits
from mimir_rw.config.tsdb import TsdbConfig
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Counter, Family, Metrics
from mimir_rw.kit.offload import Offload, usable_cores
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.service import Service, ServiceState
from mimir_rw.model.errors import BadRequest, MimirError, Unavailable
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.model.labels import Matcher
from mimir_rw.rpc.contracts.ingester import Charge, MetricMetadata, PushPart, PushResult, TenantStats
from mimir_rw.storage.contract import SelectHints, SeriesSet
from mimir_rw.tsdb.cutter import Cutter
from mimir_rw.tsdb.directory import DataDirectory
from mimir_rw.tsdb.head import AppendLimits, HeadOptions, TenantHead
from mimir_rw.tsdb.local_blocks import BlockReader, LocalBlocks

SYNC_S = 1.0
"""Between two looks for logs to sync, and between two probes of a failing disk."""
PROGRESS_LOG_S = 3.0

T = TypeVar("T")
OpenBlock = Callable[[str], BlockReader]
NewShipper = Callable[[str, Path], BlockShipper]


@dataclass(frozen=True, slots=True)
class BlockFacts:
    meta: BlockMeta
    shipped: bool


@dataclass(frozen=True, slots=True)
class HeadFacts:
    """What status pages show of a head."""

    tenant: str
    series: int
    owned_series: int
    """Those that count against the tenant's limits here."""
    min_time_ms: int | None
    max_time_ms: int | None
    oldest_only_here_ms: int | None
    """See `Tenant.oldest_only_here_ms`."""
    blocks: tuple[BlockFacts, ...]
    quarantined: tuple[tuple[str, str], ...]
    """Blocks that are damaged, and how."""


class IngesterService(Service):
    def __init__(
        self,
        *,
        config: IngesterConfig,
        tsdb: TsdbConfig,
        limits: Limits,
        instance_limits: Callable[[], IngesterInstanceLimits],
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
        discarded_samples: Family[Counter],
        discarded_exemplars: Family[Counter],
        series_key: Callable[[], bytes],
        ring: RingSource,
        instance_id: str,
        rng: Rng,
        open_block: OpenBlock,
        new_shipper: NewShipper | None = None,
        blocks_offload: Offload | None = None,
    ) -> None:
        """series_key: the cluster's secret of 32 bytes that series are hashed with, as of now; `rekey` tells of another
        one. new_shipper: of a tenant whose blocks are in a directory; None: they stay here. blocks_offload: for
        cutting blocks, which takes long; None: offload. discarded_samples: labels reason and user. ring: the
        ingesters'; this one is instance_id in it."""
        super().__init__("ingester")
        self._config = config
        self._tsdb = tsdb
        self._limits = limits
        self._instance_limits = instance_limits
        self._offload = offload
        self._clock = clock
        self._tenants: dict[str, Tenant] = {}
        self._metrics = IngesterMetrics(
            metrics=metrics,
            discarded_samples=discarded_samples,
            discarded_exemplars=discarded_exemplars,
            stats=self._stats_by_tenant,
            broken=lambda: len(self.broken()),
            tenants=self._tenants,
        )
        self._series_key = series_key
        self._options = HeadOptions(
            segment_bytes=tsdb.wal_segment_size_bytes,
            fsync=tsdb.wal_fsync,
            compress=tsdb.wal_compression_enabled,
            ooo_chunk_samples=tsdb.out_of_order_capacity_max,
            range_ms=tsdb.block_range_ms,
        )
        self._directory = DataDirectory(Path(tsdb.dir))
        self._push = PushPath(
            limits=limits,
            instance_limits=instance_limits,
            tenant=lambda name: self._tenants.get(name) or self._first_push(name),
            clock=clock,
            metrics=self._metrics,
        )
        self._ownership = Ownership(
            ring=ring,
            instance_id=instance_id,
            tenants=self._tenants,
            limits=limits,
            clock=clock,
            interval_s=config.owned_series_update_interval / 1000,
        )
        self._rng = rng
        self._open_block = open_block
        self._new_shipper = new_shipper
        self._blocks_offload = blocks_offload or offload
        self.upkeep = Upkeep(
            tenants=self._tenants,
            config=tsdb,
            offload=self._blocks_offload,
            clock=clock,
            rng=rng,
            metrics=UpkeepMetrics(metrics),
            close=self._close_idle,
        )
        self._leaving: str | None = None
        self._log = get_logger(component="ingester")
        self._replaying: dict[str, None] = {}
        self._replayed = 0
        self._replay_count = 0
        self._logged_s = 0.0
        self._failing: str | None = None

    # -- life -------------------------------------------------------------------------------------------------------

    async def start_up(self) -> None:
        await self._offload.run(self._directory.lock)
        found, foreign = await self._offload.run(self._directory.tenants)
        for name in foreign:
            self._log.warning("directory in the data directory is not a tenant's and is left alone", name=name)
        started_s = self._logged_s = self._clock.monotonic()
        self._replay_count = len(found)
        room = asyncio.Semaphore(self._tsdb.wal_replay_concurrency or max(1, usable_cores() // 2))
        async with asyncio.TaskGroup() as replays:
            for tenant in largest_first(found):
                replays.create_task(self._replay_at_start(tenant, room))
        took_s = self._clock.monotonic() - started_s
        self._metrics.replay_seconds.set(took_s)
        if found:
            self._log.info("write-ahead logs replayed", tenants=len(found), seconds=round(took_s, 3))
        self.tasks.spawn(self._sync_loop(), name="ingester-sync")
        self.tasks.spawn(self._rate_loop(), name="ingester-rates")
        self.tasks.spawn(self._ownership.run(), name="ingester-ownership")
        self.tasks.spawn(self.upkeep.run_cuts(), name="ingester-cuts")
        self.tasks.spawn(self.upkeep.run_uploads(), name="ingester-uploads")

    async def shut_down(self) -> None:
        """Store what waits, sync and close every head, give the directory free."""
        for name, tenant in list(self._tenants.items()):
            try:
                await tenant.head.close()
            except WalFailed as error:
                self._log.error("the WAL could not be synced at the end", tenant=name, error=error.args[0])
        await self._offload.run(self._directory.unlock)

    def readiness(self) -> str | None:
        """See `kit.service.Service`."""
        if self.state is ServiceState.STARTING:
            return self._replay_progress() or "opening the data directory"
        return self._failing

    async def _replay_at_start(self, tenant: str, room: asyncio.Semaphore) -> None:
        async with room:
            self._replaying[tenant] = None
            head = self._new_tenant(tenant).head
            try:
                await self._open(head)
            except Unavailable:
                return  # said in the log; the tenant's requests get the reason, the others are served
            finally:
                del self._replaying[tenant]
                self._replayed += 1

    def _replay_progress(self) -> str | None:
        for name in self._replaying:
            head = self._tenants[name].head
            done, total = head.replayed_bytes, head.replay_bytes
            return replay_text(name, done, total, tenants_done=self._replayed, tenants=self._replay_count)
        return None

    # -- tenants ----------------------------------------------------------------------------------------------------

    def _new_tenant(self, tenant: str) -> Tenant:
        directory = self._directory.tenant(tenant)
        blocks = LocalBlocks(directory, open_reader=self._open_block)
        head = TenantHead(
            tenant=tenant,
            directory=directory,
            options=self._options,
            hash_key=self._series_key(),
            offload=self._offload,
            limits=lambda: self._group_limits(tenant),
            blocks=blocks,
            on_progress=self._log_progress,
            on_append=self._appended,
        )
        metrics = self._metrics
        self._tenants[tenant] = made = Tenant(
            head=head,
            blocks=blocks,
            cutter=Cutter(
                head=head,
                blocks=blocks,
                range_ms=self._options.range_ms,
                offload=self._blocks_offload,
                clock=self._clock,
                rng=self._rng,
            ),
            shipper=self._new_shipper(tenant, directory) if self._new_shipper else None,
            idle_jitter=self._rng.random(),
            now_s=self._clock.monotonic(),
            shares=self._ownership.history(tenant),
            samples=metrics.samples.labels(tenant),
            samples_failed=metrics.samples_failed.labels(tenant),
        )
        return made

    async def _open(self, head: TenantHead) -> None:
        try:
            report = await head.open()
        except Unavailable as error:
            self._log.error("tenant cannot be opened", tenant=head.tenant, error=str(error))
            raise
        self._report(head.tenant, report)
        self.tasks.spawn(head.lane.run(), name=f"lane of {head.tenant}", traced=False)

    async def _open_new(self, head: TenantHead) -> None:
        """The first push of a tenant waits in its lane meanwhile."""
        try:
            await self._open(head)
        except Unavailable:
            del self._tenants[head.tenant]  # the next push tries again

    def _report(self, tenant: str, report: ReplayReport) -> None:
        for block in self._tenants[tenant].blocks.quarantined:
            self.upkeep.quarantined(tenant, block.ulid, block.reason)
        for line in report.damage:
            self._log.error("damaged write-ahead log", tenant=tenant, damage=line)
        self._metrics.wal_corruptions.inc(len(report.damage))
        self._metrics.torn_records.inc(report.torn)
        if report.torn:
            self._log.warning("unfinished record cut off", tenant=tenant, records=report.torn, bytes=report.torn_bytes)
        if report.samples_unknown_series:
            self._log.warning(
                "samples of unknown series in the log", tenant=tenant, samples=report.samples_unknown_series
            )

    def _log_progress(self, head: TenantHead) -> None:
        now_s = self._clock.monotonic()
        if now_s - self._logged_s >= PROGRESS_LOG_S:
            self._logged_s = now_s
            self._log.info(self._replay_progress() or f"opening tenant {head.tenant}")

    def _group_limits(self, tenant: str) -> AppendLimits:
        bound = self._instance_limits().max_series
        state = self._tenants[tenant]
        room = bound - self._series_count() if bound else None
        limits = state.local_limits(self._limits.for_tenant(tenant), self._clock.monotonic())
        return append_limits(limits, series=state.head.owned, instance_room=room)

    def _series_count(self) -> int:
        return sum(tenant.head.extent[0] for tenant in self._tenants.values())

    # -- write ------------------------------------------------------------------------------------------------------

    async def push(self, tenant: str, batch: WriteBatch) -> PushResult:
        """See `rpc.contracts.ingester.Ingester`."""
        self._check_writable()
        return await self._push.push(PushPart(tenant, batch))

    async def push_group(self, parts: Sequence[PushPart]) -> list[PushResult | MimirError]:
        """See `rpc.contracts.ingester.Ingester`."""
        try:
            self._check_writable()
        except Unavailable as refusal:
            return [refusal for _ in parts]
        return await self._push.group(parts)

    def rekey(self, key: bytes) -> None:
        """The cluster has another series key: every head hashes with it from its next turn on."""
        for name, tenant in list(self._tenants.items()):
            self.tasks.spawn(self._rekey(name, tenant.head, key), name=f"rekeying {name}")

    async def _rekey(self, name: str, head: TenantHead, key: bytes) -> None:
        try:
            await head.rekey(key)
        except (Unavailable, WalFailed) as error:
            self._log.warning("a head keeps an old series key", tenant=name, err=str(error))

    def _check_writable(self) -> None:
        self._check_running()
        if self._leaving is not None:
            raise Unavailable(self._leaving)

    def _check_running(self) -> None:
        if self.state is not ServiceState.RUNNING:
            raise Unavailable("the ingester is not running")

    def _first_push(self, tenant: str) -> Tenant:
        bounds = self._instance_limits()
        if bounds.max_tenants and len(self._tenants) >= bounds.max_tenants:
            raise self._push.overloaded("max-tenants", "tenants", bounds.max_tenants)
        if bounds.max_series and self._series_count() >= bounds.max_series:
            raise self._push.overloaded("max-series", "series in memory", bounds.max_series)
        state = self._new_tenant(tenant)
        self.tasks.spawn(self._open_new(state.head), name=f"opening {tenant}")
        told = self._ownership.tell(tenant, state)  # before the push that waits for it
        if told is not None:
            told.add_done_callback(lambda done: done.cancelled() or done.exception())
        return state

    def _appended(self, head: TenantHead, failure: WalFailed | None) -> None:
        if failure is None:
            if (tenant := self._tenants.get(head.tenant)) is not None:
                tenant.last_append_s = self._clock.monotonic()
            self._recovered()
            return
        self._metrics.wal_failures.inc()
        text, disk_full = failure.args
        reason = "the disk is full" if disk_full else "a write-ahead log cannot be written"
        if self._failing is None:
            self._log.error(f"{reason}; pushes are refused", tenant=head.tenant, error=text)
        self._failing = f"{reason}: tenant {head.tenant}: {text}"

    def _recovered(self) -> None:
        if self._failing is not None:
            self._log.info("the data directory takes writes again")
            self._failing = None

    # -- leaving ----------------------------------------------------------------------------------------------------

    async def flush_at_stop(self) -> None:
        """The ring says that this instance leaves: take nothing more, and bring everything to the bucket, if that is
        wished for. Raises Unavailable when something is left here, in the log and on the disk."""
        if not (self._tsdb.flush_blocks_on_shutdown or self.shutdown_prepared):
            return
        await self.leave()

    async def flush(self, tenants: Collection[str] | None) -> bool:
        """Cut and upload everything that the tenants (None: all) have; whether all went well."""
        self._check_running()
        return await self.upkeep.flush(tenants)

    def flush_soon(self, tenants: Collection[str] | None) -> None:
        """The same, without waiting."""
        self._check_running()
        self.tasks.spawn(self.upkeep.flush(tenants), name="ingester-flush")

    async def leave(self) -> None:
        """Refuse pushes from now on, cut and upload everything. Raises Unavailable when something is left here."""
        await self.flush_and_ship()
        self._log.info("finished flushing and shipping all blocks")

    def seal(self) -> None:
        """Refuse pushes from now on; see `hand_over.service.Leaver`."""
        self._leaving = "the ingester is leaving"

    def unseal(self) -> None:
        self._leaving = None

    async def flush_and_ship(self) -> tuple[TenantBlocks, ...]:
        """Wait for pushes that have begun, cut all that the heads have, and put every local block into the bucket; what
        of them is there. Raises Unavailable when something of it could not be done."""
        self.seal()
        if self.state is not ServiceState.RUNNING or not await self.upkeep.flush():
            raise Unavailable("not all samples could be uploaded; they are still here")
        left = sorted(name for name, tenant in self._tenants.items() if tenant.holds_something_alone)
        if left:
            raise Unavailable(f"samples of {len(left)} tenants are only here, of {left[0]} first")
        blocks = ((name, [block.meta for block in t.blocks.blocks]) for name, t in sorted(self._tenants.items()))
        return tuple(
            TenantBlocks(
                tenant=name,
                mint=min(meta.min_time for meta in metas),
                maxt=max(meta.max_time for meta in metas) - 1,
                blocks=tuple(meta.ulid for meta in metas),
            )
            for name, metas in blocks
            if metas
        )

    @property
    def shutdown_prepared(self) -> bool:
        """Whether the next stop is to be for good; survives restarts."""
        return self._directory.shutdown_prepared

    async def prepare_shutdown(self, prepared: bool) -> None:
        """Raises OSError."""
        await self._offload.run(self._directory.prepare_shutdown, prepared)

    async def _close_idle(self, name: str) -> None:
        """Close a tenant and remove its directory; a push that comes in between opens it again."""
        tenant = self._tenants[name]
        try:
            await tenant.head.close()
        except WalFailed as error:
            self._log.error("the WAL could not be synced at the end", user=name, err=error.args[0])
        if tenant.head.native.extent()[0]:
            state = self._new_tenant(name)
            self.tasks.spawn(self._open_new(state.head), name=f"opening {name}")
            return
        # Until nothing is left of it the closed head stands here: a push must not begin anew in what is being removed.
        await self._offload.run(self._directory.remove_tenant, name)
        del self._tenants[name]
        self._log.info("idle tenant closed", user=name)

    # -- timers -----------------------------------------------------------------------------------------------------

    async def _sync_loop(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            if self._failing is not None:
                await self._probe()
            for name, tenant in list(self._tenants.items()):
                if tenant.head.is_open and not tenant.head.synced:
                    await self._sync(name, tenant.head)

    async def _sync(self, name: str, head: TenantHead) -> None:
        try:
            await head.sync(current=self._tsdb.wal_fsync == "interval")
        except WalFailed as error:
            self._log.error("the WAL could not be synced", tenant=name, error=error.args[0])

    async def _probe(self) -> None:
        try:
            await self._offload.run(self._directory.probe)
        except OSError:
            return  # still as `_failing` says
        self._recovered()

    async def _rate_loop(self) -> None:
        last_s = self._clock.monotonic()
        period_s = self._config.rate_update_period / 1000
        while True:
            await asyncio.sleep(period_s)
            now_s = self._clock.monotonic()
            elapsed_s = max(now_s - last_s, period_s / 2)
            last_s = now_s
            self._push.rate.tick(elapsed_s)
            for tenant in self._tenants.values():
                tenant.rate.tick(elapsed_s)
                tenant.metadata.forget_before(now_s - self._config.metadata_retain_period / 1000)

    # -- queries ----------------------------------------------------------------------------------------------------

    async def select(
        self, tenant: str, matchers: Sequence[Matcher], hints: SelectHints, charge: Charge | None = None
    ) -> SeriesSet:
        """See `rpc.contracts.ingester.Ingester`."""
        tuples = _tuples(matchers)
        empty: SeriesSet = EmptySeriesSet()
        found = await self._ask(tenant, lambda data: data.select(tuples, hints.mint, hints.maxt), empty)
        if charge is not None:
            charge(len(found.labels), found.labels.nbytes)
        return found

    async def series(self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int) -> LabelFrame:
        """See `rpc.contracts.ingester.Ingester`."""
        sets = [_tuples(matchers) for matchers in matcher_sets]
        return await self._ask(tenant, lambda data: data.series(sets, mint, maxt), LabelFrame.empty_rows(0))

    async def label_names(self, tenant: str, matchers: Sequence[Matcher], mint: int, maxt: int) -> list[str]:
        tuples = _tuples(matchers)
        return await self._ask(tenant, lambda data: data.label_names(tuples, mint, maxt), [])

    async def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> list[str]:
        tuples = _tuples(matchers)
        return await self._ask(tenant, lambda data: data.label_values(name, tuples, mint, maxt), [])

    async def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        state = self._tenants.get(tenant)
        return [] if state is None else state.metadata.entries(metric)

    async def exemplars(
        self, tenant: str, matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[SeriesExemplars]:
        """See `rpc.contracts.ingester.Ingester`."""
        sets = [_tuples(matchers) for matchers in matcher_sets]
        return await self._ask(tenant, lambda data: series_exemplars(data.head.exemplars(sets, mint, maxt)), [])

    async def all_user_stats(self) -> list[TenantStats]:
        return [
            TenantStats(name, tenant.rate.per_second, tenant.head.extent[0])
            for name, tenant in sorted(self._tenants.items())
        ]

    async def only_here(self) -> dict[str, int]:
        """See `rpc.contracts.ingester.Ingester`."""
        times = ((name, tenant.oldest_only_here_ms) for name, tenant in sorted(self._tenants.items()))
        return {name: oldest for name, oldest in times if oldest is not None}

    def heads(self) -> list[HeadFacts]:
        """Facts about the open heads, by tenant."""
        opened = ((name, tenant) for name, tenant in sorted(self._tenants.items()) if tenant.head.is_open)
        return [_facts(name, tenant) for name, tenant in opened]

    def broken(self) -> list[tuple[str, str]]:
        """Tenants whose log cannot be replayed, and why; all their requests are refused."""
        return [(name, tenant.head.failure) for name, tenant in sorted(self._tenants.items()) if tenant.head.failure]

    async def _ask(self, tenant: str, question: Callable[[LocalData], T], nothing: T) -> T:
        """Run a question on what the tenant has here in a thread; `nothing` for a tenant that has no data.

        Raises Unavailable while its log is being replayed or cannot be, BadRequest for a matcher that is wrong.
        """
        self._check_running()
        state = self._tenants.get(tenant)
        if state is None:
            return nothing
        data = LocalData(state.head.native, state.blocks)
        try:
            return await self._offload.run(question, data)
        except RegexError as error:
            raise BadRequest(str(error)) from error
        except OSError as error:
            raise Unavailable(f"a local block cannot be read: {error}") from error
        finally:
            for ulid, reason in data.damaged:
                if state.blocks.set_aside(ulid, reason):
                    self.upkeep.quarantined(tenant, ulid, reason)

    def _stats_by_tenant(self) -> dict[str, HeadStats]:
        """Runs in the thread that renders metrics."""
        stats = ((name, tenant.head.stats()) for name, tenant in list(self._tenants.items()))
        return {name: found for name, found in stats if found is not None}


def _facts(name: str, tenant: Tenant) -> HeadFacts:
    series, mint, maxt = tenant.head.extent
    return HeadFacts(
        tenant=name,
        series=series,
        owned_series=tenant.head.owned,
        min_time_ms=mint,
        max_time_ms=maxt,
        oldest_only_here_ms=tenant.oldest_only_here_ms,
        blocks=tuple(BlockFacts(b.meta, b.ulid in tenant.shipped) for b in tenant.blocks.blocks),
        quarantined=tuple((q.ulid, q.reason) for q in tenant.blocks.quarantined),
    )


def _tuples(matchers: Sequence[Matcher]) -> MatcherTuples:
    return [matcher.as_tuple() for matcher in matchers]
