"""Remote write 2.0 messages built by hand (remote-write.md section 3), and native histograms for both versions."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mimir_rw.testing.remote_write import compress, field, uvarint

CUSTOM_BUCKETS = -53


def varint_field(number: int, n: int) -> bytes:
    return uvarint(number << 3) + uvarint(n)


def zigzag(n: int) -> int:
    return n << 1 ^ n >> 63


def double(number: int, value: float) -> bytes:
    return uvarint(number << 3 | 1) + struct.pack("<d", value)


def sample(ms: int, value: float, start_ms: int = 0) -> bytes:
    start = varint_field(3, start_ms) if start_ms else b""
    return field(2, double(1, value) + varint_field(2, ms) + start)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Sides are (spans as (offset, length), absolute counts). count: None for what the buckets add up to."""

    positive: tuple[Sequence[tuple[int, int]], Sequence[float]] = ((), ())
    negative: tuple[Sequence[tuple[int, int]], Sequence[float]] = ((), ())
    schema: int = 0
    sum: float = 0.0
    count: float | None = None
    zero_count: float = 0
    zero_threshold: float = 0.0
    custom: Sequence[float] = ()
    hint: int = 0
    floats: bool = False

    def message(self, ms: int, start_ms: int = 0) -> bytes:
        """Fields of the `Histogram` message, the same in both versions but for its start time."""
        buckets = self.zero_count + sum(self.positive[1]) + sum(self.negative[1])
        count = buckets if self.count is None else self.count
        if self.floats:
            numbers = double(2, count) + double(7, self.zero_count)
        else:
            numbers = varint_field(1, int(count)) + varint_field(6, int(self.zero_count))
        parts = [numbers, double(3, self.sum), varint_field(4, zigzag(self.schema)), double(5, self.zero_threshold)]
        parts += [self._side(8, self.negative), self._side(11, self.positive)]
        parts += [varint_field(14, self.hint), varint_field(15, ms)]
        if self.custom:
            parts.append(field(16, struct.pack(f"<{len(self.custom)}d", *self.custom)))
        if start_ms:
            parts.append(varint_field(17, start_ms))
        return b"".join(parts)

    def _side(self, number: int, side: tuple[Sequence[tuple[int, int]], Sequence[float]]) -> bytes:
        spans, counts = side
        out = b"".join(field(number, varint_field(1, zigzag(offset)) + varint_field(2, n)) for offset, n in spans)
        if self.floats:
            return out + field(number + 2, struct.pack(f"<{len(counts)}d", *counts))
        deltas = [int(count - before) for count, before in zip(counts, [0, *counts], strict=False)]
        return out + field(number + 1, b"".join(uvarint(zigzag(delta)) for delta in deltas))


class Request:
    """A request in the making; every text is a symbol once."""

    def __init__(self) -> None:
        self._symbols: dict[str, int] = {"": 0}
        self._series: list[bytes] = []

    def symbol(self, text: str) -> int:
        return self._symbols.setdefault(text, len(self._symbols))

    def refs(self, labels: Mapping[str, str]) -> bytes:
        """The references field of a label set, sorted by name."""
        texts = (text for pair in sorted(labels.items()) for text in pair)
        return field(1, b"".join(uvarint(self.symbol(text)) for text in texts))

    def exemplar(self, labels: Mapping[str, str], ms: int, value: float) -> bytes:
        return field(4, self.refs(labels) + double(2, value) + varint_field(3, ms))

    def metadata(self, kind: int, help: str = "", unit: str = "") -> bytes:
        refs = varint_field(3, self.symbol(help)) + varint_field(4, self.symbol(unit))
        return field(5, varint_field(1, kind) + refs)

    def series(self, labels: Mapping[str, str], *fields: bytes) -> None:
        """fields: of `sample`, `exemplar`, `metadata`, and `field(3, Histogram(…).message(…))`."""
        self.raw(self.refs(labels) + b"".join(fields))

    def raw(self, message: bytes) -> None:
        self._series.append(field(5, message))

    def message(self) -> bytes:
        return b"".join(field(4, text.encode()) for text in self._symbols) + b"".join(self._series)

    def body(self) -> bytes:
        return compress(self.message())


def histogram(ms: int, of: Histogram, start_ms: int = 0) -> bytes:
    """A histogram field of a 2.0 series."""
    return field(3, of.message(ms, start_ms))


def histogram_v1(ms: int, of: Histogram) -> bytes:
    """A histogram field of a 1.0 series."""
    return field(4, of.message(ms))


def exemplar_v1(labels: Mapping[str, str], ms: int, value: float) -> bytes:
    """An exemplar field of a 1.0 series."""
    pairs = b"".join(
        field(1, field(1, name.encode()) + field(2, text.encode())) for name, text in sorted(labels.items())
    )
    return field(3, pairs + double(2, value) + varint_field(3, ms))
