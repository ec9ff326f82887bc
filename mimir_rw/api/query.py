"""The Prometheus query API: parameters in, JSON out.

Answers of query and query_range come ready from the query service; the others are encoded here, once, off the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from mimir_rw._native import LabelFrame, encode_label_sets
from mimir_rw.api import params as p
from mimir_rw.api.exchange import JSON_TYPE, Answer, Call
from mimir_rw.api.form import read_form
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.offload import Offload
from mimir_rw.model.errors import BadRequest
from mimir_rw.model.labels import Matcher
from mimir_rw.promql.checks import matcher_accepts_empty
from mimir_rw.promql.errors import InvalidQuery, ParseError
from mimir_rw.rpc.contracts.ingester import MetricMetadata
from mimir_rw.rpc.contracts.query import InstantQuery, QueryService, RangeQuery
from mimir_rw.wire.exemplars_json import exemplars_answer
from mimir_rw.wire.prometheus_json import escape_html

MATCHERS_MAX = 1000
_TRUNCATED = "results truncated due to limit"


class QueryApi:
    def __init__(
        self,
        *,
        service: QueryService,
        parse_selector: Callable[[str], Sequence[Matcher]],
        format_query: Callable[[str], str],
        parse_query: Callable[[str], Mapping[str, object]],
        selectors: Callable[[str], Sequence[Sequence[Matcher]]],
        clock: Clock,
        offload: Offload,
    ) -> None:
        """parse_selector: the matchers of a selector; format_query: the pretty form of an expression; parse_query: its
        syntax tree as plain data; selectors: the matchers of each of its selectors. All raise ParseError."""
        self._service = service
        self._parse_selector = parse_selector
        self._format_query = format_query
        self._parse_query = parse_query
        self._selectors = selectors
        self._clock = clock
        self._offload = offload

    async def query(self, call: Call) -> Answer:
        params = _params(call)
        limit = p.limit_param(params)
        request = InstantQuery(
            query=p.first(params, "query"),
            time_ms=p.time_param(params, "time", self._clock.now_ms()),
            timeout_s=p.timeout_param(params),
            limit=limit,
            lookback_ms=p.lookback_param(params),
            stats=p.first(params, "stats"),
            explain=p.switch_param(params, "explain"),
        )
        try:
            return Answer(200, await self._service.query(call.tenant, request), JSON_TYPE)
        except InvalidQuery as error:
            raise p.invalid("query", error) from error

    async def query_range(self, call: Call) -> Answer:
        params = _params(call)
        limit = p.limit_param(params)
        start_ms, end_ms, step_ms = p.range_params(params)
        request = RangeQuery(
            query=p.first(params, "query"),
            start_ms=start_ms,
            end_ms=end_ms,
            step_ms=step_ms,
            timeout_s=p.timeout_param(params),
            limit=limit,
            lookback_ms=p.lookback_param(params),
            stats=p.first(params, "stats"),
            explain=p.switch_param(params, "explain"),
        )
        try:
            return Answer(200, await self._service.query_range(call.tenant, request), JSON_TYPE)
        except InvalidQuery as error:
            raise p.invalid("query", error) from error

    async def format_query(self, call: Call) -> Answer:
        return await self._of_text(call, self._format_query)

    async def parse_query(self, call: Call) -> Answer:
        return await self._of_text(call, self._parse_query)

    async def _of_text(self, call: Call, answer: Callable[[str], object]) -> Answer:
        """What follows from the text of a query alone; in a thread, the text may be long."""
        params = _params(call)
        try:
            body = await self._offload.run(lambda text: _success(answer(text)), p.first(params, "query"))
        except ParseError as error:
            raise p.invalid("query", error) from error
        return Answer(200, body, JSON_TYPE)

    async def series(self, call: Call) -> Answer:
        form = read_form(call.query_string, call.form, call.header(b"content-type"))
        if form.problem:
            raise BadRequest(f"error parsing form values: {form.problem}")
        params = form.values
        if not params.get("match[]"):
            raise BadRequest("no match[] parameter provided")
        limit = p.limit_param(params)
        mint, maxt = p.metadata_range(params)
        try:
            matchers = await self._matchers(params)
        except BadRequest as error:
            raise p.invalid("match[]", error) from error
        frame = await self._service.series(call.tenant, matchers, mint, maxt)
        return Answer(200, await self._offload.run(_series_json, frame, limit), JSON_TYPE)

    async def label_names(self, call: Call) -> Answer:
        params = _params(call)
        limit = p.limit_param(params)
        mint, maxt = p.metadata_range(params)
        matchers = await self._matchers(params)
        names = await self._service.label_names(call.tenant, matchers, mint, maxt)
        return Answer(200, await self._offload.run(_strings_json, names, limit), JSON_TYPE)

    async def label_values(self, call: Call) -> Answer:
        params = _params(call)
        name = p.label_name(call.path_params["name"])
        limit = p.limit_param(params)
        mint, maxt = p.metadata_range(params)
        matchers = await self._matchers(params)
        values = await self._service.label_values(call.tenant, name, matchers, mint, maxt)
        return Answer(200, await self._offload.run(_strings_json, values, limit), JSON_TYPE)

    async def metadata(self, call: Call) -> Answer:
        params = _params(call)
        limit = p.metadata_limit_param(params, "limit")
        per_metric = p.metadata_limit_param(params, "limit_per_metric")
        found = await self._service.metadata(call.tenant, p.first(params, "metric") or None)
        return Answer(200, await self._offload.run(_metadata_json, found, limit, per_metric), JSON_TYPE)

    async def exemplars(self, call: Call) -> Answer:
        params = _params(call)
        mint, maxt = p.metadata_range(params)
        if maxt < mint:
            raise BadRequest("end timestamp must not be before start timestamp")
        sets = await self._offload.run(self._selectors, p.first(params, "query"))
        if not sets:
            return Answer(204)
        found = await self._service.exemplars(call.tenant, sets, mint, maxt)
        return Answer(200, await self._offload.run(exemplars_answer, found), JSON_TYPE)

    async def _matchers(self, params: p.Params) -> list[Sequence[Matcher]]:
        selectors = params.get("match[]", [])
        if len(selectors) > MATCHERS_MAX:
            raise BadRequest(f"more than {MATCHERS_MAX} match[] parameters")
        if not selectors:
            return []
        return await self._offload.run(self._parse_selectors, selectors)

    def _parse_selectors(self, selectors: Sequence[str]) -> list[Sequence[Matcher]]:
        parsed = [self._parse_selector(selector) for selector in selectors]
        if any(all(map(matcher_accepts_empty, matchers)) for matchers in parsed):
            raise BadRequest("match[] must contain at least one non-empty matcher")
        return parsed


def _params(call: Call) -> p.Params:
    return read_form(call.query_string, call.form, call.header(b"content-type")).values


def _success(data: object, warnings: Sequence[str] = ()) -> bytes:
    envelope: dict[str, object] = {"status": "success", "data": data}
    if warnings:
        envelope["warnings"] = warnings
    return escape_html(msgspec.json.encode(envelope))


def _strings_json(values: list[str], limit: int) -> bytes:
    if limit and len(values) > limit:
        return _success(values[:limit], (_TRUNCATED,))
    return _success(values)


def _series_json(frame: LabelFrame, limit: int) -> bytes:
    """Label sets are written without escaping, as Prometheus does."""
    truncated = bool(limit) and len(frame) > limit
    warnings = b',"warnings":["' + _TRUNCATED.encode() + b'"]' if truncated else b""
    return b'{"status":"success","data":' + encode_label_sets(frame, limit) + warnings + b"}"


def _metadata_json(found: Sequence[MetricMetadata], limit: int, per_metric: int) -> bytes:
    by_metric: dict[str, list[Mapping[str, str]]] = {}
    for each in found:
        entries = by_metric.get(each.metric)
        if entries is None:
            if limit and len(by_metric) >= limit:
                continue
            entries = by_metric[each.metric] = []
        if not per_metric or len(entries) < per_metric:
            entries.append({"type": each.type, "help": each.help, "unit": each.unit})
    return _success(by_metric)
