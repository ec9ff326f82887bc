"""A cluster of three processes with everything in them, one in each zone, that replicate to each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.e2e.processes import Answer, Process, free_port, mimir_rw, query, request
from tests.e2e.remote_write import body, push

ZONES = ("a", "b", "c")
WAIT_S = 30.0


class Members:
    """Processes with everything in them, one in each zone, that replicate to each other."""

    def __init__(self, directory: Path, *flags: str, data: Mapping[str, Path] | None = None) -> None:
        """data: where those of some zones keep theirs."""
        self._directory = directory
        self._data = data or {}
        self._flags = flags
        self.rpc_ports = {zone: free_port() for zone in ZONES}
        self.gossip_ports = {zone: free_port() for zone in ZONES}
        self.processes: dict[str, Process] = {}

    def start(self) -> Members:
        for zone in ZONES:
            self.add(zone, zone, rpc_port=self.rpc_ports[zone], gossip_port=self.gossip_ports[zone]).spawn()
        for process in self.processes.values():
            process.wait_ready()
        until(lambda: set(states(self.processes["a"])) == set(ZONES), "all are in the ring")
        return self

    def add(
        self,
        id: str,
        zone: str,
        *flags: str,
        rpc_port: int = 0,
        gossip_port: int = 0,
        place: str = "",
        shared: Sequence[str] | None = None,
    ) -> Process:
        """One more, not started yet. place: of its data and log, where another has this id. shared: instead of the
        flags of all."""
        home = self._directory / (place or id)
        home.mkdir()
        shared = self._flags if shared is None else shared
        made = self.processes[place or id] = mimir_rw(
            home, "-common.instance-addr=127.0.0.1", f"-common.instance-id={id}",
            f"-common.instance-availability-zone={zone}", "-ingester.ring.zone-awareness-enabled",
            "-server.grpc-listen-address=127.0.0.1", f"-server.grpc-listen-port={rpc_port or free_port()}",
            "-memberlist.bind-addr=127.0.0.1", f"-memberlist.bind-port={gossip_port or free_port()}",
            *(f"-memberlist.join=127.0.0.1:{port}" for port in self.gossip_ports.values()), *shared, *flags,
            data=self._data.get(place or id),
        )  # fmt: skip
        return made

    def stranger(self, id: str, *flags: str) -> Process:
        """One more that wants to join, with its own flags only; started."""
        made = self.add(id, "a", "-ingester.ring.replication-factor=1", *flags, shared=())
        made.spawn()
        return made

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()

    def serve(self, metric: str) -> None:
        """What is pushed to one is found by another."""
        now_ms = int(time.time() * 1000)
        payload = body([({"__name__": metric, "n": str(n)}, now_ms, 1.0) for n in range(50)])
        status, text = push(self.processes["a"].port, payload)
        assert status == 200, text
        found = query(self.processes["b"].url + "/prometheus", "query", query=f"count({metric})")["result"]
        assert [sample["value"][1] for sample in found] == ["50"]


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


def states(process: Process) -> dict[str, str]:
    """State of each ingester in the ring, by id."""
    answer = request(f"{process.url}/ingester/ring", headers={"Accept": "application/json"})
    return {shard["id"]: shard["state"] for shard in answer.json()["shards"]}


def ready(process: Process) -> Answer:
    return request(process.url + "/ready")


def complaint(process: Process) -> bytes:
    """Why it is not ready; nothing when it is, or cannot be asked."""
    try:
        answer = ready(process)
    except OSError:
        return b""
    return answer.body if answer.status != 200 else b""
