"""What serves the other groups: the overrides-exporter and the compactor."""

from __future__ import annotations

from mimir_rw.app.build.base import Base
from mimir_rw.app.build.cluster import Cluster
from mimir_rw.app.build.compactor import CompactorBuild
from mimir_rw.components.overrides_exporter.core import leader
from mimir_rw.components.overrides_exporter.service import OverridesExporter
from mimir_rw.kit.service import Service
from mimir_rw.ring.operations import REPORTING


class Backend:
    def __init__(self, base: Base, cluster: Cluster) -> None:
        self._base = base
        self._cluster = cluster

    def overrides_exporter(self) -> Service:
        base = self._base
        return OverridesExporter(
            enabled_metrics=base.config.overrides_exporter.enabled_metrics,
            limits=base.limits,
            leads=self._leads if base.config.overrides_exporter.ring.enabled else lambda: True,
            metrics=base.metrics,
        )

    def compactor(self) -> Service:
        return CompactorBuild(self._base, self._cluster).service()

    def _leads(self) -> bool:
        """Whether this process is the one overrides-exporter that exports."""
        ring = self._cluster.rings["overrides-exporter"]
        alive = ring.view().healthy_instances(REPORTING, now_s=ring.now_s())
        return leader({each.id: each.tokens for each in alive}) == self._cluster.ring_identity("overrides-exporter").id
