"""Calls over TLS: the certificates of both sides."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from mimir_rw.kit.tls import ClientTlsSettings, TlsSettings, client_context, server_context
from mimir_rw.model.errors import Unavailable
from mimir_rw.rpc.peer import ClientTls
from mimir_rw.rpc.transport import Message
from tests.unit.rpc.harness import Ends
from tests.unit.rpc.test_calls import Component


class Files:
    """Certificates of one authority, as files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.ca, self.cert, self.key = (str(directory / name) for name in ("ca", "cert", "key"))
        authority = trustme.CA()
        issued = authority.issue_cert("node.cluster")
        authority.cert_pem.write_to_path(self.ca)
        issued.private_key_pem.write_to_path(self.key)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(self.cert, append=True)

    def server(self, client_ca: str = "") -> ssl.SSLContext:
        auth = "RequireAndVerifyClientCert" if client_ca else ""
        settings = TlsSettings(cert_file=self.cert, key_file=self.key, client_auth=auth, client_ca_file=client_ca)
        return server_context(settings, flags="server.grpc-tls")

    def client(self, ca: str, *, named: str = "node.cluster") -> ClientTls:
        settings = ClientTlsSettings(cert_file=self.cert, key_file=self.key, ca_file=ca)
        return ClientTls(client_context(settings, flags="ingester.client.tls"), named)


@pytest.fixture
def ours(tmp_path: Path) -> Files:
    return Files(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Files:
    return Files(tmp_path / "theirs")


async def called(ends: Ends) -> int:
    """Length of a large payload that went there and back."""
    component = Component()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        answer = await peer.call("test.echo", Message({}, bytes(3_000_000)), timeout_s=10)
        return len(answer.payload)


async def test_both_sides_know_each_other(ours: Files) -> None:
    ends = Ends()
    ends.server_tls, ends.client_tls = ours.server(client_ca=ours.ca), ours.client(ours.ca)
    assert await called(ends) == 3_000_000


async def test_a_server_of_another_authority_or_name_is_not_trusted(ours: Files, theirs: Files) -> None:
    ends = Ends()
    ends.server_tls, ends.client_tls = ours.server(), ours.client(theirs.ca)
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await called(ends)
    ends.client_tls = ours.client(ours.ca, named="other.cluster")
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await called(ends)


async def test_a_client_of_another_authority_is_turned_away(ours: Files, theirs: Files) -> None:
    ends = Ends()
    ends.server_tls, ends.client_tls = ours.server(client_ca=ours.ca), theirs.client(ours.ca)
    with pytest.raises(Unavailable):
        await called(ends)


async def test_plain_and_tls_do_not_meet(ours: Files) -> None:
    ends = Ends()
    ends.server_tls = ours.server()
    with pytest.raises(Unavailable):
        await called(ends)
    ends.server_tls, ends.client_tls = None, ours.client(ours.ca)
    with pytest.raises(Unavailable):
        await called(ends)
