"""Two real processes and a peer written from the specification alone: they join, split, converge and leave."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import free_port
from tests.e2e.programs import Program, gossip_peer
from tests.kv_values import ENTRIES, Entries, Entry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LABEL = "test"
ALIVE, LEFT = 0, 3
QUICK = {
    "gossip_interval_s": 0.02,
    "probe_interval_s": 0.2,
    "probe_timeout_s": 0.1,
    "push_pull_interval_s": 1.0,
    "rejoin_interval_s": 0.5,
    "gossip_to_dead_s": 60.0,
}


class Relay:
    """Stands before a member's port; while it is cut, whoever connects finds the connection closed."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        try:
            if not self.cut:
                with socket.create_connection(("127.0.0.1", self._target)) as server:
                    back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                    back.start()
                    self._copy(client, server)
                    back.join()
        except OSError:
            pass
        finally:
            client.close()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Cluster:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.programs: list[Program] = []
        self.relays: list[Relay] = []

    def member(self, name: str, join: list[int]) -> tuple[Program, int]:
        port = free_port()
        relay = Relay(port)
        self.relays.append(relay)
        settings = {
            "bind_addr": ["127.0.0.1"], "bind_port": port, "advertise_port": relay.port, "node_name": name,
            "randomize_node_name": False, "cluster_label": LABEL, "join_members": [f"127.0.0.1:{p}" for p in join],
        } | QUICK  # fmt: skip
        command = [sys.executable, "-m", "tests.e2e.gossip_member", json.dumps(settings)]
        return self._keep(Program(command, self.place / f"{name}.log")), relay.port

    def peer(self, name: str, join: int, label: str = LABEL) -> Program:
        return self._keep(gossip_peer(self.place, name, label=label, join=join))

    def _keep(self, program: Program) -> Program:
        self.programs.append(program)
        return program

    def split(self, cut: bool) -> None:
        for relay in self.relays:
            relay.cut = cut


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    for program in made.programs:
        program.kill()
    for relay in made.relays:
        relay.close()


def has_members(**states: int) -> Callable[[Any], bool]:
    return lambda known: known["members"] == states


def has_entries(**texts: str) -> Callable[[Any], bool]:
    return lambda known: {n: e["text"] for n, e in known["keys"].get("key", {}).items()} == texts


def test_join_split_converge_and_leave(cluster: Cluster) -> None:
    a, port_a = cluster.member("a", [])
    a.until("it is up", has_members(a=ALIVE))
    b, port_b = cluster.member("b", [port_a])
    for member in (a, b):
        member.until("both know each other", has_members(a=ALIVE, b=ALIVE))
    c = cluster.peer("c", port_b)
    c.until("it has joined", lambda event: event["event"] == "ready")
    for member in (a, b):
        member.until("the peer is known", has_members(a=ALIVE, b=ALIVE, c=ALIVE))

    a.say("put key x from-a")
    b.until("the key has come", has_entries(x="from-a"))
    c.until("the peer is told", lambda event: event["event"] == "pair" and b"from-a" in bytes.fromhex(event["hex"]))
    ours = Entries({"y": Entry(1, "from-c")})
    c.say(f"put key {ENTRIES.id} {ENTRIES.encode(ours).hex()}")
    for member in (a, b):
        member.until("the peer's entry has come", has_entries(x="from-a", y="from-c"))

    cluster.split(True)
    c.say("drop")
    for member in (a, b):
        member.until("the others seem gone", lambda known: list(known["members"].values()).count(ALIVE) == 1)
    a.say("put key z from-a")
    b.say("put key w from-b")
    a.until("its own is there", has_entries(x="from-a", y="from-c", z="from-a"))
    b.until("its own is there", has_entries(x="from-a", y="from-c", w="from-b"))

    cluster.split(False)
    c.say("heal")
    c.say(f"sync {port_a}")
    for member in (a, b):
        member.until("all are back", has_members(a=ALIVE, b=ALIVE, c=ALIVE))
        member.until("both sides agree", has_entries(x="from-a", y="from-c", z="from-a", w="from-b"))

    b.say("drop key x")
    a.until("the entry is gone", has_entries(y="from-c", z="from-a", w="from-b"))
    c.say("leave")
    for member in (a, b):
        member.until("the peer has left", lambda known: known["members"].get("c") == LEFT)
    b.say("stop")
    a.until("the other has left", lambda known: known["members"].get("b") == LEFT)
    assert b.end() == 0
    a.say("stop")
    assert a.end() == 0


def test_another_cluster_is_not_joined(cluster: Cluster) -> None:
    a, port_a = cluster.member("a", [])
    a.until("it is up", has_members(a=ALIVE))
    stranger = cluster.peer("s", port_a, label="other")
    assert stranger.end() != 0
    a.say("put key x from-a")
    a.until("it goes on", has_entries(x="from-a"))
    assert a.last["members"] == {"a": ALIVE}
