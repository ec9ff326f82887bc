"""Where things are in the bucket of the blocks: Mimir's names. Keys are relative to the bucket, the tenant first."""

from __future__ import annotations

from mimir_rw.formats.ulid import ULID_CHARS, is_ulid

META = "meta.json"
INDEX = "index"
CHUNKS = "chunks/"
DELETION_MARK = "deletion-mark.json"
NO_COMPACT_MARK = "no-compact-mark.json"
MARKS = (DELETION_MARK, NO_COMPACT_MARK)
TENANT_MARK = "tenant-deletion-mark.json"
BUCKET_INDEX = "bucket-index.json.gz"

NOT_TENANTS = frozenset(("__mimir_cluster", "__markers__"))
"""Directories of the bucket that are none of a tenant's (Mimir's, Cortex')."""
OWN = "__mimir_rw_"
"""How directories of our own begin that are none of a tenant's."""


def block_dir(tenant: str, ulid: str) -> str:
    return f"{tenant}/{ulid}/"


def block_key(tenant: str, ulid: str, name: str) -> str:
    return f"{tenant}/{ulid}/{name}"


def meta_key(tenant: str, ulid: str) -> str:
    return block_key(tenant, ulid, META)


def markers_dir(tenant: str) -> str:
    """Copies of all marks of the tenant's blocks, so that one list finds them, and the tenant's own mark."""
    return f"{tenant}/markers/"


def marker_key(tenant: str, ulid: str, mark: str) -> str:
    """The copy of a block's mark."""
    return f"{tenant}/markers/{ulid}-{mark}"


def tenant_mark_key(tenant: str) -> str:
    return f"{tenant}/markers/{TENANT_MARK}"


def bucket_index_key(tenant: str) -> str:
    return f"{tenant}/{BUCKET_INDEX}"


def debug_metas_dir(tenant: str) -> str:
    """Copies of meta.json that old uploaders left."""
    return f"{tenant}/debug/metas/"


def marked_block(key: str, mark: str) -> str | None:
    """The block whose mark's copy has this key, None if it is no such copy."""
    name = key.rpartition("/")[2]
    ulid = name[:ULID_CHARS]
    return ulid if name[ULID_CHARS:] == f"-{mark}" and is_ulid(ulid) else None
