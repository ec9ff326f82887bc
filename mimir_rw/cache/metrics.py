"""Metrics of caches, by the name of the cache and what is behind it. Names are those of Mimir's dashboards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mimir_rw.kit.metrics import Counter, Histogram, Metrics, Reading

_LABELS = ("name", "backend")
_DURATIONS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Of one cache."""

    requests: Counter
    hits: Counter
    stored: Counter
    dropped: Counter
    failures: Counter
    duration: Histogram


class CacheMetrics:
    """Those of all caches of the process."""

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.counters("thanos_cache_requests_total", "Items that were asked for.", _LABELS)
        self._hits = metrics.counters("thanos_cache_hits_total", "Items that were there.", _LABELS)
        self._stored = metrics.counters("mimir_rw_cache_stored_bytes_total", "Bytes that were stored.", _LABELS)
        self._dropped = metrics.counters(
            "mimir_rw_cache_dropped_total", "Items that were not stored: too large, or too many waited.", _LABELS
        )
        self._failures = metrics.counters(
            "mimir_rw_cache_failures_total", "Calls to a cache that failed or took too long.", _LABELS
        )
        self._durations = metrics.histograms(
            "thanos_cache_operation_duration_seconds", "How long it took to ask.", _LABELS, _DURATIONS_S
        )
        self._held: list[tuple[tuple[str, str], Callable[[], int]]] = []
        metrics.gauges_read("mimir_rw_cache_held_bytes", "Bytes held in this process.", _LABELS, self._read_held)

    def of(self, name: str, backend: str, held: Callable[[], int] | None = None) -> CacheCounts:
        labels = (name, backend)
        if held is not None:
            self._held.append((labels, held))
        return CacheCounts(
            requests=self._requests.labels(*labels),
            hits=self._hits.labels(*labels),
            stored=self._stored.labels(*labels),
            dropped=self._dropped.labels(*labels),
            failures=self._failures.labels(*labels),
            duration=self._durations.labels(*labels),
        )

    def _read_held(self) -> Reading:
        return [(labels, held()) for labels, held in self._held]
