"""Metadata of one tenant's metrics, in memory: what remote write sent, kept as long as it keeps being sent."""

from __future__ import annotations

from collections.abc import Iterable

from mimir_rw.components.ingester.core import limit_text
from mimir_rw.config.limits import TenantLimits
from mimir_rw.rpc.contracts.ingester import MetricMetadata, Rejection

_TYPES = ("unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset")

Row = tuple[int, str, str, str]
"""Type number, metric, help, unit."""


class MetadataStore:
    """Changed on the event loop only."""

    def __init__(self) -> None:
        self._metrics: dict[str, dict[MetricMetadata, float]] = {}
        """Entries of each metric with the time (monotonic seconds) when each was last sent."""

    def __len__(self) -> int:
        return sum(map(len, self._metrics.values()))

    def update(self, rows: Iterable[Row], limits: TenantLimits, now_s: float) -> list[Rejection]:
        """Keep the rows that the limits allow; one rejection per limit for the others."""
        refused: dict[str, Rejection] = {}
        for kind, metric, help_, unit in rows:
            entry = MetricMetadata(metric, _TYPES[kind] if kind < len(_TYPES) else _TYPES[0], help_, unit)
            new = self._put(entry, limits, now_s)
            if new is not None:
                seen = refused.get(new.error_id)
                refused[new.error_id] = new if seen is None else Rejection(new.error_id, seen.count + 1, seen.first)
        return list(refused.values())

    def forget_before(self, time_s: float) -> None:
        """Drop entries that were not sent since."""
        for metric, entries in list(self._metrics.items()):
            for entry in [entry for entry, seen_s in entries.items() if seen_s < time_s]:
                del entries[entry]
            if not entries:
                del self._metrics[metric]

    def entries(self, metric: str | None) -> list[MetricMetadata]:
        """All entries, or those of one metric; by metric, then as first sent."""
        if metric is not None:
            return list(self._metrics.get(metric, ()))
        return [entry for name in sorted(self._metrics) for entry in self._metrics[name]]

    def _put(self, entry: MetricMetadata, limits: TenantLimits, now_s: float) -> Rejection | None:
        entries = self._metrics.get(entry.metric)
        if entries is None:
            bound = limits.max_global_metadata_per_user
            if bound and len(self._metrics) >= bound:
                return _refused("max-metadata-per-user", "metrics with metadata per tenant", bound, entry.metric)
            entries = self._metrics[entry.metric] = {}
        elif entry not in entries:
            bound = limits.max_global_metadata_per_metric
            if bound and len(entries) >= bound:
                return _refused("max-metadata-per-metric", "metadata entries per metric", bound, entry.metric)
        entries[entry] = now_s
        return None


def _refused(error_id: str, what: str, bound: int, metric: str) -> Rejection:
    flag = error_id.replace("max-", "ingester.max-global-")
    return Rejection(error_id, 1, limit_text(what, bound, flag, f"metadata of {metric}"))
