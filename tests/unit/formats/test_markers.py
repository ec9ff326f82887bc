import pytest

from mimir_rw.formats.markers import REASON_MANUAL, DeletionMark, NoCompactMark, TenantDeletionMark
from mimir_rw.model.errors import DataDamaged

ULID = "01EJ0000000000000000000001"


@pytest.mark.parametrize(
    ("mark", "data"),
    [
        (DeletionMark(ULID, 1600020000), b'{"id":"%s","version":1,"deletion_time":1600020000}' % ULID.encode()),
        (
            DeletionMark(ULID, 1600020000, "why"),
            b'{"id":"%s","version":1,"deletion_time":1600020000,"details":"why"}' % ULID.encode(),
        ),
        (
            NoCompactMark(ULID, 1600020000, REASON_MANUAL),
            b'{"id":"%s","version":1,"no_compact_time":1600020000,"reason":"manual"}' % ULID.encode(),
        ),
        (TenantDeletionMark(1600020000), b'{"deletion_time":1600020000}'),
        (TenantDeletionMark(1600020000, 1600020001), b'{"deletion_time":1600020000,"finished_time":1600020001}'),
    ],
)
def test_golden(mark, data):
    assert mark.encode() == data
    assert type(mark).decode(data) == mark


@pytest.mark.parametrize("kind", [DeletionMark, NoCompactMark])
@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b'{"id":"x","version":1}', b'{"id":"%s","version":2}' % ULID.encode(),
        b'{"id":"%s","version":1,"details":5}' % ULID.encode(), b'{"id":"%s"}' % ULID.encode(),
    ],
)  # fmt: skip
def test_damaged(kind, data):
    with pytest.raises(DataDamaged):
        kind.decode(data)


def test_damaged_tenant_mark():
    with pytest.raises(DataDamaged):
        TenantDeletionMark.decode(b'{"deletion_time":"x"}')
