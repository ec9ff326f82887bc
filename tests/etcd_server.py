"""A real etcd on loopback, one for all tests of a run; it ends with the run."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from tests.e2e.processes import free_port, need

START_S = 30.0


class Etcd:
    """One server with its data; it may be stopped and started again."""

    def __init__(self) -> None:
        self._binary = need("etcd", "etcd-server")
        self._directory = tempfile.mkdtemp(prefix="etcd-test-")
        self._port, self._peer_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._popen: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)

    def start(self) -> None:
        here, peer = f"http://{self.address}", f"http://127.0.0.1:{self._peer_port}"
        self._popen = subprocess.Popen(
            [
                self._binary, "--data-dir", self._directory, "--listen-client-urls", here, "--advertise-client-urls",
                here, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster",
                f"default={peer}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(here + "/health", timeout=1) as answer:
                    if b'"true"' in answer.read():
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("etcd does not start")

    def stop(self) -> None:
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


@functools.cache
def start_etcd() -> str:
    """Address of the shared server."""
    server = Etcd()
    server.start()
    return server.address
