"""The overrides-exporter as a running service."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mimir_rw.components.overrides_exporter.core import limit_values, override_values, shown_limits
from mimir_rw.config.limits import Limits
from mimir_rw.kit.metrics import Metrics, Reading
from mimir_rw.kit.service import Service


class OverridesExporter(Service):
    """Answers when metrics are rendered; between two scrapes it does nothing."""

    def __init__(
        self, *, enabled_metrics: Sequence[str], limits: Limits, leads: Callable[[], bool], metrics: Metrics
    ) -> None:
        """leads: whether this exporter is the one that shows the limits; asked in the rendering thread."""
        super().__init__("overrides-exporter")
        self._names = shown_limits(enabled_metrics)
        self._limits = limits
        self._leads = leads
        metrics.gauges_read(
            "cortex_limits_overrides",
            "Limits of the tenants that have limits of their own.",
            ("limit_name", "user"),
            self._overrides,
        )
        metrics.gauges_read("cortex_limits_defaults", "Limits of all other tenants.", ("limit_name",), self._defaults)

    def _overrides(self) -> Reading:
        return list(override_values(self._names, self._limits.overrides)) if self._leads() else []

    def _defaults(self) -> Reading:
        if not self._leads():
            return []
        return [((name,), value) for name, value in limit_values(self._names, self._limits.defaults)]
