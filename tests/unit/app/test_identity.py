import pytest

from mimir_rw.app.identity import Machine, RingIdentity, process_address, process_id, ring_identity
from mimir_rw.config.errors import ConfigError
from mimir_rw.config.load import load
from mimir_rw.kit.host import InterfaceAddress

MACHINE = Machine("host", [InterfaceAddress("lo", "127.0.0.1"), InterfaceAddress("eth0", "10.0.0.5")])


def identity(*argv: str) -> RingIdentity:
    config = load(["-target=write", *argv], environment={}, read=lambda name: b"").config
    return ring_identity("ingester.ring", config.ingester.ring, config, MACHINE, port=9095)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], RingIdentity("host", "10.0.0.5:9095", "")),
        (["-common.instance-id=w1", "-common.instance-addr=w1.local"], RingIdentity("w1", "w1.local:9095", "")),
        (["-common.instance-id=w1", "-ingester.ring.instance-id=i1"], RingIdentity("i1", "10.0.0.5:9095", "")),
        (["-ingester.ring.instance-port=1", "-ingester.ring.instance-addr=::1"], RingIdentity("host", "[::1]:1", "")),
        (["-common.instance-interface-names=lo"], RingIdentity("host", "127.0.0.1:9095", "")),
        (
            ["-common.instance-addr=other", "-ingester.ring.instance-interface-names=eth0"],
            RingIdentity("host", "10.0.0.5:9095", ""),
        ),
        (["-common.instance-availability-zone=a"], RingIdentity("host", "10.0.0.5:9095", "a")),
        (
            ["-common.instance-availability-zone=a", "-ingester.ring.instance-availability-zone=b"],
            RingIdentity("host", "10.0.0.5:9095", "b"),
        ),
    ],
)
def test_how_a_process_is_shown_in_a_ring(argv, expected):
    assert identity(*argv) == expected


def test_an_interface_without_an_address_is_named():
    with pytest.raises(ConfigError, match=r"ingester\.ring\.instance_interface_names: no interface wlan0"):
        identity("-ingester.ring.instance-interface-names=wlan0")


def test_the_process_itself():
    config = load([], environment={}, read=lambda name: b"").config
    assert process_id(config, MACHINE) == "host"
    assert process_address(config, MACHINE) == "10.0.0.5"
