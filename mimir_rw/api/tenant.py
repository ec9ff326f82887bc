"""Which tenant a request is for: the X-Scope-OrgID header."""

from __future__ import annotations

from mimir_rw.api.exchange import Scope, find_header
from mimir_rw.model.errors import BadRequest, Unauthenticated
from mimir_rw.model.tenant import validate_tenant

_HEADER = b"x-scope-orgid"


class TenantResolver:
    """Reads and checks the tenant of a request."""

    __slots__ = ("_multitenancy", "_single")

    def __init__(self, *, multitenancy: bool, no_auth_tenant: str) -> None:
        """no_auth_tenant: whose data all requests are about when multitenancy is off, whatever their header says."""
        self._multitenancy = multitenancy
        self._single = no_auth_tenant

    def resolve(self, scope: Scope) -> str:
        """Raises Unauthenticated without a tenant, BadRequest for one that is not valid or for several."""
        if not self._multitenancy:
            return self._single
        value = find_header(scope, _HEADER)
        if not value:
            raise Unauthenticated("no org id")
        tenant = value.decode("latin-1")
        if "|" in tenant:
            raise BadRequest(f"tenant ID {tenant!r}: requests across several tenants are not available yet")
        return validate_tenant(tenant)
