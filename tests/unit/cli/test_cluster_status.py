import json

import pytest

from mimir_rw.app.build.gossip import member_meta
from mimir_rw.cli.cluster_status import cluster_processes, document
from mimir_rw.config.load import load


def member(id: str, target: str, zone: str = "", *, port: int = 8080, addr: str = "10.0.0.1", state: int = 0) -> object:
    flags = [f"-target={target}", f"-common.instance-availability-zone={zone}", f"-server.http-listen-port={port}"]
    meta = member_meta(load(flags, environment={}, read=lambda name: b"").config, instance_id=id)
    return {"Name": f"{id}-1234", "Addr": addr, "State": state, "Meta": meta.hex()}


def memberlist(*members: object) -> bytes:
    return json.dumps({"SortedMembers": members}).encode()


def rings(**states: dict[str, str]) -> bytes:
    shards = {
        ring.replace("_", "-"): {"shards": [{"id": id, "state": state, "zone": "z"} for id, state in found.items()]}
        for ring, found in states.items()
    }
    return json.dumps({"shards": [], "rings": shards}).encode()


def test_processes_of_all_groups_with_their_rings():
    found = cluster_processes(
        memberlist(
            member("w2", "write", "b"),
            member("w1", "write", "a", port=81),
            member("r1", "read", addr="fd00::1"),
            member("gone", "write", "c", state=3),
        ),
        rings(ingester={"w1": "ACTIVE", "w2": "LEAVING"}, distributor={"w1": "ACTIVE"}),
    )
    assert [(each.target, each.id, each.rings) for each in found] == [
        ("read", "r1", {}),
        ("write", "w1", {"ingester": "ACTIVE", "distributor": "ACTIVE"}),
        ("write", "w2", {"ingester": "LEAVING"}),
    ]
    assert [each.url for each in found] == ["http://[fd00::1]:8080", "http://10.0.0.1:81", "http://10.0.0.1:8080"]


def test_what_is_in_a_ring_without_gossiping_is_shown_too():
    (found,) = cluster_processes(b"This instance doesn't use memberlist.", rings(query_scheduler={"s": "ACTIVE"}))
    assert (found.id, found.target, found.zone, found.url) == ("s", "", "z", "")


def test_members_of_other_programs_are_passed_over():
    other = {"Name": "m", "Addr": "10.0.0.9", "State": 0, "Meta": ""}
    assert cluster_processes(memberlist(other, {**other, "Meta": "zz"}, {**other, "Meta": "ff"}), b"") == []


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"rings": 5}', b'{"rings": {"a": 1}}', b'{"SortedMembers": 1}']
)
def test_what_says_nothing(body):
    assert cluster_processes(body, body) == []


def test_json():
    found = cluster_processes(memberlist(member("w1", "write", "a")), rings(ingester={"w1": "ACTIVE"}))
    found[0].readiness = "ready"
    shown = json.loads(json.dumps(document(True, "ready", {"server": "Running"}, found)))
    assert shown["processes"][0]["rings"] == {"ingester": "ACTIVE"}
    assert shown["services"] == {"server": "Running"}


def test_a_name_that_is_too_long_to_be_told_is_not_told():
    config = load([], environment={}, read=lambda name: b"").config
    assert member_meta(config, instance_id="x" * 600) == b""
