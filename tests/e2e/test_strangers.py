"""What does not belong to a cluster and comes near it: without a certificate, of another cluster, of another program,
with a name that is taken, or with a clock that is wrong."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from mimir_rw.ring.codec import RING_CODEC
from mimir_rw.ring.desc import InstanceDesc, InstanceState, RingDesc
from tests.e2e.members import ZONES, Members, complaint, ready, states, until
from tests.e2e.processes import request
from tests.e2e.programs import gossip_peer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

RING_KEY = "collectors/ring"


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Callable[..., Members]]:
    made: list[Members] = []

    def make(*flags: str) -> Members:
        made.append(Members(tmp_path, *flags))
        return made[-1].start()

    yield make
    for each in made:
        each.close()


class Certificates:
    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.ca, self.cert, self.key = (str(directory / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(self.ca)
        issued.private_key_pem.write_to_path(self.key)
        issued.cert_chain_pems[0].write_to_path(self.cert)

    def flags(self) -> list[str]:
        flags = ["-server.grpc-tls-client-auth=RequireAndVerifyClientCert"]
        for prefix in ("server.grpc-tls", "ingester.client.tls", "memberlist.tls"):
            flags += [
                f"-{prefix}-cert-path={self.cert}",
                f"-{prefix}-key-path={self.key}",
                f"-{prefix}-ca-path={self.ca}",
            ]
        return [*flags, "-ingester.client.tls-enabled", "-memberlist.tls-enabled"]

    def lets_in(self, port: int, identity: Certificates | None) -> bool:
        """Whether a client that trusts this authority is listened to on the port."""
        context = ssl.create_default_context(cafile=self.ca)
        if identity is not None:
            context.load_cert_chain(identity.cert, identity.key)
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
                context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
            ):
                connection.sendall(b"\x01")
                connection.settimeout(1)
                return connection.recv(100) != b""
        except TimeoutError:
            return True  # it waits for the rest
        except (ssl.SSLError, ConnectionError):
            return False


def test_certificates_keep_strangers_out(tmp_path: Path, members: Callable[..., Members]) -> None:
    ours, theirs = Certificates(tmp_path / "ours"), Certificates(tmp_path / "theirs")
    cluster = members(*ours.flags())
    cluster.serve("over_tls")
    for port in (cluster.rpc_ports["a"], cluster.gossip_ports["a"]):
        assert ours.lets_in(port, ours)
        assert not ours.lets_in(port, None)
        assert not ours.lets_in(port, theirs)

    # Processes that have no certificate, or one of another authority, find nobody and are found by nobody.
    for id, flags in (("bare", ()), ("forged", theirs.flags())):
        stranger = cluster.stranger(id, *flags)
        stranger.wait_ready()
        until(lambda p=stranger: b"no member could be joined yet" in p.log_path.read_bytes(), "it has knocked")
        assert set(states(stranger)) == {id}
    assert set(states(cluster.processes["b"])) == set(ZONES)
    cluster.serve("after_knocking")


def test_an_instance_of_another_program_is_shown_never_called_and_complained_about(
    tmp_path: Path, members: Callable[..., Members]
) -> None:
    cluster = members()
    listener = socket.create_server(("127.0.0.1", 0))
    now_s = int(time.time())
    theirs = InstanceDesc(
        "ingester-zone-a-0", addr=f"127.0.0.1:{listener.getsockname()[1]}", zone="a", timestamp_s=now_s,
        registered_s=now_s, tokens=tuple(range(1, 2**32, 2**23)),
    )  # fmt: skip
    peer = gossip_peer(tmp_path, "mimir", label="mimir-rw", join=cluster.gossip_ports["a"])
    try:
        peer.until("it has joined", lambda event: event["event"] == "ready")
        tell = f"put {RING_KEY} {RING_CODEC.id} "
        peer.say(tell + RING_CODEC.encode(RingDesc([theirs])).hex())
        for process in cluster.processes.values():
            until(lambda p=process: ready(p).status == 503, "it is complained about")
            said = ready(process).body
            assert b"-memberlist.cluster-label" in said
            assert theirs.id.encode() in said
            page = request(process.url + "/ring", headers={"Accept": "text/html"}).body.decode()
            assert theirs.id in page
            assert "foreign" in page

        # It holds half of the keys of its zone, were it one of us; nothing is asked of it and nothing fails.
        cluster.serve("with_a_foreigner")
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()

        gone = replace(theirs, state=InstanceState.LEFT, timestamp_s=int(time.time()) + 1, tokens=())
        peer.say(tell + RING_CODEC.encode(RingDesc([gone])).hex())
        for process in cluster.processes.values():
            process.wait_ready()
    finally:
        peer.kill()
        listener.close()


def test_a_process_of_another_cluster_stays_alone(members: Callable[..., Members]) -> None:
    cluster = members()
    other = cluster.stranger("z", "-memberlist.cluster-label=another")
    other.wait_ready()
    until(lambda: b"no member could be joined yet" in other.log_path.read_bytes(), "it has knocked")
    assert set(states(other)) == {"z"}
    assert set(states(cluster.processes["a"])) == set(ZONES)
    cluster.serve("without_the_other")


def test_two_processes_with_one_id_say_so_until_one_is_gone(members: Callable[..., Members]) -> None:
    cluster = members("-ingester.ring.heartbeat-period=1s")
    twin = cluster.add("a", "a", place="twin")
    twin.spawn()
    for process in (cluster.processes["a"], twin):
        until(lambda p=process: b"-common.instance-id" in complaint(p), "it is complained about")
    twin.kill()
    cluster.processes["a"].wait_ready()
    cluster.serve("without_the_twin")
