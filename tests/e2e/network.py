"""Zones in network namespaces of this machine; a test can cut and heal their links (root, iproute2, iptables)."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ZONES = ("zone-a", "zone-b", "zone-c")


class Network:
    """A bridge with an address for what has no zone (`host`) and a namespace for each zone.

    Cutting drops packets on arrival, silently, as a broken link between data centres would.
    """

    def __init__(self) -> None:
        self._tag = f"mrw{os.getpid() % 10_000}"
        third = os.getpid() % 200
        self.host = f"10.213.{third}.1"
        self.hosts = {zone: f"10.213.{third}.{11 + i}" for i, zone in enumerate(ZONES)}

    def enter(self, zone: str) -> list[str]:
        """What a command line begins with to run there."""
        return ["ip", "netns", "exec", self._space(zone)] if zone else []

    def cut(self, *groups: tuple[str, ...]) -> None:
        """Let no packet pass between zones of different groups. What has no zone still reaches all."""
        for ours, theirs in itertools.permutations(groups, 2):
            for zone, other in itertools.product(ours, theirs):
                self._filter(zone, "-A", "INPUT", "-s", self.hosts[other], "-j", "DROP")

    def heal(self) -> None:
        for zone in ZONES:
            self._filter(zone, "-F", "INPUT")

    def _filter(self, zone: str, *argv: str) -> None:
        _ip("netns", "exec", self._space(zone), "iptables", "-w", *argv)

    def build(self) -> None:
        _ip("link", "add", self._tag, "type", "bridge")
        _ip("addr", "add", f"{self.host}/24", "dev", self._tag)
        _ip("link", "set", self._tag, "up")
        # A Docker engine closes forwarding, and has bridges filtered too.
        _run("iptables", "-w", "-I", *self._forwarding())
        for i, zone in enumerate(ZONES):
            space, outside = self._space(zone), f"{self._tag}-{i}"
            _ip("netns", "add", space)
            _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", outside, "master", self._tag, "up")
            inside = ("netns", "exec", space, "ip")
            _ip(*inside, "addr", "add", f"{self.hosts[zone]}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip(*inside, "link", "set", "lo", "up")

    def remove(self) -> None:
        for zone in ZONES:
            _ip("netns", "del", self._space(zone), check=False)
        _ip("link", "del", self._tag, check=False)
        _run("iptables", "-w", "-D", *self._forwarding(), check=False)

    def _forwarding(self) -> tuple[str, ...]:
        return "FORWARD", "-i", self._tag, "-o", self._tag, "-j", "ACCEPT"

    def _space(self, zone: str) -> str:
        return f"{self._tag}-{zone}"


def _ip(*argv: str, check: bool = True) -> None:
    _run("ip", *argv, check=check)


def _run(*argv: str, check: bool = True) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"


@contextmanager
def network() -> Iterator[Network]:
    """Skipped on a user's machine where namespaces cannot be made; in CI that is a failure."""
    made = Network()
    try:
        made.build()
    except (OSError, AssertionError) as error:
        made.remove()
        text = f"network namespaces cannot be made here ({error}); this needs root, iproute2 and iptables"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    try:
        yield made
    finally:
        made.remove()
