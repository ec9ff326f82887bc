"""The read path: query-frontend and querier."""

from __future__ import annotations

from mimir_rw.api.query import QueryApi
from mimir_rw.app.build.base import Base
from mimir_rw.app.build.write import Write
from mimir_rw.components.querier.service import QuerierService
from mimir_rw.kit.service import Service
from mimir_rw.promql.engine import Engine, EngineOptions
from mimir_rw.promql.parser import EVERYTHING, parse_expression, parse_selector
from mimir_rw.promql.printer import pretty


class Read:
    def __init__(self, base: Base, write: Write) -> None:
        self._base = base
        self._write = write

    def query_frontend(self) -> Service:
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
        )
        querier = QuerierService(
            config=config,
            frontend=base.config.frontend,
            limits=base.limits,
            ingester=self._write.local_ingester,
            engine=engine,
            offload=base.offload,
            clock=base.clock,
            metrics=base.metrics,
        )
        base.apis["query-frontend"] = QueryApi(
            service=querier,
            parse_selector=parse_selector,
            format_query=lambda text: pretty(parse_expression(text, EVERYTHING)),
            clock=base.clock,
            offload=base.offload,
        )
        return querier
