import json
import re
from urllib.parse import urlencode

import pytest

from mimir_rw.api.form_token import FormTokens
from mimir_rw.api.memberlist_pages import MemberlistPages, readable_meta
from mimir_rw.api.ring_pages import RingPages
from mimir_rw.api.ring_table import ago
from mimir_rw.kv.memberlist.page import ShownValue
from mimir_rw.ring.desc import RPC_VERSION_KEY, InstanceDesc, InstanceState, RingDesc
from mimir_rw.ring.settings import RingSettings
from mimir_rw.ring.view import ring_view
from tests.unit.api.harness import NOW_MS, StillClock, build_site

NOW_S = NOW_MS // 1000
OURS = {RPC_VERSION_KEY: 2}
JSON = {"accept": "application/json"}


class FakeRing:
    def __init__(self, *members):
        self.desc = RingDesc(members)
        self.forgotten = []

    def view(self):
        return ring_view(self.desc, RingSettings(replication_factor=3, zone_awareness=True))

    async def forget(self, id):
        self.forgotten.append(id)
        self.desc = self.desc.without([id])


class FakeGossip:
    def __init__(self):
        self.deleted = 0

    async def snapshot(self):
        member = {"Name": "<node>", "Addr": "10.0.0.1", "Port": 7946, "State": 1, "Incarnation": 4, "Meta": "aa"}
        stored = {"Version": 3, "CodecID": "ringDesc", "Deleted": False, "UpdateTime": None}
        message = {
            "ID": 7, "Time": "2023-11-14T22:13:20.000Z", "Size": 9, "Pair": {"Key": "collectors/ring"}, "Version": 3,
            "Changes": ["<i>"],
        }  # fmt: skip
        return {
            "Now": "2023-11-14T22:13:20.000Z",
            "Memberlist": {"NumMembers": 1, "HealthScore": 0, "LocalNode": "<node>", "ClusterLabel": "mine"},
            "SortedMembers": [member],
            "Store": {"collectors/ring": stored, "secret": stored},
            "StoreSizes": {"collectors/ring": 12, "secret": 5},
            "TotalStoreSize": 17,
            "MessageHistoryBufferBytes": 100,
            "SentMessages": [],
            "ReceivedMessages": [message],
            "ZoneAwareRouting": {"Enabled": False},
        }

    async def value(self, key):
        return ShownValue(key, 3, "ringDesc", b"\0\1", {"a": [1]}) if key == "collectors/ring" else None

    async def message(self, id):
        return ShownValue("collectors/ring", 3, "ringDesc", b"\0", {"b": 2}) if id == 7 else None

    async def delete_messages(self):
        self.deleted += 1


@pytest.fixture
def rings():
    ingesters = FakeRing(
        InstanceDesc(
            id="i-<a>", addr="10.0.0.1:9095", zone="zone-a", timestamp_s=NOW_S - 5, registered_s=NOW_S - 90,
            tokens=(1, 1 << 31), versions=OURS,
        ),
        InstanceDesc(
            id="i-b", addr="10.0.0.2:9095", zone="zone-b", timestamp_s=NOW_S - 300, tokens=(7,), versions=OURS,
            state=InstanceState.LEAVING, read_only=True, read_only_updated_s=NOW_S - 10,
        ),
        InstanceDesc(id="other", addr="10.9.9.9:9095", timestamp_s=NOW_S),
    )  # fmt: skip
    return {
        "ingester": ingesters,
        "distributor": FakeRing(InstanceDesc(id="d", timestamp_s=NOW_S, tokens=(4,), versions=OURS)),
        "query-scheduler": FakeRing(),
        "querier": FakeRing(),
        "store-gateway": FakeRing(),
        "overrides-exporter": FakeRing(),
        "compactor": FakeRing(),
    }


def site_of(rings, gossip=None, prefixes=None):
    clock = StillClock()
    root = prefixes.root if prefixes else ""
    tokens = FormTokens(secret=b"s" * 32, clock=clock)
    return build_site(
        prefixes=prefixes,
        cluster=RingPages(rings=rings, tokens=tokens, clock=clock, root=root),
        gossip=MemberlistPages(gossip=gossip, secret_keys=["secret"], root=root),
    )


@pytest.fixture
def site(rings):
    return site_of(rings)


async def test_the_shape_of_the_json(site):
    reply = await site.get("/ingester/ring", headers=JSON)
    assert reply.headers["content-type"] == "application/json"
    document = json.loads(reply.body)
    assert list(document) == ["shards", "now"]
    assert document["now"] == "2023-11-14T22:13:20Z"
    assert document["shards"][0] == {
        "id": "i-<a>",
        "state": "ACTIVE",
        "address": "10.0.0.1:9095",
        "timestamp": "2023-11-14T22:13:15Z",
        "registered_timestamp": "2023-11-14T22:11:50Z",
        "read_only": False,
        "read_only_updated_timestamp": "0001-01-01T00:00:00Z",
        "zone": "zone-a",
        "tokens": [1, 1 << 31],
        "versions": {str(RPC_VERSION_KEY): 2},
    }
    assert document["shards"][1]["state"] == "UNHEALTHY"
    assert "versions" not in document["shards"][2]


async def test_all_rings_in_one(site):
    document = json.loads((await site.get("/ring", headers=JSON)).body)
    assert list(document["rings"]) == [
        "ingester", "distributor", "query-scheduler", "querier", "store-gateway", "overrides-exporter",
        "compactor",
    ]  # fmt: skip
    assert document["shards"] == document["rings"]["ingester"]["shards"]
    page = (await site.get("/ring")).body.decode()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Ring of ingesters", "Ring of distributors", "Ring of query schedulers", "Ring of queriers",
        "Ring of store gateways", "Ring of overrides exporters", "Ring of compactors",
    ]  # fmt: skip
    assert page.count("Nobody is in it.") == 5


async def test_a_page_shows_what_it_knows_and_escapes_it(site):
    page = (await site.get("/ingester/ring")).body.decode()
    assert "<a>" not in page
    row = next(line for line in page.split("<tr>") if "i-&lt;a&gt;" in line)
    for text in ("zone-a", "ACTIVE", "10.0.0.1:9095", "5 s ago", "90 s ago", "RPC 2", "forget=i-%3Ca%3E"):
        assert text in row
    assert "foreign" in page
    assert "UNHEALTHY" in page
    assert "(read-only)" in page
    assert "2147483648" not in page
    assert "2147483648" in (await site.get("/ingester/ring?tokens=true")).body.decode()


async def test_a_page_loads_itself_anew_until_told_not_to(site):
    assert b'http-equiv="refresh"' in (await site.get("/distributor/ring")).body
    assert b'http-equiv="refresh"' not in (await site.get("/distributor/ring?refresh=off")).body
    assert b'http-equiv="refresh"' not in (await site.get("/distributor/ring?forget=d")).body


def hidden_fields(page):
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))


@pytest.mark.parametrize(("path", "asked"), [("/ingester/ring", {}), ("/ring", {"ring": "ingester"}), ("/ring", {})])
async def test_forget_asks_and_does_it(site, rings, path, asked):
    page = (await site.get(f"{path}?{urlencode({**asked, 'forget': 'i-b'})}")).body.decode()
    assert rings["ingester"].forgotten == []
    assert f'action="{path}"' in page
    reply = await site.request("POST", path, body=urlencode(hidden_fields(page)).encode())
    assert (reply.status, reply.headers["location"]) == (302, "#")
    assert rings["ingester"].forgotten == ["i-b"]


async def test_tools_get_a_token_as_well(site, rings):
    given = json.loads((await site.get("/distributor/ring?forget=d", headers=JSON)).body)
    assert given["ring"] == "distributor"
    body = urlencode({"forget": "d", "csrf_token": given["csrf_token"]}).encode()
    assert (await site.request("POST", "/distributor/ring", body=body)).status == 302
    assert rings["distributor"].forgotten == ["d"]


@pytest.mark.parametrize("token", ["", "x", "1.2", "9" * 30 + ".0", "99999999999.\xe9", None, "other", "late"])
async def test_a_form_without_a_good_token_is_refused(site, rings, token):
    clock = StillClock()
    tokens = FormTokens(secret=b"s" * 32, clock=clock)
    if token == "other":
        token = tokens.issue("forget/ingester/other")
    if token == "late":
        clock.now_ms = lambda: NOW_MS - 601_000
        token = tokens.issue("forget/ingester/i-b")
    form = {"forget": "i-b"} if token is None else {"forget": "i-b", "csrf_token": token}
    reply = await site.request("POST", "/ingester/ring", body=urlencode(form).encode())
    assert reply.status == 403
    assert rings["ingester"].forgotten == []


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/ingester/ring?forget=nobody", 404),
        ("GET", "/ring?ring=nothing&forget=x", 404),
        ("POST", "/ingester/ring", 400),
        ("PUT", "/ingester/ring", 405),
    ],
)
async def test_requests_that_make_no_sense(site, method, target, status):
    assert (await site.request(method, target)).status == status


async def test_forms_are_bounded(site):
    assert (await site.request("POST", "/ring", body=b"forget=" + b"a" * 20_000)).status == 413


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7300, "2 h ago"),
        (200_000, "2 d ago"),
        (-3, "3 s ahead"),
    ],
)
def test_ages(seconds, text):
    assert ago(seconds) == text


async def test_memberlist(rings):
    gossip = FakeGossip()
    site = site_of(rings, gossip)
    assert json.loads((await site.get("/memberlist", headers=JSON)).body) == await gossip.snapshot()
    page = (await site.get("/memberlist")).body.decode()
    for text in (
        "&lt;node&gt;",
        "(this process)",
        "suspect",
        "collectors/ring",
        "&lt;i&gt;",
        "viewMsg=7",
        "of cluster mine",
    ):
        assert text in page
    assert "downloadKey=collectors" in page
    assert "downloadKey=secret" not in page
    assert (await site.get("/memberlist?viewKey=collectors/ring")).body == b'{"a":[1]}\n'
    pretty = await site.get("/memberlist?viewKey=collectors/ring&format=json-pretty")
    assert pretty.body == b'{\n    "a": [\n        1\n    ]\n}\n'
    assert (await site.get("/memberlist?viewKey=collectors/ring&format=struct")).body == b"{'a': [1]}\n"
    assert (await site.get("/memberlist?viewMsg=7")).body == b'{"b":2}\n'
    raw = await site.get("/memberlist?downloadKey=collectors/ring")
    assert (raw.body, raw.headers["content-type"]) == (b"\0\1", "application/octet-stream")
    assert "3-collectors%2Fring" in raw.headers["content-disposition"]
    cleared = await site.get("/memberlist?deleteMessages=true")
    assert (cleared.status, cleared.headers["location"], gossip.deleted) == (302, "/memberlist", 1)


@pytest.mark.parametrize(
    ("query", "status"),
    [("viewKey=x", 404), ("downloadKey=x", 404), ("downloadKey=secret", 403), ("viewMsg=9", 404), ("viewMsg=x", 400)],
)
async def test_memberlist_has_not_everything(rings, query, status):
    assert (await site_of(rings, FakeGossip()).get(f"/memberlist?{query}")).status == status


async def test_without_memberlist(site):
    reply = await site.get("/memberlist")
    assert (reply.status, reply.body) == (200, b"This instance doesn't use memberlist.\n")


def test_what_a_member_tells_of_itself_is_readable():
    assert readable_meta(b'{"id":"write-a"}'.hex()) == '{"id":"write-a"}'
    assert readable_meta(b"\xff\x00".hex()) == "ff00"
    assert readable_meta(b"\x00".hex()) == "00"
    assert readable_meta("") == "none"
