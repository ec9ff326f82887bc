from mimir_rw.components.querier.hand_over import BEHIND_MAX, RecordConfirmer
from mimir_rw.formats.bucket_index import BucketIndex
from mimir_rw.kv.hand_over import HandOver, HandOvers, Phase
from mimir_rw.model.errors import Unavailable
from mimir_rw.model.stored_range import StoredRange
from mimir_rw.rpc.contracts.hand_over import RecordKnown


class Indexes:
    def __init__(self, **versions: int) -> None:
        self.versions = versions

        self.in_bucket = dict(versions)
        self.read: list[str] = []

    def loaded(self) -> dict[str, BucketIndex]:
        return {tenant: BucketIndex(updated_at_s=version) for tenant, version in self.versions.items()}

    async def at_least(self, tenant: str, version: int) -> BucketIndex:
        self.read.append(tenant)
        if tenant not in self.in_bucket:
            raise Unavailable("the bucket is gone")
        return BucketIndex(updated_at_s=self.in_bucket[tenant])


def record(*tenants: str, phase: Phase = Phase.SERVING) -> HandOver:
    return HandOver("write-a-0", 1, phase, 10, 999, tuple(StoredRange(tenant, 0, 1, 7, 1) for tenant in tenants))


def confirmer(*records: HandOver, indexes: Indexes | None = None) -> RecordConfirmer:
    return RecordConfirmer(records=lambda: HandOvers(records), indexes=indexes)


async def test_a_record_in_force_is_known_in_its_version_and_older_ones() -> None:
    known = confirmer(record("t"))
    assert await known.confirm_record("write-a-0/1", 10) == RecordKnown(True)
    assert await known.confirm_record("write-a-0/1", 9) == RecordKnown(True)
    assert await known.confirm_record("write-a-0/1", 11) == RecordKnown(False)
    assert await known.confirm_record("write-a-0/2", 10) == RecordKnown(False)


async def test_a_record_that_readers_do_not_go_by_is_not_known() -> None:
    for phase in (Phase.LOADING, Phase.WITHDRAWN):
        assert await confirmer(record("t", phase=phase)).confirm_record("write-a-0/1", 10) == RecordKnown(False)


async def test_tenants_whose_index_stays_behind_are_named_the_first_few() -> None:
    indexes = Indexes(t=7, u=6, v=6, w=6)
    indexes.in_bucket["v"] = 8
    del indexes.in_bucket["w"]
    known = confirmer(record("t", "u", "v", "w", "x"), indexes=indexes)
    assert await known.confirm_record("write-a-0/1", 10) == RecordKnown(True, ("u", "w"))
    assert indexes.read == ["u", "v", "w"]
    names = [f"t{n}" for n in range(BEHIND_MAX + 5)]
    known = confirmer(record(*names), indexes=Indexes(**dict.fromkeys(names, 1)))
    assert (await known.confirm_record("write-a-0/1", 10)).behind == tuple(names[:BEHIND_MAX])
