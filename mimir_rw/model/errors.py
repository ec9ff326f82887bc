"""The error family of the system.

Each kind says whose fault it is: quorum counting needs to know. `error_id` is the entry of Mimir's public catalogue
without its `err-mimir-` prefix, or None. Errors cross `rpc/` by kind and id and become HTTP only in `api/errors.py`.
"""

from __future__ import annotations

from typing import ClassVar


class MimirError(Exception):
    """Base of all errors that a caller is meant to see. `str(error)` is the text for the user."""

    client_fault: ClassVar[bool] = False

    def __init__(self, message: str, *, error_id: str | None = None) -> None:
        super().__init__(message if error_id is None else f"{message} (err-mimir-{error_id})")
        self.error_id = error_id


class BadRequest(MimirError):
    """The request itself is wrong: malformed, invalid or over a static bound."""

    client_fault = True


class TooLarge(BadRequest):
    """A body or an answer is over its size bound (HTTP 413)."""


class UnsupportedMedia(BadRequest):
    """A body of a kind or compression that nothing here reads (HTTP 415)."""


class Unauthenticated(BadRequest):
    """No tenant in a request that needs one (HTTP 401)."""


class NotFound(MimirError):
    client_fault = True


class LimitExceeded(MimirError):
    """A limit of the tenant stops this query or write; repeating it will not help."""

    client_fault = True


class RateLimited(MimirError):
    """Too much in too short a time; the same request may pass later."""

    client_fault = True


class Conflict(MimirError):
    client_fault = True


class Unavailable(MimirError):
    """Not ready, shutting down, disk full, or too few peers: the same request may pass later or elsewhere."""


class Overloaded(MimirError):
    """A limit of this process, not of the tenant (HTTP 500, as in Mimir): the same request may pass later."""


class QueryFailed(MimirError):
    """The query is well-formed but its evaluation fails (Prometheus' `execution`, HTTP 422)."""

    client_fault = True


class QueryTimeout(MimirError):
    """It took longer than it may."""


class Cancelled(MimirError):
    """The client went away."""


class DataDamaged(MimirError):
    """Bytes at rest do not decode."""


class Internal(MimirError):
    """A broken invariant."""
