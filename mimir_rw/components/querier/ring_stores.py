"""The store-gateways of a tenant as if they were one, which has every block or fails.

Each block is asked of one of its replicas: of the querier's own zone if that is preferred, else of the one that a hash
of block and instance names, so that the caches of gateways hold different blocks. What is not answered is asked of
another replica, in a bounded number of rounds; what is missing then fails the query. On the event loop only.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mimir_rw._native import DecodeError, LabelFrame, decode_series_set
from mimir_rw.components.querier.block_rounds import BlockRounds
from mimir_rw.components.querier.charges import BlockCharges
from mimir_rw.config.limits import Limits
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.tasks import together
from mimir_rw.model.errors import Internal, MimirError, Unavailable
from mimir_rw.model.labels import Matcher
from mimir_rw.ring.desc import InstanceDesc
from mimir_rw.ring.hashes import block_token
from mimir_rw.ring.operations import BLOCKS_READ
from mimir_rw.ring.view import RingView
from mimir_rw.rpc.contracts.store_gateway import BlockPart, StoreReads
from mimir_rw.rpc.stubs.fields import closing
from mimir_rw.storage.contract import SeriesSet

ROUNDS_MAX = 3
_REFETCHES = (0.0, 1.0, 2.0, 3.0)

T = TypeVar("T")
Ask = Callable[[StoreReads, Sequence[str]], Awaitable[tuple[T, Sequence[str]]]]
"""Asks one gateway for blocks: what it has, and which of the blocks that is."""


@dataclass(frozen=True, slots=True)
class StoreReadSettings:
    zone: str
    """Asked first; "": none is."""


class RingStores:
    def __init__(
        self,
        *,
        view: Callable[[], RingView],
        client: Callable[[InstanceDesc], StoreReads],
        settings: StoreReadSettings,
        limits: Limits,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._view = view
        self._client = client
        self._settings = settings
        self._limits = limits
        self._offload = offload
        self._clock = clock
        self._log = get_logger(component="querier")
        self._checks = metrics.counter(
            "cortex_querier_blocks_consistency_checks_total", "Looks whether all blocks of a query were answered."
        )
        self._failed = metrics.counter(
            "cortex_querier_blocks_consistency_checks_failed_total", "Those that found that not all were."
        )
        self._refetches = metrics.histogram(
            "cortex_querier_storegateway_refetches_per_query",
            "Rounds of asking store-gateways again, by query.",
            _REFETCHES,
        )
        self._instances = metrics.histogram(
            "cortex_querier_storegateway_instances_hit_per_query",
            "Store-gateways that were asked, by query.",
            (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        )

    async def select(
        self,
        tenant: str,
        blocks: Sequence[str],
        matchers: Sequence[Matcher],
        mint: int,
        maxt: int,
        charges: BlockCharges | None,
    ) -> list[SeriesSet]:
        """A set for each block that has any series."""
        found: dict[str, list[bytes | memoryview]] = {}
        reasons: dict[str, str] = {}

        async def ask(gateway: StoreReads, wanted: Sequence[str]) -> tuple[None, Sequence[str]]:
            parts: dict[str, list[bytes | memoryview]] = {block: [] for block in wanted}
            served = []
            async with contextlib.aclosing(closing(gateway.select(tenant, wanted, matchers, mint, maxt))) as items:
                async for item in items:
                    if item.block not in parts:
                        raise Internal(f"a store-gateway answered for block {item.block}, which it was not asked for")
                    if isinstance(item, BlockPart):
                        if charges is not None:
                            charges.add(item.block, item.series, len(item.data))
                        parts[item.block].append(item.data)
                    elif item.served:
                        served.append(item.block)
                        found[item.block] = parts[item.block]
                    else:
                        reasons[item.block] = item.reason
            return None, served

        await self._rounds(tenant, blocks, ask, reasons)
        filled = [parts for block in blocks if (parts := found[block])]
        return [await self._decoded(parts) for parts in filled]

    async def series(
        self, tenant: str, blocks: Sequence[str], matcher_sets: Sequence[Sequence[Matcher]], mint: int, maxt: int
    ) -> list[LabelFrame]:
        async def ask(gateway: StoreReads, wanted: Sequence[str]) -> tuple[LabelFrame, Sequence[str]]:
            found = await gateway.series(tenant, wanted, matcher_sets, mint, maxt)
            return found.labels, found.blocks

        return await self._rounds(tenant, blocks, ask, {})

    async def label_names(
        self, tenant: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> list[list[str]]:
        async def ask(gateway: StoreReads, wanted: Sequence[str]) -> tuple[list[str], Sequence[str]]:
            found = await gateway.label_names(tenant, wanted, matchers, mint, maxt)
            return found.names, found.blocks

        return await self._rounds(tenant, blocks, ask, {})

    async def label_values(
        self, tenant: str, name: str, blocks: Sequence[str], matchers: Sequence[Matcher], mint: int, maxt: int
    ) -> list[list[str]]:
        async def ask(gateway: StoreReads, wanted: Sequence[str]) -> tuple[list[str], Sequence[str]]:
            found = await gateway.label_values(tenant, name, wanted, matchers, mint, maxt)
            return found.names, found.blocks

        return await self._rounds(tenant, blocks, ask, {})

    async def _rounds(self, tenant: str, blocks: Sequence[str], ask: Ask[T], reasons: Mapping[str, str]) -> list[T]:
        """All that was answered. reasons: why gateways refused blocks, as far as it is known. Raises Unavailable when a
        block was not, and what is the client's fault."""
        instances, replicas = self._replicas(tenant, blocks)
        factor = self._view().settings.replication_factor
        rounds = BlockRounds(replicas, rounds_max=min(max(2, factor), ROUNDS_MAX))
        answers: list[T] = []
        hit: set[str] = set()
        self._checks.inc()
        try:
            while not rounds.done:
                asked = rounds.next()
                hit.update(asked)
                came = await together(self._ask(instances[id], wanted, ask) for id, wanted in asked.items())
                for wanted, (answer, served, reason) in zip(asked.values(), came, strict=True):
                    answers += answer
                    for block in served:
                        rounds.answered(block)
                    for block in set(wanted) - set(served):
                        rounds.refused(block, reasons.get(block, reason))
        except Unavailable:
            self._failed.inc()
            raise
        finally:
            self._refetches.observe(max(0, rounds.rounds - 1))
            self._instances.observe(len(hit))
        return answers

    async def _ask(
        self, instance: InstanceDesc, wanted: Sequence[str], ask: Ask[T]
    ) -> tuple[list[T], Sequence[str], str]:
        """What came, which blocks that is, and why it is not the others. Raises what is the client's fault."""
        try:
            answer, served = await ask(self._client(instance), wanted)
        except MimirError as error:
            if error.client_fault:
                raise
            self._log.info("store-gateway does not answer", instance=instance.id, addr=instance.addr, err=str(error))
            return [], (), f"{instance.id}: {error}"
        except Exception as error:
            self._log.exception("question to a store-gateway failed unexpectedly", instance=instance.id)
            return [], (), f"{instance.id}: {type(error).__name__}"
        return [answer], served, f"{instance.id} does not have it"

    def _replicas(
        self, tenant: str, blocks: Sequence[str]
    ) -> tuple[Mapping[str, InstanceDesc], Mapping[str, Sequence[str]]]:
        """Instances by id, and by block the ids to ask, in order. Raises Unavailable when nobody is there."""
        now_s = self._clock.now_ms() // 1000
        shard = self._view().shuffle_shard(tenant, self._limits.for_tenant(tenant).store_gateway_tenant_shard_size)
        tokens = np.array([block_token(block) for block in blocks], dtype=np.uint32)
        placement = shard.replication_sets(tokens, BLOCKS_READ, now_s=now_s)
        sets = {number: placement.columns.replication_set(number) for number in set(placement.set_of_row.tolist())}
        instances = {instance.id: instance for each in sets.values() for instance in each.instances}
        replicas = {
            block: self._ordered(block, [instances[id] for id in sets[number].ids])
            for block, number in zip(blocks, placement.set_of_row.tolist(), strict=True)
        }
        return instances, replicas

    def _ordered(self, block: str, instances: Sequence[InstanceDesc]) -> list[str]:
        zone = self._settings.zone
        ordered = sorted(instances, key=lambda each: (bool(zone) and each.zone != zone, _weight(block, each.id)))
        return [each.id for each in ordered]

    async def _decoded(self, parts: Sequence[bytes | memoryview]) -> SeriesSet:
        try:
            return await self._offload.run(decode_series_set, parts)
        except DecodeError as error:
            raise Internal(f"a store-gateway sent an answer that does not decode: {error}") from error


def _weight(block: str, instance: str) -> bytes:
    """FNV would not do: names of instances often differ in their last character only."""
    return hashlib.blake2b(f"{block}/{instance}".encode(), digest_size=8).digest()
