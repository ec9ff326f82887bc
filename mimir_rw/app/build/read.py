"""The read path: query-scheduler, query-frontend, querier."""

from __future__ import annotations

from collections.abc import Sequence

from mimir_rw.api.query import QueryApi
from mimir_rw.app.build.base import Base
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.app.build.store import Store
from mimir_rw.app.build.write import Write
from mimir_rw.components.querier.executor import QueryExecutor
from mimir_rw.components.querier.hand_over import RecordConfirmer
from mimir_rw.components.querier.ring_ingesters import RingIngesters, RingReadSettings
from mimir_rw.components.querier.service import QuerierService
from mimir_rw.components.querier.unshipped import Holder, Unshipped
from mimir_rw.components.query_frontend.dispatch import Dispatcher, DispatchSettings
from mimir_rw.components.query_frontend.service import QueryFrontendService
from mimir_rw.components.query_scheduler.discovery import LocalScheduler, RingSchedulers
from mimir_rw.components.query_scheduler.service import QuerySchedulerService
from mimir_rw.config.consistency import zone_of
from mimir_rw.config.time_chain import indexed_within_ms
from mimir_rw.kit.service import Service
from mimir_rw.promql.ast import selector_matchers
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.parsed import ParsedTexts
from mimir_rw.promql.parser import parse_expression, parse_selector
from mimir_rw.promql.printer import pretty
from mimir_rw.promql.syntax_json import syntax_object
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.operations import READ
from mimir_rw.rpc.contracts.ingester import IngesterReads
from mimir_rw.rpc.contracts.scheduler import LocalResults, QueryResults, SchedulerDirectory
from mimir_rw.rpc.stubs.hand_over import register_record_follower
from mimir_rw.rpc.stubs.scheduler import (
    QueryResultsClient,
    SchedulerClient,
    register_query_results,
    register_scheduler,
)

_SHORT_CALL_S = 10.0
"""For what takes no time at the other side: delivering an answer, telling that a query is finished."""


class Read:
    def __init__(self, base: Base, cluster: Cluster, write: Write, store: Store) -> None:
        self._base = base
        self._cluster = cluster
        self._write = write
        self._store = store
        self._parsed = ParsedTexts()
        self._address = ""
        config = base.config
        self._drain_s = min(config.querier.timeout, config.server.graceful_shutdown_timeout) / 1000
        """How long a stopping process works on queries that it has; what is cut off then is asked elsewhere."""
        self._scheduler: QuerySchedulerService | None = None
        self._frontend: QueryFrontendService | None = None
        self._directory: SchedulerDirectory | None = None

    def query_scheduler(self) -> Service:
        base = self._base
        config = base.config.query_scheduler
        self._scheduler = QuerySchedulerService(
            waiting_per_tenant_max=config.max_outstanding_requests_per_tenant,
            forget_delay_s=config.querier_forget_delay / 1000,
            drain_s=self._drain_s,
            queriers_max=lambda tenant: base.limits.for_tenant(tenant).max_queriers_per_tenant,
            clock=base.clock,
            metrics=base.metrics,
        )
        register_scheduler(self._cluster.router, self._scheduler)
        return self._scheduler

    def query_frontend(self) -> Service:
        base = self._base
        config = base.config.frontend
        self._address = self._cluster.frontend_address()
        dispatcher = Dispatcher(
            address=self._address,
            directory=self._schedulers(),
            settings=DispatchSettings(
                tries_max=1 + config.max_retries, scheduler_wait_s=config.not_running_timeout / 1000
            ),
            offload=base.offload,
            clock=base.clock,
            rng=base.rng,
            metrics=base.metrics,
        )
        self._frontend = QueryFrontendService(
            config=config,
            timeout_s=base.config.querier.timeout / 1000,
            limits=base.limits,
            directory=self._schedulers(),
            dispatcher=dispatcher,
            parsed=self._parsed,
            offload=base.offload,
            clock=base.clock,
            metrics=base.metrics,
        )
        register_query_results(self._cluster.router, self._frontend)
        base.apis["query-frontend"] = QueryApi(
            service=self._frontend,
            parse_selector=parse_selector,
            format_query=lambda text: pretty(parse_expression(text)),
            parse_query=lambda text: syntax_object(parse_expression(text)),
            selectors=lambda text: selector_matchers(parse_expression(text)),
            clock=base.clock,
            offload=base.offload,
        )
        return self._frontend

    def querier(self) -> Service:
        base = self._base
        config = base.config.querier
        engine = Engine(
            clock=base.clock,
            offload=base.offload,
            options=EngineOptions(
                lookback_ms=config.lookback_delta,
                subquery_step_ms=config.default_evaluation_interval,
                timeout_s=config.timeout / 1000,
                samples_max=config.max_samples,
            ),
            parsed=self._parsed,
        )
        unshipped = Unshipped(holders=self._holders, keep_s=indexed_within_ms(base.config) / 1000, clock=base.clock)
        reads = self._store.both(self._ingesters(), unshipped)
        records, indexes = self._cluster.hand_over_records, self._store.querier_indexes
        register_record_follower(self._cluster.router, RecordConfirmer(records=records.current, indexes=indexes))
        return QuerierService(
            querier_id=self._cluster.instance_id,
            executor=QueryExecutor(
                limits=base.limits, ingesters=reads, engine=engine, clock=base.clock, warning=reads.warning
            ),
            refresh=(indexes.start, unshipped.start),
            directory=self._schedulers(),
            slots=config.max_concurrent,
            drain_s=self._drain_s,
            local=self._local_frontend,
            frontend=self._frontend_at,
            offload=base.offload,
            rng=base.rng,
            metrics=base.metrics,
        )

    def _ingesters(self) -> IngesterReads:
        """The one of this process where there is no other."""
        base, config = self._base, self._base.config.querier
        if base.config.ingester.ring.kvstore.store == "inmemory":
            return self._write.local_ingester
        return RingIngesters(
            view=self._cluster.rings["ingester"].view,
            client=self._ingester,
            settings=RingReadSettings(
                minimise=config.minimize_ingester_requests,
                hedge_s=config.minimize_ingester_requests_hedging_delay / 1000,
                zone=config.prefer_availability_zone or zone_of(base.config),
                shards=config.shuffle_sharding_ingesters_enabled,
            ),
            limits=base.limits,
            offload=base.offload,
            clock=base.clock,
            rng=base.rng,
            metrics=base.metrics,
        )

    def _holders(self) -> Sequence[Holder]:
        """The ingesters that may have something alone."""
        base, ring = self._base, self._cluster.rings["ingester"]
        if base.config.ingester.ring.kvstore.store == "inmemory":
            return [self._write.local_ingester]
        return [self._holder(each) for each in ring.view().healthy_instances(READ, now_s=ring.now_s())]

    def _holder(self, instance: InstanceDesc) -> Holder:
        if "ingester" in self._base.components and instance.id == self._cluster.ring_identity("ingester").id:
            return self._write.local_ingester
        return self._write.ingesters.peer(instance.addr)

    def _ingester(self, instance: InstanceDesc) -> IngesterReads:
        if "ingester" in self._base.components and instance.id == self._cluster.ring_identity("ingester").id:
            return self._write.local_ingester
        return self._write.ingesters.peer(instance.addr)

    def _schedulers(self) -> SchedulerDirectory:
        if self._directory is None:
            self._directory = self._found_schedulers()
        return self._directory

    def _found_schedulers(self) -> SchedulerDirectory:
        config = self._base.config.query_scheduler
        if config.ring.kvstore.store == "inmemory":
            assert self._scheduler is not None, "components that need each other are checked before"
            return LocalScheduler(self._scheduler)
        address = self._cluster.ring_identity("query-scheduler").address
        return RingSchedulers(
            ring=self._cluster.rings["query-scheduler"],
            used_max=config.max_used_instances,
            peer=self._cluster.pool.peer,
            client=lambda peer: SchedulerClient(peer, timeout_s=_SHORT_CALL_S),
            local=None if self._scheduler is None else (address, self._scheduler),
        )

    def _local_frontend(self, address: str) -> LocalResults | None:
        return self._frontend if address == self._address else None

    def _frontend_at(self, address: str) -> QueryResults:
        return QueryResultsClient(self._cluster.pool.peer(address), timeout_s=_SHORT_CALL_S)
