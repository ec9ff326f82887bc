import pytest

from mimir_rw.kit.host import InterfaceAddress, choose_address, host_name, interface_addresses

LO, ETH, WIFI = (
    InterfaceAddress("lo", "127.0.0.1"),
    InterfaceAddress("eth0", "10.1.2.3"),
    InterfaceAddress("w", "8.8.4.4"),
)
LINK, SIX = InterfaceAddress("eth0", "fe80::1"), InterfaceAddress("eth0", "fd00::7")


@pytest.mark.parametrize(
    ("addresses", "names", "ipv6", "chosen"),
    [
        ([LO, WIFI, ETH], [], False, "10.1.2.3"),
        ([LO, WIFI], [], False, "8.8.4.4"),
        ([LO], [], False, "127.0.0.1"),
        ([], [], False, "127.0.0.1"),
        ([LO, WIFI, ETH], ["w", "eth0"], False, "8.8.4.4"),
        ([LO, ETH], ["none", "lo"], False, "127.0.0.1"),
        ([LO, ETH], ["none"], False, None),
        ([LO, ETH, LINK, SIX], [], True, "fd00::7"),
        ([LO, ETH, LINK], [], True, "::1"),
    ],
)
def test_the_address_that_others_reach(addresses, names, ipv6, chosen):
    assert choose_address(addresses, names, ipv6=ipv6) == chosen


def test_this_machine_has_a_name_and_loopback():
    assert host_name()
    assert "127.0.0.1" in {each.address for each in interface_addresses()}
