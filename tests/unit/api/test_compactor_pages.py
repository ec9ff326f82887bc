import json

import pytest

from mimir_rw.api.compactor_pages import CompactorPages
from mimir_rw.components.compactor.planner import PlannerSettings, plan
from mimir_rw.components.compactor.progress import TenantProgress
from mimir_rw.components.compactor.uploads import UploadResult, UploadState
from mimir_rw.model.errors import Conflict, RateLimited
from tests.unit.api.harness import build_site
from tests.unit.components.compactor.bucket_states import DAY_MS, HOUR_MS, block, ulid

RANGES = (2 * HOUR_MS, 12 * HOUR_MS, DAY_MS)
JSON = {"accept": "application/json"}


class FakeCompactor:
    def __init__(self):
        self.plan = plan(
            "t<",
            [block("a", 0, 2), block("b", 0, 2)],
            PlannerSettings(RANGES, first_level_wait_ms=HOUR_MS),
            30 * DAY_MS,
        )
        self.progress = TenantProgress(planned_ms=1, blocks=2, plan=self.plan)
        self.progress.sets_aside(ulid("x"), "the checksum of <a> chunk differs")
        self.progress.begins(self.plan.jobs[0], 5000)
        self.deleted = []

    async def tenants(self):
        return ["t", "t!"]

    async def planned(self, tenant):
        return self.plan

    def tenant_progress(self, tenant):
        return self.progress

    async def delete_tenant(self, tenant):
        self.deleted.append(tenant)

    async def tenant_is_empty(self, tenant):
        return tenant in self.deleted


class FakeUploads:
    def __init__(self):
        self.calls = []
        self.error = None

    async def _take(self, *call):
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    async def start(self, tenant, block, body):
        await self._take("start", tenant, block, body)

    async def put_file(self, tenant, block, path, declared, body):
        data = b"".join([part async for part in body(1000)])
        await self._take("files", tenant, block, path, declared, data)

    async def finish(self, tenant, block):
        await self._take("finish", tenant, block)

    async def result(self, tenant, block):
        await self._take("check", tenant, block)
        return UploadResult(UploadState.FAILED, "why")


@pytest.fixture
def compactor():
    return FakeCompactor()


@pytest.fixture
def uploads():
    return FakeUploads()


@pytest.fixture
def site(compactor, uploads):
    return build_site(more={"compactor": CompactorPages(compactor=compactor, uploads=uploads, root="")})


async def test_the_tenants_of_the_bucket(site):
    page = (await site.get("/compactor/tenants")).body.decode()
    assert "/compactor/tenant/t%21/planned_jobs" in page
    document = json.loads((await site.get("/compactor/tenants", headers=JSON)).body)
    assert document == {"tenants": [{"tenant": "t"}, {"tenant": "t!"}]}


async def test_the_jobs_of_a_tenant(site):
    page = (await site.get("/compactor/tenant/t/planned_jobs")).body.decode()
    for text in (ulid("a"), "1970-01-01T00:00:00Z to 1970-01-01T02:00:00Z", "under way", ulid("x"), "&lt;a&gt;"):
        assert text in page
    assert "<a> chunk" not in page
    document = json.loads((await site.get("/compactor/tenant/t/planned_jobs", headers=JSON)).body)
    (job,) = document["jobs"]
    assert (job["stage"], job["blocks"]) == ("merge", [ulid("a"), ulid("b")])
    assert list(document["blocks_set_aside"]) == [ulid("x")]
    assert (await site.get("/compactor/tenant/nobody/planned_jobs")).status == 404
    assert (await site.get("/compactor/tenant/a%2Fb/planned_jobs")).status == 400


async def test_a_tenant_is_deleted_by_itself_only(site, compactor):
    reply = await site.get("/compactor/delete_tenant_status", tenant="t")
    assert json.loads(reply.body) == {"tenant_id": "t", "blocks_deleted": False}
    page = await site.request("POST", "/compactor/delete_tenant", tenant="t", headers={"origin": "http://elsewhere"})
    assert (page.status, compactor.deleted) == (403, [])
    assert (await site.request("POST", "/compactor/delete_tenant", body=b"", tenant=None)).status == 401
    assert (await site.request("POST", "/compactor/delete_tenant", body=b"", tenant="t")).status == 200
    assert compactor.deleted == ["t"]


async def test_the_steps_of_an_upload(site, uploads):
    path = f"/api/v1/upload/block/{ulid('b')}"
    assert (await site.request("POST", f"{path}/start", body=b"{}", tenant="t")).status == 200
    assert (await site.request("POST", f"{path}/files?path=chunks%2F000001", body=b"data", tenant="t")).status == 200
    assert (await site.request("POST", f"{path}/finish", body=b"", tenant="t")).status == 200
    reply = await site.get(f"{path}/check", tenant="t")
    assert json.loads(reply.body) == {"result": "failed", "error": "why"}
    assert [call[0] for call in uploads.calls] == ["start", "files", "finish", "check"]
    assert {call[1:3] for call in uploads.calls} == {("t", ulid("b"))}
    assert uploads.calls[1][3:] in ((("chunks/000001"), 4, b"data"), ("chunks/000001", None, b"data"))
    assert (await site.request("POST", f"{path}/files", body=b"data", tenant="t")).status == 400
    assert (await site.request("POST", f"{path}/start", body=b"{}", tenant=None)).status == 401
    for error, status in ((Conflict("there"), 409), (RateLimited("busy"), 429)):
        uploads.error = error
        assert (await site.request("POST", f"{path}/finish", body=b"", tenant="t")).status == status
