"""The tenants of the bucket, and the mark that all of one's blocks are to go."""

from __future__ import annotations

from mimir_rw.bucket.layout import NOT_TENANTS, OWN, tenant_mark_key
from mimir_rw.formats.markers import MARK_BYTES_MAX, TenantDeletionMark
from mimir_rw.model.errors import BadRequest
from mimir_rw.model.tenant import validate_tenant
from mimir_rw.objstore.contract import Bucket, ObjectNotFound


async def list_tenants(bucket: Bucket) -> list[str]:
    """All that have anything in the bucket, ascending; directories that are no tenant's are left out."""
    return [name for name in await bucket.list_dirs() if _is_tenant(name)]


async def read_tenant_mark(bucket: Bucket, tenant: str) -> TenantDeletionMark | None:
    """Raises DataDamaged."""
    key = tenant_mark_key(tenant)
    try:
        return TenantDeletionMark.decode(await bucket.get(key, bytes_max=MARK_BYTES_MAX), key)
    except ObjectNotFound:
        return None


async def mark_tenant_deleted(bucket: Bucket, tenant: str, *, now_ms: int) -> None:
    """Ask for all of a tenant's blocks to be deleted. A mark that is there keeps its time."""
    if await read_tenant_mark(bucket, tenant) is None:
        await bucket.upload(tenant_mark_key(tenant), TenantDeletionMark(now_ms // 1000).encode())


def _is_tenant(name: str) -> bool:
    if name in NOT_TENANTS or name.startswith(OWN):
        return False
    try:
        validate_tenant(name)
    except BadRequest:
        return False
    return True
