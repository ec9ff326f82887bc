import json

import pytest

from mimir_rw.cli.cluster_status import RingEntry, document, processes, ring_entries
from mimir_rw.ring.desc import HTTP_PORT_KEY


def entry(ring: str, id: str, zone: str = "", address: str = "10.0.0.1:9095", http_port: int = 8080) -> RingEntry:
    return RingEntry(ring, id, "ACTIVE", zone, address, http_port)


def test_entries_of_all_rings_become_processes():
    found = processes(
        [
            entry("ingester", "w2", "b"),
            entry("ingester", "w1", "a"),
            entry("distributor", "w1", "a"),
            entry("query-scheduler", "s1", address="[::1]:9095", http_port=81),
        ],
        "http",
    )
    assert [(each.group, each.id, list(each.states)) for each in found] == [
        ("backend", "s1", ["query-scheduler"]),
        ("write", "w1", ["ingester", "distributor"]),
        ("write", "w2", ["ingester"]),
    ]
    assert [each.url for each in found] == ["http://[::1]:81", "http://10.0.0.1:8080", "http://10.0.0.1:8080"]


def test_one_that_is_in_the_rings_of_all_groups():
    (found,) = processes([entry(ring, "x") for ring in ("ingester", "distributor", "query-scheduler")], "http")
    assert found.group == "all"


def test_a_process_that_says_no_port_has_no_pages():
    (found,) = processes([entry("ingester", "x", http_port=0)], "http")
    assert found.url == ""


def test_what_a_ring_page_says():
    shard = {"id": "a", "state": "LEAVING", "zone": "z", "address": "h:1", "versions": {str(HTTP_PORT_KEY): 82}}
    assert ring_entries("ingester", json.dumps({"shards": [shard]}).encode()) == [
        RingEntry("ingester", "a", "LEAVING", "z", "h:1", 82)
    ]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"shards": [{}]}', b'{"shards": 5}'])
def test_what_is_no_ring_page(body):
    assert ring_entries("ingester", body) == []


def test_json():
    found = processes([entry("ingester", "w1", "a")], "http")
    found[0].readiness = "ready"
    shown = document({"server": "Running"}, found, True, "ready")
    assert json.loads(json.dumps(shown))["processes"][0]["rings"] == {"ingester": "ACTIVE"}
