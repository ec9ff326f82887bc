"""Errors become HTTP here and nowhere else.

Three styles: the write path answers in plain text with Retry-After where a retry helps, the query API in Prometheus'
JSON envelope, pages and operations in plain text.
"""

from __future__ import annotations

import enum
import re

import msgspec

from mimir_rw.api.exchange import JSON_TYPE, TEXT_TYPE, Answer, Headers
from mimir_rw.model.errors import (
    BadRequest,
    Cancelled,
    Conflict,
    DataDamaged,
    Internal,
    LimitExceeded,
    MimirError,
    NotFound,
    QueryFailed,
    QueryTimeout,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)
from mimir_rw.wire.prometheus_json import escape_html

CLIENT_CLOSED = 499
_SURROGATE = re.compile("[\ud800-\udfff]")


class ErrorStyle(enum.Enum):
    TEXT = "text"
    PUSH = "push"
    QUERY = "query"


# The first class that an error is an instance of decides.
_QUERY_STATUS: tuple[tuple[type[MimirError], int, str], ...] = (
    (TooLarge, 413, "too_large_entry"),
    (BadRequest, 400, "bad_data"),
    (NotFound, 404, "not_found"),
    (LimitExceeded, 422, "execution"),
    (QueryFailed, 422, "execution"),
    (RateLimited, 429, "too_many_requests"),
    (Conflict, 409, "execution"),
    (QueryTimeout, 503, "timeout"),
    (Cancelled, CLIENT_CLOSED, "canceled"),
    (Unavailable, 503, "unavailable"),
    (DataDamaged, 500, "internal"),
    (Internal, 500, "internal"),
)
_TEXT_STATUS: tuple[tuple[type[MimirError], int], ...] = (
    (Unauthenticated, 401),
    (TooLarge, 413),
    (UnsupportedMedia, 415),
    (BadRequest, 400),
    (NotFound, 404),
    (LimitExceeded, 422),
    (QueryFailed, 422),
    (RateLimited, 429),
    (Conflict, 409),
    (Cancelled, CLIENT_CLOSED),
    (QueryTimeout, 503),
    (Unavailable, 503),
)


def error_answer(error: MimirError, style: ErrorStyle) -> Answer:
    """The response for an error outside of the write path's retry rules."""
    if style is ErrorStyle.QUERY and not isinstance(error, Unauthenticated):
        status, kind = next(((s, k) for cls, s, k in _QUERY_STATUS if isinstance(error, cls)), (500, "internal"))
        return Answer(status, error_envelope(kind, str(error)), JSON_TYPE)
    return text_answer(text_status(error), str(error))


def text_status(error: MimirError) -> int:
    return next((status for cls, status in _TEXT_STATUS if isinstance(error, cls)), 500)


def text_answer(status: int, message: str, headers: Headers = ()) -> Answer:
    return Answer(status, (message + "\n").encode("utf-8", "replace"), TEXT_TYPE, headers)


def error_envelope(kind: str, message: str) -> bytes:
    return escape_html(msgspec.json.encode({"status": "error", "errorType": kind, "error": _clean(message)}))


def _clean(message: str) -> str:
    """Text that UTF-8 can carry."""
    return _SURROGATE.sub("\ufffd", message)
