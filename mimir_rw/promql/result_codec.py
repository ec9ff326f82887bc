"""What queriers answer to query-frontends, and its form between processes: columns, JSON comes later.

A message's header says what it is and how long the parts of its payload are: the label frame, the values (float64,
little-endian, row by row) and the mask (one bit a cell; nothing where every cell is present), or the offsets, times
and values of samples. Native histograms follow, if there are any: the histograms, and the number of that of each cell
(int32, -1 for none), or their offsets and times; such values have kinds of their own. A payload of some size is
compressed with lz4. Text travels as bytes: what users send need not be UTF-8. Pure, total: what does not decode is
Internal, and sizes are checked before memory is taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Final

import lz4.block
import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from mimir_rw._native import HistogramColumn, LabelFrame, SampleColumns
from mimir_rw.model.errors import Internal, MimirError
from mimir_rw.model.exemplars import SeriesExemplars
from mimir_rw.promql.exec.values import HistogramCells, Scalar, String, Vector
from mimir_rw.promql.explain import Explanation
from mimir_rw.promql.result import QueryStats, RangeSamples, Result, ResultType
from mimir_rw.promql.steps import Steps
from mimir_rw.rpc.codec import ErrorHeader
from mimir_rw.rpc.contracts.ingester import MetricMetadata
from mimir_rw.rpc.errors import error_from_header, error_header
from mimir_rw.rpc.transport import Message

COMPRESSED_BYTES_MIN: Final = 32 << 10
PAYLOAD_BYTES_MAX: Final = 2 << 30
_EXPANSION_MAX = 256
"""lz4 can not make less than a 255th of anything."""


Header = Mapping[str, Any]
Parts = list[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A result, and what it took: series and bytes that were fetched for it."""

    result: Result
    series_fetched: int
    bytes_fetched: int


Answer = Evaluated | LabelFrame | list[str] | list[MetricMetadata] | list[SeriesExemplars]
Outcome = Answer | MimirError
"""The answer to a request, or why there is none."""


def encode_outcome(outcome: Outcome) -> Message:
    if isinstance(outcome, MimirError):
        error = error_header(outcome)
        return Message({"is": "error", "kind": error.kind, "text": _bytes(error.text), "id": error.id})
    if isinstance(outcome, Evaluated):
        header, parts = _encode_result(outcome.result)
        if outcome.result.explanation is not None:
            header["explained"] = True
            parts.append(json.dumps(outcome.result.explanation.as_json()).encode())
        header |= {"is": "result", "series": outcome.series_fetched, "bytes": outcome.bytes_fetched}
        return _message(header, parts)
    if isinstance(outcome, LabelFrame):
        return _message({"is": "frame"}, [outcome.to_bytes()])
    if outcome and isinstance(outcome[0], MetricMetadata):
        texts = [text for each in outcome if isinstance(each, MetricMetadata) for text in astuple(each)]
        return _message({"is": "metadata"}, _encode_strings(texts))
    if outcome and isinstance(outcome[0], SeriesExemplars):
        return _message({"is": "exemplars"}, [msgspec.msgpack.encode(outcome)])
    return _message({"is": "strings"}, _encode_strings([text for text in outcome if isinstance(text, str)]))


def decode_outcome(message: Message) -> Outcome:
    """Whatever came; Internal for what is no outcome."""
    try:
        return _DECODERS[message.header["is"]](message.header, _parts(message))
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        lz4.block.LZ4BlockError,
    ) as error:
        return Internal(f"malformed answer of a querier: {error!r}")


# -- parts of a payload -----------------------------------------------------------------------------------------------


def _message(header: dict[str, Any], parts: Parts) -> Message:
    header["parts"] = [len(part) for part in parts]
    payload = b"".join(parts)
    if len(payload) >= COMPRESSED_BYTES_MIN:
        packed = lz4.block.compress(payload, store_size=False)
        if len(packed) < len(payload):
            header["lz4"] = len(payload)
            payload = packed
    return Message(header, payload)


def _parts(message: Message) -> list[memoryview]:
    payload, size = memoryview(message.payload), message.header.get("lz4", 0)
    if size:
        if not 0 < size <= min(PAYLOAD_BYTES_MAX, len(payload) * _EXPANSION_MAX):
            raise ValueError("size of a compressed payload")
        payload = memoryview(lz4.block.decompress(payload, uncompressed_size=size))
    parts, at = [], 0
    for length in message.header.get("parts", ()):
        if length < 0 or at + length > len(payload):
            raise ValueError("length of a part")
        parts.append(payload[at : at + length])
        at += length
    return parts


def _column(part: memoryview, dtype: DTypeLike, count: int) -> NDArray[Any]:
    """A read-only view."""
    column = np.frombuffer(part, dtype=dtype)
    if len(column) != count:
        raise ValueError("length of a column")
    return column


def _raw(column: NDArray[Any], dtype: DTypeLike) -> memoryview:
    return np.ascontiguousarray(column, dtype=dtype).data.cast("B") if column.size else memoryview(b"")


def _encode_strings(texts: Sequence[str]) -> Parts:
    encoded = [_bytes(text) for text in texts]
    lengths = np.fromiter(map(len, encoded), dtype="<u4", count=len(encoded))
    return [_raw(lengths, "<u4"), b"".join(encoded)]


def _decode_strings(parts: Sequence[memoryview]) -> list[str]:
    lengths, text = np.frombuffer(parts[0], dtype="<u4").tolist(), bytes(parts[1])
    if sum(lengths) != len(text):
        raise ValueError("length of strings")
    found, at = [], 0
    for length in lengths:
        found.append(_text(text[at : at + length]))
        at += length
    return found


# -- results ----------------------------------------------------------------------------------------------------------


def _encode_result(result: Result) -> tuple[dict[str, Any], Parts]:
    header: dict[str, Any] = {
        "type": result.type.value,
        "steps": list(astuple(result.steps)),
        "warnings": [_bytes(text) for text in result.warnings],
        "infos": [_bytes(text) for text in result.infos],
        "stats": list(astuple(result.stats)),
    }
    value = result.value
    match value:
        case Vector():
            assert value.unnamed is None, "names are removed before a result is made"
            header |= {"value": "vector", "rows": len(value.labels)}
            mask = b"" if value.mask.all() else np.packbits(value.mask).tobytes()
            parts: Parts = [value.labels.to_bytes(), _raw(value.values, "<f8"), mask]
            if value.histograms is not None:
                header["value"] = "vector with histograms"
                parts += _encode_cells(value.histograms)
            return header, parts
        case RangeSamples():
            columns = value.columns
            header |= {"value": "samples", "rows": len(value.labels), "samples": len(columns.ts)}
            offsets, times = _raw(columns.offsets, "<i8"), _raw(columns.ts, "<i8")
            parts = [value.labels.to_bytes(), offsets, times, _raw(columns.values, "<f8")]
            if columns.histogram_count:
                header["value"] = "samples with histograms"
                offsets, times = _raw(columns.histogram_offsets, "<i8"), _raw(columns.histogram_ts, "<i8")
                parts += [offsets, times, columns.histogram_column.to_bytes()]
            return header, parts
        case Scalar():
            return header | {"value": "scalar"}, [_raw(value.values, "<f8")]
        case String():
            return header | {"value": "string"}, [_bytes(value.value)]


def _encode_cells(cells: HistogramCells) -> Parts:
    """Only the histograms in use."""
    used, numbers = np.unique(cells.index, return_inverse=True)
    first = int(np.searchsorted(used, 0))
    index = np.maximum(numbers.reshape(cells.index.shape) - first, -1)
    return [cells.column.take(used[first:].astype(np.int64)).to_bytes(), _raw(index, "<i4")]


def _decode_result(header: Header, parts: Sequence[memoryview]) -> Outcome:
    steps = Steps(*(int(each) for each in header["steps"]))
    result = Result(
        type=ResultType(header["type"]),
        value=_VALUES[header["value"]](header, parts, steps),
        steps=steps,
        warnings=tuple(_text(text) for text in header["warnings"]),
        infos=tuple(_text(text) for text in header["infos"]),
        stats=_decode_stats(header["stats"]),
        explanation=Explanation.from_json(json.loads(bytes(parts[-1]))) if header.get("explained") else None,
    )
    return Evaluated(result, int(header["series"]), int(header["bytes"]))


def _decode_stats(fields: Sequence[Any]) -> QueryStats:
    *plain, queryable, read = fields
    samples, peak, *seconds = plain
    prepare, select, evaluate = (float(each) for each in seconds)
    return QueryStats(int(samples), int(peak), prepare, select, evaluate, tuple(queryable), tuple(read))


def _vector(header: Header, parts: Sequence[memoryview], steps: Steps) -> Vector:
    rows, cells = int(header["rows"]), int(header["rows"]) * steps.count
    values = _column(parts[1], "<f8", cells).reshape(rows, steps.count)
    if len(parts[2]):
        bits = _column(parts[2], np.uint8, (cells + 7) // 8)
        mask = np.unpackbits(bits, count=cells).view(np.bool_).reshape(rows, steps.count)
    else:
        mask = np.ones((rows, steps.count), dtype=np.bool_)
    return Vector(_frame(parts[0], rows), values, mask)


def _samples(header: Header, parts: Sequence[memoryview], steps: Steps) -> RangeSamples:
    rows, count = int(header["rows"]), int(header["samples"])
    offsets = _column(parts[1], "<i8", rows + 1)
    return RangeSamples(
        _frame(parts[0], rows),
        SampleColumns(offsets, _column(parts[2], "<i8", count), _column(parts[3], "<f8", count)),
    )


def _vector_with_histograms(header: Header, parts: Sequence[memoryview], steps: Steps) -> Vector:
    vector = _vector(header, parts, steps)
    column = HistogramColumn.from_bytes(parts[3])
    index = _column(parts[4], "<i4", vector.mask.size).reshape(vector.mask.shape)
    if index.size and not -1 <= index.min() <= index.max() < len(column):
        raise ValueError("number of a histogram")
    if (vector.mask & (index >= 0)).any():
        raise ValueError("a float and a histogram in one cell")
    return replace(vector, histograms=HistogramCells(column, index))


def _samples_with_histograms(header: Header, parts: Sequence[memoryview], steps: Steps) -> RangeSamples:
    floats = _samples(header, parts, steps)
    column = HistogramColumn.from_bytes(parts[6])
    offsets = _column(parts[4], "<i8", len(floats.labels) + 1)
    times = _column(parts[5], "<i8", len(column))
    return replace(floats, columns=floats.columns.with_histograms(offsets, times, column))


def _scalar(header: Header, parts: Sequence[memoryview], steps: Steps) -> Scalar:
    return Scalar(_column(parts[0], "<f8", steps.count))


def _string(header: Header, parts: Sequence[memoryview], steps: Steps) -> String:
    return String(_text(bytes(parts[0])))


_VALUES: dict[object, Callable[[Header, Sequence[memoryview], Steps], Vector | RangeSamples | Scalar | String]] = {
    "vector": _vector,
    "vector with histograms": _vector_with_histograms,
    "samples": _samples,
    "samples with histograms": _samples_with_histograms,
    "scalar": _scalar,
    "string": _string,
}


# -- other answers ----------------------------------------------------------------------------------------------------


def _frame(part: memoryview, rows: int | None = None) -> LabelFrame:
    frame = LabelFrame.from_bytes(part)
    if rows is not None and len(frame) != rows:
        raise ValueError("rows of a label frame")
    return frame


def _decode_frame(header: Header, parts: Sequence[memoryview]) -> Outcome:
    return _frame(parts[0])


def _decode_texts(header: Header, parts: Sequence[memoryview]) -> Outcome:
    return _decode_strings(parts)


def _decode_metadata(header: Header, parts: Sequence[memoryview]) -> Outcome:
    texts = _decode_strings(parts)
    if len(texts) % 4:
        raise ValueError("texts of metadata")
    return [MetricMetadata(*texts[i : i + 4]) for i in range(0, len(texts), 4)]


_EXEMPLARS = msgspec.msgpack.Decoder(list[SeriesExemplars])


def _decode_exemplars(header: Header, parts: Sequence[memoryview]) -> Outcome:
    return _EXEMPLARS.decode(parts[0])


def _decode_error(header: Header, parts: Sequence[memoryview]) -> Outcome:
    return error_from_header(ErrorHeader(str(header["kind"]), _text(header["text"]), str(header["id"])))


_DECODERS: dict[object, Callable[[Header, Sequence[memoryview]], Outcome]] = {
    "result": _decode_result,
    "frame": _decode_frame,
    "strings": _decode_texts,
    "metadata": _decode_metadata,
    "exemplars": _decode_exemplars,
    "error": _decode_error,
}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")
