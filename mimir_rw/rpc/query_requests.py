"""Requests of `contracts/query.py` as messages, for query-frontends and queriers. Pure, total."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mimir_rw.model.errors import BadRequest
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.rpc.contracts.query import (
    ExemplarsRequest,
    InstantQuery,
    LabelNamesRequest,
    LabelValuesRequest,
    MetadataRequest,
    QueryRequest,
    RangeQuery,
    SeriesRequest,
)
from mimir_rw.rpc.transport import Message

Header = Mapping[str, Any]
_KIND = "kind"


def encode_request(request: QueryRequest) -> Message:
    match request:
        case InstantQuery():
            return Message({_KIND: "instant", "time": request.time_ms, **_query_fields(request)})
        case RangeQuery():
            times = {"start": request.start_ms, "end": request.end_ms, "step": request.step_ms}
            return Message({_KIND: "range", **times, **_query_fields(request)})
        case SeriesRequest():
            return Message({_KIND: "series", **_selection_fields(request)})
        case ExemplarsRequest():
            return Message({_KIND: "exemplars", **_selection_fields(request)})
        case LabelNamesRequest():
            return Message({_KIND: "label_names", **_selection_fields(request)})
        case LabelValuesRequest():
            return Message({_KIND: "label_values", "name": _bytes(request.name), **_selection_fields(request)})
        case MetadataRequest():
            return Message({_KIND: "metadata", "metric": None if request.metric is None else _bytes(request.metric)})


def decode_request(message: Message) -> QueryRequest:
    """Raises BadRequest for what is no request."""
    header = message.header
    try:
        return _DECODERS[header[_KIND]](header)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"malformed query request: {error!r}") from error


def _query_fields(request: InstantQuery | RangeQuery) -> dict[str, Any]:
    return {
        "query": _bytes(request.query),
        "timeout": request.timeout_s,
        "limit": request.limit,
        "lookback": request.lookback_ms,
        "stats": _bytes(request.stats),
        **({"explain": True} if request.explain else {}),
    }


_Selection = SeriesRequest | LabelNamesRequest | LabelValuesRequest | ExemplarsRequest


def _selection_fields(request: _Selection) -> dict[str, Any]:
    sets = [[[int(m.type), _bytes(m.name), _bytes(m.value)] for m in matchers] for matchers in request.matcher_sets]
    return {"sets": sets, "mint": request.mint, "maxt": request.maxt}


def _instant(header: Header) -> QueryRequest:
    return InstantQuery(time_ms=_int(header["time"]), **_common(header))


def _range(header: Header) -> QueryRequest:
    start, end, step = (_int(header[name]) for name in ("start", "end", "step"))
    if step <= 0 or end < start:
        raise ValueError("steps of a range query")
    return RangeQuery(start_ms=start, end_ms=end, step_ms=step, **_common(header))


def _common(header: Header) -> dict[str, Any]:
    timeout, lookback = header.get("timeout"), header.get("lookback")
    return {
        "query": _text(header["query"]),
        "timeout_s": None if timeout is None else float(timeout),
        "limit": _int(header.get("limit", 0)),
        "lookback_ms": None if lookback is None else _int(lookback),
        "stats": _text(header.get("stats", b"")),
        "explain": bool(header.get("explain", False)),
    }


def _series(header: Header) -> QueryRequest:
    return SeriesRequest(_sets(header["sets"]), _int(header["mint"]), _int(header["maxt"]))


def _exemplars(header: Header) -> QueryRequest:
    return ExemplarsRequest(_sets(header["sets"]), _int(header["mint"]), _int(header["maxt"]))


def _label_names(header: Header) -> QueryRequest:
    return LabelNamesRequest(_sets(header["sets"]), _int(header["mint"]), _int(header["maxt"]))


def _label_values(header: Header) -> QueryRequest:
    mint, maxt = _int(header["mint"]), _int(header["maxt"])
    return LabelValuesRequest(_text(header["name"]), _sets(header["sets"]), mint, maxt)


def _metadata(header: Header) -> QueryRequest:
    metric = header.get("metric")
    return MetadataRequest(None if metric is None else _text(metric))


_DECODERS: dict[object, Callable[[Header], QueryRequest]] = {
    "instant": _instant,
    "range": _range,
    "series": _series,
    "exemplars": _exemplars,
    "label_names": _label_names,
    "label_values": _label_values,
    "metadata": _metadata,
}


def _sets(value: Sequence[Sequence[tuple[int, bytes, bytes]]]) -> list[list[Matcher]]:
    return [[Matcher(MatchType(kind), _text(name), _text(text)) for kind, name, text in matchers] for matchers in value]


def _bytes(text: str) -> bytes:
    """Users send text that is no UTF-8 too; it is read with surrogates."""
    return text.encode("utf-8", "surrogatepass")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no integer")
    return value
