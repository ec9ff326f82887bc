import json

import pytest

from mimir_rw.api.store_gateway_pages import StoreGatewayPages
from mimir_rw.components.store_gateway.catalogue import NOTHING, TenantBlocks
from mimir_rw.formats.bucket_index import BucketIndex, IndexedBlock, IndexedMark
from tests.unit.api.harness import build_site

JSON = {"accept": "application/json"}
GOOD = IndexedBlock("01EJ0000000000000000000001", 0, 7_200_000, 1_700_000_000, level=1, source="receive")
DEAD = IndexedBlock("01EJ0000000000000000000002", 0, 7_200_000, 1_700_000_000, level=2, shard_id="1_of_4")
ELSEWHERE = IndexedBlock("01EJ0000000000000000000003", 0, 7_200_000, 1_700_000_000)


class FakeGateway:
    def __init__(self):
        self.prepared = False

    @property
    def blocks(self):
        return self

    def tenants(self):
        return ["t"]

    def of(self, tenant):
        index = BucketIndex((GOOD, DEAD, ELSEWHERE), (IndexedMark(DEAD.ulid, 1_700_000_100),), 1_700_000_200)
        return TenantBlocks(index, (GOOD, DEAD)) if tenant == "t" else NOTHING

    def damaged(self, tenant):
        return ((GOOD.ulid, "the checksum of <a> series differs"),)

    async def prepare_shutdown(self, wanted):
        if wanted is not None:
            self.prepared = wanted
        return self.prepared


@pytest.fixture
def gateway():
    return FakeGateway()


@pytest.fixture
def site(gateway):
    pages = StoreGatewayPages(gateway=gateway, root="")
    return build_site(more={"store-gateway": pages})


async def test_tenants(site):
    page = (await site.get("/store-gateway/tenants")).body.decode()
    assert '<a href="/store-gateway/tenant/t/blocks">t</a>' in page
    assert "2023-11-14 22:16:40Z" in page
    assert json.loads((await site.get("/store-gateway/tenants", headers=JSON)).body) == {"tenants": ["t"]}


async def test_blocks_of_a_tenant(site):
    page = (await site.get("/store-gateway/tenant/t/blocks")).body.decode()
    assert GOOD.ulid in page
    assert ELSEWHERE.ulid in page
    assert DEAD.ulid not in page
    assert "the checksum of &lt;a&gt; series differs" in page
    assert DEAD.ulid in (await site.get("/store-gateway/tenant/t/blocks?show_deleted=on")).body.decode()


async def test_blocks_as_json(site):
    answer = await site.get("/store-gateway/tenant/t/blocks?show_deleted=on", headers=JSON)
    document = json.loads(answer.body)
    assert (document["tenant"], document["index_updated_at"]) == ("t", 1_700_000_200)
    good, dead, elsewhere = document["blocks"]
    assert (good["at_hand"], good["damage"], good["compaction_level"]) == (
        True,
        "the checksum of <a> series differs",
        1,
    )
    assert (dead["deletion_time"], dead["compactor_shard_id"]) == (1_700_000_100, "1_of_4")
    assert (elsewhere["at_hand"], elsewhere["damage"]) == (False, "")


async def test_a_tenant_without_blocks_here(site):
    assert (await site.get("/store-gateway/tenant/u/blocks")).status == 404
    assert (await site.get("/store-gateway/tenant/a%2Fb/blocks")).status == 400


async def test_prepare_shutdown(site, gateway):
    path = "/store-gateway/prepare-shutdown"
    assert (await site.get(path)).body == b"unset\n"
    assert (await site.request("POST", path, headers={"origin": "http://evil"})).status == 403
    assert not gateway.prepared
    assert (await site.request("POST", path)).status == 204
    assert (await site.get(path)).body == b"set\n"
    assert (await site.request("DELETE", path)).status == 204
    assert (await site.get(path)).body == b"unset\n"
