"""What serves the other groups: the overrides-exporter."""

from __future__ import annotations

from mimir_rw.app.build.base import Base
from mimir_rw.components.overrides_exporter.service import OverridesExporter
from mimir_rw.kit.service import Service


class Backend:
    def __init__(self, base: Base) -> None:
        self._base = base

    def overrides_exporter(self) -> Service:
        base = self._base
        return OverridesExporter(
            enabled_metrics=base.config.overrides_exporter.enabled_metrics,
            limits=base.limits,
            leads=lambda: True,
            metrics=base.metrics,
        )
