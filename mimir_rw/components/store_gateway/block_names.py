"""Labels, names and values of one block. Without matchers names and values are those of the whole block, whatever the
range; with them they are those of the series found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import numpy as np

from mimir_rw._native import LabelFrame
from mimir_rw.components.store_gateway.block_reader import BlockReader
from mimir_rw.components.store_gateway.headers import Block, HeaderStore
from mimir_rw.kit.offload import Offload, OffloadFull
from mimir_rw.model.errors import Overloaded
from mimir_rw.model.labels import Matcher
from mimir_rw.storage.fetch_limits import FetchLimits

T = TypeVar("T")


async def block_labels(
    reader: BlockReader,
    block: Block,
    matcher_sets: Sequence[Sequence[Matcher]],
    mint: int,
    maxt: int,
    *,
    batch: int,
    limits: FetchLimits,
    offload: Offload,
) -> LabelFrame:
    """The union of the label sets that match any of the sets, sorted. Raises LimitExceeded."""
    frames: list[LabelFrame] = []
    for matchers in matcher_sets:
        held = 0
        async for labels in _frames(reader, block, matchers, mint, maxt, batch=batch):
            frames.append(labels)
            held += len(labels)
            limits.check(held, 0, sum(frame.nbytes for frame in frames))
    if len(frames) == 1:
        return frames[0]
    return await _run(offload, LabelFrame.union_sorted, frames) if frames else LabelFrame.empty_rows(0)


async def block_names(
    reader: BlockReader,
    headers: HeaderStore,
    block: Block,
    matchers: Sequence[Matcher],
    mint: int,
    maxt: int,
    *,
    batch: int,
    offload: Offload,
) -> set[str]:
    if not matchers:
        header = await headers.open(block)
        return set(await _run(offload, header.native.label_names))
    names: set[str] = set()
    async for labels in _frames(reader, block, matchers, mint, maxt, batch=batch):
        names.update(labels.names)
    return names


async def block_values(
    reader: BlockReader,
    headers: HeaderStore,
    block: Block,
    name: str,
    matchers: Sequence[Matcher],
    mint: int,
    maxt: int,
    *,
    batch: int,
    offload: Offload,
) -> set[str]:
    if not matchers:
        header = await headers.open(block)
        return set(await _run(offload, header.native.label_values, name))
    values: set[str] = set()
    async for labels in _frames(reader, block, matchers, mint, maxt, batch=batch):
        values.update(_used(labels, name))
    return values


async def _frames(
    reader: BlockReader, block: Block, matchers: Sequence[Matcher], mint: int, maxt: int, *, batch: int
) -> AsyncIterator[LabelFrame]:
    """In label order, none of them empty."""
    matched = await reader.matched(block, matchers)
    if matched is None:
        return
    for start in range(0, len(matched.ids), batch):
        series = await reader.series(block, matched, matched.ids[start : start + batch], mint, maxt)
        if len(series.labels):
            yield series.labels


def _used(labels: LabelFrame, name: str) -> list[str]:
    dictionary = labels.dictionary(name)
    return [dictionary[code] for code in np.unique(labels.codes(name)).tolist() if code >= 0]


async def _run(offload: Offload, fn: Callable[..., T], *args: object) -> T:
    try:
        return await offload.run(fn, *args)
    except OffloadFull as error:
        raise Overloaded(str(error)) from error
