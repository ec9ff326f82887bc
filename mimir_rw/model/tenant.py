"""Tenant ids and their validity (mimir-atlas.md 1.0)."""

from __future__ import annotations

import re

from mimir_rw.model.errors import BadRequest

TENANT_BYTES_MAX = 150
_VALID = re.compile(r"[A-Za-z0-9!\-_.*'()]+")


def validate_tenant(tenant: str) -> str:
    """Return `tenant` if it is a valid id, else raise BadRequest. Valid ids are safe as one path segment."""
    if len(tenant.encode("utf-8", "surrogatepass")) > TENANT_BYTES_MAX:
        raise BadRequest(f"tenant ID is too long: max {TENANT_BYTES_MAX} characters")
    if tenant in (".", ".."):
        raise BadRequest("tenant ID is '.' or '..'")
    if not _VALID.fullmatch(tenant):
        bad = next((c for c in tenant if not _VALID.fullmatch(c)), "")
        detail = f"unsupported character {bad!r}" if bad else "it is empty"
        raise BadRequest(f"tenant ID {tenant!r} is not valid: {detail}")
    return tenant
