from __future__ import annotations

import pytest

from mimir_rw.components.ingester.core import append_limits, largest_first, replay_text, timestamp_text
from mimir_rw.components.ingester.metadata import MetadataStore
from mimir_rw.config.limits import TenantLimits


@pytest.mark.parametrize(
    ("tenant_max", "series", "room", "series_max"),
    [(0, 5, None, 0), (9, 5, None, 9), (9, 5, 2, 7), (9, 5, 100, 9), (0, 5, 3, 8), (9, 5, -3, 5), (0, 0, 0, 1)],
)
def test_series_limit_is_the_tighter_one(tenant_max: int, series: int, room: int | None, series_max: int) -> None:
    limits = TenantLimits(max_global_series_per_user=tenant_max)
    assert append_limits(limits, series=series, instance_room=room).series_max == series_max


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1 << 62, f"{1 << 62} ms"),
    ],
)
def test_timestamps(ms: int, text: str) -> None:
    assert timestamp_text(ms) == text


def test_replay_order_and_progress() -> None:
    assert largest_first([("a", 1), ("b", 9), ("c", 9)]) == ["b", "c", "a"]
    text = replay_text("x", 1 << 20, 4 << 20, tenants_done=2, tenants=3)
    assert text == "replaying WAL of tenant x: 25 % (1.0 of 4.0 MiB; 2 of 3 tenants done)"
    assert "tenants done" not in replay_text("x", 0, 0, tenants_done=0, tenants=1)


def test_metadata_is_bounded_and_forgotten() -> None:
    store = MetadataStore()
    limits = TenantLimits(max_global_metadata_per_user=2, max_global_metadata_per_metric=1)
    rows = [(1, "b_total", "help", ""), (2, "a", "h", "bytes"), (1, "b_total", "other", ""), (1, "c", "", "")]
    refused = store.update([*rows, (1, "d", "", "")], limits, 10.0)
    assert [(r.error_id, r.count) for r in refused] == [("max-metadata-per-metric", 1), ("max-metadata-per-user", 2)]
    assert "metadata of c" in refused[1].first
    assert [(e.metric, e.type, e.help, e.unit) for e in store.entries(None)] == [
        ("a", "gauge", "h", "bytes"),
        ("b_total", "counter", "help", ""),
    ]
    store.update(rows[:1], limits, 20.0)
    store.forget_before(15.0)
    assert [e.metric for e in store.entries(None)] == ["b_total"]
    assert store.entries("a") == []
