"""Messages of `ingester.push`. Pure.

A push is a list of (tenant, bytes) and the parts' bytes one after another, each a `WriteBatch.encode`; its answer a
list of outcomes, and their row numbers as u32.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import msgspec
import numpy as np

from mimir_rw._native import DecodeError, decode_batch
from mimir_rw.model.errors import Internal, MimirError
from mimir_rw.model.tenant import validate_tenant
from mimir_rw.rpc.codec import ErrorHeader
from mimir_rw.rpc.contracts.ingester import NO_ROWS, EncodedPart, PushPart, PushResult, Rejection, U32Column
from mimir_rw.rpc.errors import error_from_header, error_header
from mimir_rw.rpc.stubs.fields import Fields, read_fields
from mimir_rw.rpc.transport import Message


class _Parts(Fields, frozen=True):
    parts: list[tuple[str, int]]


class _Rejected(msgspec.Struct, array_like=True, frozen=True):
    error_id: str
    count: int
    first: str
    rows: int


class _Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """unresolved and the rejections' rows are counts: the numbers themselves travel as payload, in this order."""

    stored: int = 0
    unresolved: int = 0
    rejections: tuple[_Rejected, ...] = ()
    exemplars_refused: int = 0
    error: ErrorHeader | None = None


class _Outcomes(Fields, frozen=True):
    outcomes: list[_Outcome]


def push_message(parts: Sequence[EncodedPart]) -> Message:
    """The bytes of a single part are not copied."""
    header = _Parts([(part.tenant, len(part.payload)) for part in parts]).as_header()
    return Message(header, parts[0].payload if len(parts) == 1 else b"".join([part.payload for part in parts]))


def split_push(message: Message) -> tuple[list[str], list[memoryview]]:
    """Tenants and bytes of the parts. Raises Internal."""
    parts = read_fields(message.header, _Parts).parts
    ends = [*accumulate((size for _, size in parts), initial=0)]
    view = memoryview(message.payload)
    if any(size < 0 for _, size in parts) or ends[-1] != len(view):
        raise Internal("the parts of a push do not add up to its bytes")
    return [tenant for tenant, _ in parts], [view[a:b] for a, b in pairwise(ends)]


def decode_part(tenant: str, data: memoryview, key: bytes) -> PushPart | MimirError:
    """key: what the receiver hashes series with."""
    try:
        return PushPart(validate_tenant(tenant), decode_batch(data, tenant=tenant, key=key))
    except MimirError as error:
        return error
    except DecodeError as error:
        return Internal(f"a part of a push does not decode: {error}")


def push_answer(results: Sequence[PushResult | MimirError]) -> Message:
    outcomes: list[_Outcome] = []
    rows: list[bytes] = []
    for result in results:
        if isinstance(result, MimirError):
            outcomes.append(_Outcome(error=error_header(result)))
            continue
        rejected = tuple(_Rejected(r.error_id, r.count, r.first, len(r.rows)) for r in result.rejections)
        refused = result.exemplars_refused
        outcomes.append(_Outcome(result.samples_stored, len(result.unresolved), rejected, refused))
        if len(result.unresolved) or rejected:
            columns = (result.unresolved, *(r.rows for r in result.rejections))
            rows.extend(column.astype("<u4", copy=False).tobytes() for column in columns)
    return Message(_Outcomes(outcomes).as_header(), b"".join(rows))


def push_results(answer: Message, count: int) -> list[PushResult | MimirError]:
    """Of a push of so many parts. Raises Internal."""
    outcomes = read_fields(answer.header, _Outcomes).outcomes
    columns = _Columns(answer.payload)
    results = [_push_result(outcome, columns) for outcome in outcomes]
    if len(results) != count or columns.left:
        raise Internal("the answer to a push does not fit it")
    return results


def _push_result(outcome: _Outcome, columns: _Columns) -> PushResult | MimirError:
    if outcome.error is not None:
        return error_from_header(outcome.error)
    unresolved = columns.take(outcome.unresolved)
    rejections = tuple(Rejection(r.error_id, r.count, r.first, columns.take(r.rows)) for r in outcome.rejections)
    return PushResult(outcome.stored, rejections, unresolved, outcome.exemplars_refused)


class _Columns:
    """Row numbers, to be taken one column after another."""

    __slots__ = ("_rows", "_taken")

    def __init__(self, payload: bytes | memoryview) -> None:
        if len(payload) % 4:
            raise Internal("the answer to a push does not fit it")
        self._rows: U32Column = np.frombuffer(payload, dtype="<u4") if payload else NO_ROWS
        self._taken = 0

    @property
    def left(self) -> int:
        return len(self._rows) - self._taken

    def take(self, count: int) -> U32Column:
        if not 0 <= count <= self.left:
            raise Internal("the answer to a push does not fit it")
        start = self._taken
        self._taken += count
        return self._rows[start : self._taken]
