"""A cluster of real processes behind a real nginx on loopback; a test can kill, stop, freeze and start each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mimir_rw.runner.gateway import GatewayOptions, gateway_config
from mimir_rw.runner.layout import GOSSIP_OFFSET, RPC_OFFSET, Layout, Node, read_write_layout
from mimir_rw.runner.preflight import find_nginx
from tests.e2e.network import Network
from tests.e2e.processes import Process, free_port, need, request

ROOMY = (
    "-distributor.ingestion-rate-limit=100000000",
    "-distributor.ingestion-burst-size=1000000000",
    "-ingester.max-global-series-per-user=0",
    "-log.level=info",
)
"""Limits that a test's load never meets."""


def free_base_port(nodes: int) -> int:
    """A base port whose HTTP, call and gossip ports are all free now."""
    for base in range(20_000, 60_000, 300):
        base += os.getpid() % 97
        ports = [base + offset + i for i in range(nodes) for offset in (0, RPC_OFFSET, GOSSIP_OFFSET)]
        if all(map(_is_free, ports)):
            return base
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def three_zones_active(base: str) -> bool:
    """Whether the page of rings shows an ACTIVE ingester in each of three zones, and nothing else."""
    shards = request(f"{base}/ring", headers={"Accept": "application/json"}).json()["rings"]["ingester"]["shards"]
    return sorted((s["zone"], s["state"]) for s in shards) == [(f"zone-{z}", "ACTIVE") for z in "abc"]


class Cluster:
    """Processes by name (write-a, read-1, …), the gateway apart. Nothing starts again by itself."""

    def __init__(
        self,
        directory: Path,
        *,
        per_zone: int = 1,
        readers: int = 2,
        flags: Sequence[str] = ROOMY,
        network: Network | None = None,
    ) -> None:
        """network: zones in network namespaces of their own; without, all is on loopback."""
        self._network = network
        nginx = find_nginx() or need("nginx", "nginx-light")
        self.layout: Layout = read_write_layout(
            data=directory,
            gateway_port=free_port(),
            base_port=free_base_port(6 * per_zone + readers),
            per_zone=per_zone,
            readers=readers,
            zone_hosts=network.hosts if network else None,
            host=network.host if network else "127.0.0.1",
            extra_flags=flags,
        )
        self.nodes = {node.name: self._process(node) for node in self.layout.nodes}
        self._nginx_config = config = directory / "nginx" / "nginx.conf"
        (config.parent / "scratch").mkdir(parents=True)
        argv = [nginx, "-c", str(config), "-p", str(config.parent), "-g", "daemon off;", "-e", "stderr"]
        self.gateway = Process(
            argv, self.layout.gateway_port, "/gateway-health", directory / "nginx.log", host=self.layout.host
        )

    def _process(self, node: Node, extra: Sequence[str] = ()) -> Process:
        home = self.layout.data / node.name
        home.mkdir(parents=True, exist_ok=True)
        argv = [str(Path(sys.executable).with_name("mimir-rw")), *self.layout.flags(node), *extra]
        if self._network:
            argv = [*self._network.enter(node.zone), *argv]
        return Process(argv, node.http_port, "/ready", home / "log", cwd=home, host=node.host)

    @property
    def url(self) -> str:
        """Of the gateway."""
        return self.gateway.url

    def start(self, *names: str) -> Cluster:
        """All processes, or those named, and the gateway before them."""
        names = names or tuple(self.nodes)
        self.restart(*names)
        self.route(*names)
        self.gateway.start()
        return self

    def route(self, *names: str) -> None:
        """The gateway's upstreams are these processes from now on; each group needs one."""
        addresses = {node.address for node in self.layout.nodes if node.name in names}
        upstreams = {
            group: tuple(address for address in found if address in addresses)
            for group, found in self.layout.upstreams().items()
        }
        directory = self._nginx_config.parent
        options = GatewayOptions(
            listen=self.layout.gateway,
            upstreams=upstreams,
            scratch=str(directory / "scratch"),
            pid=str(directory / "nginx.pid"),
            user="root" if os.geteuid() == 0 else "",
        )
        self._nginx_config.write_text(gateway_config(options))
        if self.gateway.popen is not None:
            os.kill(self.gateway.pid, signal.SIGHUP)

    def names(self, target: str = "", zone: str = "") -> list[str]:
        return [node.name for node in self.layout.nodes if target in ("", node.target) and zone in ("", node.zone)]

    def kill(self, *names: str) -> None:
        """kill -9, all before any is waited for."""
        for name in names:
            os.kill(self.nodes[name].pid, signal.SIGKILL)
        for name in names:
            self.nodes[name].kill()
            popen = self.nodes[name].popen
            assert popen is not None
            popen.wait()

    def restart(self, *names: str) -> None:
        """Start, all before any is waited for, and wait until ready."""
        for name in names:
            self.nodes[name].spawn()
        for name in names:
            self.nodes[name].wait_ready()

    def terminate(self, name: str) -> int:
        """SIGTERM; the exit status."""
        return self.nodes[name].stop()

    def freeze(self, name: str) -> None:
        os.kill(self.nodes[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.kill(self.nodes[name].pid, signal.SIGCONT)

    def reconfigure(self, name: str, *extra: str) -> None:
        """Give a process, from its next start on, more flags than its layout says."""
        node = next(node for node in self.layout.nodes if node.name == name)
        old = self.nodes[name]
        self.nodes[name] = self._process(node, extra)
        self.nodes[name].popen = old.popen

    def pids(self) -> list[int]:
        """Of all servers, nginx's workers among them."""
        mine = [process.pid for process in self.nodes.values() if process.popen] + [self.gateway.pid]
        workers = subprocess.run(["pgrep", "-P", str(self.gateway.pid)], capture_output=True, text=True, check=False)
        return mine + [int(pid) for pid in workers.stdout.split()]

    def close(self) -> None:
        for process in (self.gateway, *self.nodes.values()):
            if process.popen is not None and process.popen.poll() is None:
                process.popen.send_signal(signal.SIGCONT)
                process.popen.terminate()
        for process in (self.gateway, *self.nodes.values()):
            if process.popen is not None:
                try:
                    process.popen.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()

    def logs(self) -> str:
        """The end of each log, for a failure's report."""
        return "\n".join(f"--- {name}\n{process.log_tail(1500)}" for name, process in self._all())

    def _all(self) -> Iterator[tuple[str, Process]]:
        yield from self.nodes.items()
        yield "gateway", self.gateway
