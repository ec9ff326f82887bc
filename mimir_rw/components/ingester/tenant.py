"""What the ingester holds of one tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from mimir_rw.components.ingester.local_limits import ShareHistory, localised
from mimir_rw.components.ingester.metadata import MetadataStore
from mimir_rw.config.limits import TenantLimits
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.kit.metrics import Counter
from mimir_rw.kit.moving_rate import MovingRate
from mimir_rw.rpc.contracts.ingester import U32Column
from mimir_rw.tsdb.cutter import Cutter
from mimir_rw.tsdb.head import TenantHead
from mimir_rw.tsdb.local_blocks import LocalBlocks


class BlockShipper(Protocol):
    """Uploads the blocks of one tenant; see bucket/shipper.py. One call at a time."""

    async def ship(self) -> int:
        """Upload what is not uploaded yet; how many blocks. Raises MimirError or OSError: the next call goes on."""
        ...

    async def shipped(self) -> Mapping[str, int]:
        """When each block that is in the bucket was uploaded, ms, by ULID."""
        ...


class Tenant:
    __slots__ = (
        "blocks",
        "cutter",
        "head",
        "idle_jitter",
        "last_append_s",
        "metadata",
        "owned_ranges",
        "rate",
        "samples",
        "samples_failed",
        "shares",
        "shipped",
        "shipper",
        "shipping",
    )

    def __init__(
        self,
        *,
        head: TenantHead,
        blocks: LocalBlocks,
        cutter: Cutter,
        shipper: BlockShipper | None,
        shares: ShareHistory,
        samples: Counter,
        samples_failed: Counter,
        idle_jitter: float,
        now_s: float,
    ) -> None:
        """shipper None: blocks stay here. idle_jitter: 0 to 1."""
        self.head = head
        self.blocks = blocks
        self.cutter = cutter
        self.shipper = shipper
        self.shipping = asyncio.Lock()
        self.shipped: frozenset[str] = frozenset()
        """Blocks that were in the bucket when that was last looked at."""
        self.shares = shares
        self.owned_ranges: U32Column | None = None
        """Ring tokens of the series that count against the tenant's limits here, as the head was told; None: all."""
        self.metadata = MetadataStore()
        self.rate = MovingRate()
        self.samples = samples
        self.samples_failed = samples_failed
        self.idle_jitter = idle_jitter
        self.last_append_s = now_s
        """Monotonic."""

    def local_limits(self, limits: TenantLimits, now_s: float) -> TenantLimits:
        """The tenant's limits with those over the whole cluster brought down to this ingester's part."""
        return localised(limits, self.shares.in_force(now_s))

    @property
    def unshipped(self) -> list[BlockMeta]:
        """Local blocks that may be only here."""
        return [block.meta for block in self.blocks.blocks if block.ulid not in self.shipped]

    @property
    def holds_something_alone(self) -> bool:
        """Whether there may be a sample here that is not in the bucket. A head that is not open may have any."""
        return not self.head.is_open or self.oldest_only_here_ms is not None

    @property
    def oldest_only_here_ms(self) -> int | None:
        """Oldest time of which this process, and no block in the bucket, may have a sample; None: there is none."""
        times = [meta.min_time for meta in self.unshipped]
        if (oldest := self.head.extent[1]) is not None:
            times.append(oldest)
        return min(times, default=None)
