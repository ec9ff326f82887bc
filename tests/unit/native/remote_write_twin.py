"""Remote write 1.0 by other means: bodies read by the protobuf runtime with a decoder in plain Python that follows
remote-write.md. The oracle of the native kernel."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

LABEL_NAMES_MAX = 4


def _write_request() -> Any:
    """The message class, its strings declared as bytes so that the runtime does not judge them."""
    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="twin.proto", package="twin", syntax="proto3")
    messages: dict[str, Sequence[tuple[str, int, int, str]]] = {
        "Label": [("name", 1, types.TYPE_BYTES, ""), ("value", 2, types.TYPE_BYTES, "")],
        "Sample": [("value", 1, types.TYPE_DOUBLE, ""), ("timestamp", 2, types.TYPE_INT64, "")],
        "TimeSeries": [("labels", 1, 0, "Label"), ("samples", 2, 0, "Sample")],
        "Metadata": [("type", 1, types.TYPE_INT32, ""), ("metric_family_name", 2, types.TYPE_BYTES, ""),
                     ("help", 4, types.TYPE_BYTES, ""), ("unit", 5, types.TYPE_BYTES, "")],
        "WriteRequest": [("timeseries", 1, 0, "TimeSeries"), ("metadata", 3, 0, "Metadata")],
    }  # fmt: skip
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind, of in fields:
            each = message.field.add(name=field_name, number=number, label=types.LABEL_OPTIONAL)
            if of:
                each.label, each.type, each.type_name = types.LABEL_REPEATED, types.TYPE_MESSAGE, f".twin.{of}"
            else:
                each.type = kind  # type: ignore[assignment]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("twin.WriteRequest"))


WriteRequest = _write_request()

Row = tuple[list[tuple[str, str]], list[tuple[int, str]]]


def decode(message: bytes) -> tuple[list[Row], dict[str, int], int]:
    """Valid series with (ms, value as hex) samples, refused samples by error id, and metadata entries.

    Limits: LABEL_NAMES_MAX labels, legacy names, times of any age up to `FUTURE_MS`. Raises
    google.protobuf.message.DecodeError.
    """
    request = WriteRequest.FromString(message)
    rows: list[Row] = []
    refused: dict[str, int] = {}
    for each in request.timeseries:
        if not each.samples:
            continue
        labels = sorted(((x.name, x.value) for x in each.labels if x.value), key=lambda x: x[0])
        fault = _fault(labels)
        if fault:
            refused[fault] = refused.get(fault, 0) + len(each.samples)
            continue
        kept = [(x.timestamp, struct.pack("<d", x.value).hex()) for x in each.samples if x.timestamp <= FUTURE_MS]
        if len(kept) < len(each.samples):
            refused["too-far-in-future"] = refused.get("too-far-in-future", 0) + len(each.samples) - len(kept)
        if kept:
            rows.append(([(n.decode(), v.decode()) for n, v in labels], kept))
    return rows, refused, len(request.metadata)


FUTURE_MS = 1_700_000_000_000


def _fault(labels: list[tuple[bytes, bytes]]) -> str | None:
    metric = next((v for n, v in labels if n == b"__name__"), None)
    if metric is None:
        return "missing-metric-name"
    if not _legacy(metric, extra=b"_:"):
        return "metric-name-invalid"
    if len(labels) > LABEL_NAMES_MAX:
        return "max-label-names-per-series"
    for i, (name, value) in enumerate(labels):
        if not _legacy(name, extra=b"_"):
            return "label-invalid"
        try:
            value.decode()
        except UnicodeDecodeError:
            return "label-value-invalid"
        if i and labels[i - 1][0] == name:
            return "duplicate-label-names"
    return None


def _legacy(name: bytes, *, extra: bytes) -> bool:
    text = name.decode("latin-1")
    return (
        bool(name)
        and not (text[0].isascii() and text[0].isdigit())
        and all((c.isascii() and c.isalnum()) or c.encode("latin-1") in extra for c in text)
    )
