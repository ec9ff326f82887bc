"""The compactor's settings."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.config.rings import CompactorRingConfig
from mimir_rw.config.settings import section


@dataclass(frozen=True, slots=True)
class CompactorConfig:
    sharding_ring: CompactorRingConfig = section(CompactorRingConfig, flag_prefix="compactor.ring")
