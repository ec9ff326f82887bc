"""Errors across processes: the kinds of `model/errors.py` as text, and back.

A kind that this version does not know becomes Internal. The text travels as the user sees it, once with its id.
"""

from __future__ import annotations

from mimir_rw.model.errors import (
    BadRequest,
    Cancelled,
    Conflict,
    DataDamaged,
    Internal,
    LimitExceeded,
    MimirError,
    NotFound,
    Overloaded,
    QueryFailed,
    QueryTimeout,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)
from mimir_rw.rpc.codec import ErrorHeader

_KINDS: dict[str, type[MimirError]] = {
    "bad-request": BadRequest,
    "too-large": TooLarge,
    "unsupported-media": UnsupportedMedia,
    "unauthenticated": Unauthenticated,
    "not-found": NotFound,
    "limit-exceeded": LimitExceeded,
    "rate-limited": RateLimited,
    "conflict": Conflict,
    "unavailable": Unavailable,
    "overloaded": Overloaded,
    "query-failed": QueryFailed,
    "query-timeout": QueryTimeout,
    "cancelled": Cancelled,
    "data-damaged": DataDamaged,
    "internal": Internal,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
TEXT_CHARS_MAX = 64 << 10
"""A longer text is cut: it has to fit into a frame's header."""


def error_kind(error: MimirError) -> str:
    """The name of the error's class, or of the nearest one above it that has a name."""
    return next((_NAMES[c] for c in type(error).__mro__ if c in _NAMES), "internal")


def error_header(error: MimirError) -> ErrorHeader:
    return ErrorHeader(kind=error_kind(error), text=str(error)[:TEXT_CHARS_MAX], id=error.error_id or "")


def error_from_header(header: ErrorHeader) -> MimirError:
    """An error with the same class, text and id."""
    kind = _KINDS.get(header.kind, Internal)
    if not header.id:
        return kind(header.text)
    text = header.text.removesuffix(f" (err-mimir-{header.id})")
    if text != header.text:
        return kind(text, error_id=header.id)
    error = kind(header.text)
    error.error_id = header.id
    return error
