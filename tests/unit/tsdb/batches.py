"""Batches for tests, made the way pushes make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mimir_rw._native import KnownSeries, PushLimits, WriteBatch, decode_remote_write
from mimir_rw.testing.remote_write import body, series
from mimir_rw.testing.remote_write import metadata as metadata_field

KEY = bytes(range(32))
START_MS = 1_700_000_000_000
_LIMITS = PushLimits(
    label_names_max=30,
    info_label_names_max=80,
    label_name_bytes_max=1024,
    label_value_bytes_max=2048,
    metadata_bytes_max=1024,
    future_grace_ms=1 << 50,
    past_grace_ms=0,
    utf8_names=False,
    exemplars=True,
)

Row = tuple[Mapping[str, str], Sequence[tuple[int, float]]]
Metadata = tuple[int, str, str, str]


def batch(*rows: Row, metadata: Sequence[Metadata] = (), tenant: str = "t", key: bytes = KEY) -> WriteBatch:
    """rows: labels and (ms, value) samples. metadata: type number, metric, help, unit. key: what series are hashed
    with."""
    request = body(
        *(series(labels, samples) for labels, samples in rows),
        *(metadata_field(metric, kind, help_, unit) for kind, metric, help_, unit in metadata),
    )
    return batch_of(request, tenant=tenant, key=key)


def batch_of(request: bytes, *, tenant: str = "t", key: bytes = KEY) -> WriteBatch:
    """Of a remote write 1.0 request."""
    push = decode_remote_write(
        request,
        tenant=tenant,
        key=key,
        known=KnownSeries(entries_max=0),
        limits=_LIMITS,
        now_ms=START_MS,
        bytes_max=1 << 24,
    )
    assert not push.rejections
    return push.batch


def up(instance: str, *samples: tuple[int, float]) -> Row:
    """A row of the series up{instance}."""
    return {"__name__": "up", "instance": instance}, samples
