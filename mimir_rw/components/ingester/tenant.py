"""What the ingester holds of one tenant."""

from __future__ import annotations

from mimir_rw.components.ingester.local_limits import ShareHistory, localised
from mimir_rw.components.ingester.metadata import MetadataStore
from mimir_rw.config.limits import TenantLimits
from mimir_rw.kit.metrics import Counter
from mimir_rw.kit.moving_rate import MovingRate
from mimir_rw.rpc.contracts.ingester import U32Column
from mimir_rw.tsdb.head import TenantHead


class Tenant:
    __slots__ = ("head", "metadata", "owned_ranges", "rate", "samples", "samples_failed", "shares")

    def __init__(self, *, head: TenantHead, shares: ShareHistory, samples: Counter, samples_failed: Counter) -> None:
        self.head = head
        self.shares = shares
        self.owned_ranges: U32Column | None = None
        """Ring tokens of the series that count against the tenant's limits here, as the head was told; None: all."""
        self.metadata = MetadataStore()
        self.rate = MovingRate()
        self.samples = samples
        self.samples_failed = samples_failed

    def local_limits(self, limits: TenantLimits, now_s: float) -> TenantLimits:
        """The tenant's limits with those over the whole cluster brought down to this ingester's part."""
        return localised(limits, self.shares.in_force(now_s))
