import subprocess
import sys
from pathlib import Path

import pytest

from mimir_rw.runner.gateway import GatewayOptions, gateway_config
from mimir_rw.runner.layout import NODES_MAX, read_write_layout
from mimir_rw.runner.preflight import CannotStart, check, port_reason


def test_three_zones_and_two_readers():
    layout = read_write_layout(data=Path("/data"))
    names = [(node.name, node.target, node.zone, node.http_port) for node in layout.nodes]
    assert names == [
        ("write-a", "write", "zone-a", 8001),
        ("write-b", "write", "zone-b", 8002),
        ("write-c", "write", "zone-c", 8003),
        ("backend-a", "backend", "zone-a", 8004),
        ("backend-b", "backend", "zone-b", 8005),
        ("backend-c", "backend", "zone-c", 8006),
        ("read-1", "read", "", 8007),
        ("read-2", "read", "", 8008),
    ]
    assert layout.upstreams()["read"] == ("127.0.0.1:8007", "127.0.0.1:8008")


def test_every_port_and_name_is_used_once():
    layout = read_write_layout(data=Path("/data"), per_zone=3, readers=5)
    ports = [port for node in layout.nodes for port in node.ports]
    assert len(set(ports)) == len(ports) == 3 * len(layout.nodes)
    assert len({node.name for node in layout.nodes}) == len(layout.nodes) == 23


def test_a_node_joins_all_others():
    layout = read_write_layout(data=Path("/data"))
    node = layout.nodes[0]
    joined = [flag for flag in layout.flags(node) if flag.startswith("-memberlist.join=")]
    assert len(joined) == 7
    assert f"-memberlist.join=127.0.0.1:{node.gossip_port}" not in joined


def test_zones_are_given_to_zoned_targets_only():
    layout = read_write_layout(data=Path("/data"))
    zoned = {node.name: "-common.instance-availability-zone" in " ".join(layout.flags(node)) for node in layout.nodes}
    assert zoned == {node.name: node.target != "read" for node in layout.nodes}


def test_ingesters_stay_in_the_ring_while_they_restart():
    layout = read_write_layout(data=Path("/data"))
    assert all("-ingester.ring.unregister-on-shutdown=false" in layout.flags(node) for node in layout.nodes)


@pytest.mark.parametrize(("per_zone", "tried"), [(1, 2), (2, 3), (5, 6)])
def test_a_request_outlives_all_processes_of_a_zone(per_zone, tried):
    upstreams = read_write_layout(data=Path("/data"), per_zone=per_zone).upstreams()
    text = gateway_config(GatewayOptions(listen="8080", upstreams=upstreams))
    assert f"proxy_next_upstream_tries {tried};" in text


def test_extra_flags_go_to_every_node_and_come_last():
    layout = read_write_layout(data=Path("/data"), extra_flags=["-log.level=debug"])
    assert all(layout.flags(node)[-1] == "-log.level=debug" for node in layout.nodes)


def test_too_many_processes():
    with pytest.raises(ValueError, match=str(NODES_MAX)):
        read_write_layout(data=Path("/data"), readers=NODES_MAX)


def free(host: str, port: int) -> str | None:
    return "it is taken" if port in (8080, 8103) else None


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(CannotStart) as caught:
        check(read_write_layout(data=Path("/data")), nginx=None, free=free)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "port 8080 for the gateway" in lines[0]
    assert "--port" in lines[0]
    assert "port 8103 for write-c" in lines[1]
    assert "nginx is not installed" in lines[2]


def test_ports_that_collide_with_each_other():
    with pytest.raises(CannotStart, match="port 8002 is meant for the gateway and for write-b"):
        check(read_write_layout(data=Path("/data"), gateway_port=8002), nginx="nginx", free=lambda host, port: None)


def test_nothing_wrong():
    check(read_write_layout(data=Path("/data")), nginx="nginx", free=lambda host, port: None)


def test_a_taken_port_is_seen(unused_tcp_port_factory):
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        assert port_reason("127.0.0.1", holder.getsockname()[1]) == "it is taken"
    assert port_reason("127.0.0.1", 70_000) == "ports end at 65535"
    assert port_reason("127.0.0.1", unused_tcp_port_factory()) is None


def test_two_runners_do_not_share_a_directory(tmp_path):
    layout = read_write_layout(data=tmp_path)
    (tmp_path / "write-a").mkdir()
    (tmp_path / "read-1").mkdir()
    (tmp_path / "mimir-rw.pid").write_text("what no process id is\n")
    (tmp_path / "read-1" / "pid").write_text(f"{2**30}\n")
    check(layout, nginx="nginx", free=lambda host, port: None)
    program = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)", "mimir-rw"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as left:
        assert left.stdout is not None
        left.stdout.readline()
        (tmp_path / "write-a" / "pid").write_text(f"{left.pid}\n")
        with pytest.raises(CannotStart, match=f"^write-a of an earlier start runs on {tmp_path}; `make down"):
            check(layout, nginx="nginx", free=free)
        left.kill()
