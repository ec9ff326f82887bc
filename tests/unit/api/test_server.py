"""The server on real sockets: TLS, early answers, draining, taken ports."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from mimir_rw.api.server import HTTP_ALPN, HttpServer, ServerSettings
from mimir_rw.kit.listen import ListenError, bind_listener, check_port
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.service import ServiceSet
from mimir_rw.kit.tls import ClientTlsSettings, TlsError, TlsSettings, client_context, server_context
from tests.unit.api.harness import build_site

FLAGS = "server.http-listen"


def http_context(settings):
    return server_context(settings, flags="server.http-tls", alpn=HTTP_ALPN)


@contextlib.asynccontextmanager
async def serving(site, tls=None):
    settings = ServerSettings(graceful_s=5)
    server = HttpServer(
        listener=bind_listener("127.0.0.1", 0, flags=FLAGS),
        settings=settings,
        tls=tls,
        log=get_logger(),
    )
    server.serve(site.application)
    services = ServiceSet([server, site.traffic], {"api": ["server"]})
    running = asyncio.ensure_future(services.run())
    await services.running.wait()
    try:
        yield server.port, services
    finally:
        services.request_stop()
        await asyncio.wait_for(running, 10)


async def exchange(port, request, *, tls=None):
    """Everything the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
    )
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


GET_READY = b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


def push_of(size, declared=None):
    head = f"POST /api/v1/push HTTP/1.1\r\nhost: h\r\nx-scope-orgid: t\r\ncontent-length: {declared or size}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + b"x" * size


async def test_plain_http():
    site = build_site(body_bytes_max=1 << 20)
    async with serving(site) as (port, _):
        answer = await exchange(port, GET_READY)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\r\nserver:" not in answer.lower()
        assert (await exchange(port, push_of(300_000))).startswith(b"HTTP/1.1 200")
        assert len(site.distributor.pushed[0][1]) == 300_000


async def test_an_early_refusal_of_a_large_body_is_read_by_its_sender():
    site = build_site(body_bytes_max=1000)
    async with serving(site) as (port, _):
        answer = await exchange(port, push_of(2 << 20))
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"err-mimir-distributor-max-write-message-size" in answer
        assert (await exchange(port, GET_READY)).startswith(b"HTTP/1.1 200")


async def test_stopping_lets_requests_end_and_says_close():
    site = build_site()
    site.distributor.gate = asyncio.Event()
    async with serving(site) as (port, services):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(push_of(10).replace(b"connection: close\r\n", b""))
        while not site.traffic.inflight:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        services.request_stop()
        while not site.traffic.closing:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        site.distributor.gate.set()
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower()
        writer.close()


def test_a_taken_port_names_the_port_and_the_flag():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"port {port} is taken .* -server.http-listen-port"):
            bind_listener("127.0.0.1", port, flags=FLAGS)
        with pytest.raises(ListenError, match="is taken"):
            check_port("", port, flags=FLAGS)


def test_an_address_that_is_not_ours():
    with pytest.raises(ListenError, match=r"-server\.http-listen-address"):
        bind_listener("192.0.2.1", 0, flags=FLAGS)
    with pytest.raises(ListenError, match=r"-memberlist\.bind-addr and -memberlist\.bind-port"):
        check_port("192.0.2.1", 0, flags="memberlist.bind")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(directory / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return {"cert_file": str(directory / "cert.pem"), "key_file": str(directory / "key.pem")}, str(directory / "ca.pem")


def trusting_client(authority, issue=False):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if issue:
        authority.issue_cert("client@example.org").configure_cert(context)
    return context


async def test_tls(authority, certificate):
    files, _ = certificate
    async with serving(build_site(), http_context(TlsSettings(**files))) as (port, _):
        answer = await exchange(port, GET_READY, tls=trusting_client(authority))
        assert answer.startswith(b"HTTP/1.1 200")
        stranger = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await exchange(port, GET_READY, tls=stranger)
        assert await exchange(port, GET_READY) == b""


async def test_tls_with_client_certificates(authority, certificate):
    files, authority_file = certificate
    settings = TlsSettings(**files, client_auth="RequireAndVerifyClientCert", client_ca_file=authority_file)
    async with serving(build_site(), http_context(settings)) as (port, _):
        answer = await exchange(port, GET_READY, tls=trusting_client(authority, issue=True))
        assert answer.startswith(b"HTTP/1.1 200")
        # With TLS 1.3 the client learns of the refusal only when it reads.
        refused = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            refused = await exchange(port, GET_READY, tls=trusting_client(authority))
        assert refused == b""


async def test_tls_from_inline_pem(authority, certificate):
    files, _ = certificate
    pem = {name: Path(files[f"{name}_file"]).read_text() for name in ("cert", "key")}  # noqa: ASYNC240
    settings = TlsSettings(**pem, min_version="VersionTLS13")
    assert "PRIVATE" not in repr(settings)
    context = http_context(settings)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    async with serving(build_site(), context) as (port, _):
        assert (await exchange(port, GET_READY, tls=trusting_client(authority))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cert_file": "/nowhere"}, "-server.http-tls-cert-path"),
        ({"client_auth": "RequireAnyClientCert"}, "RequireAnyClientCert is not available"),
        ({"client_auth": "RequireAndVerifyClientCert"}, "-server.http-tls-ca-path is not set"),
        ({"cipher_suites": ("TLS_NONSENSE",)}, "unknown cipher suite TLS_NONSENSE"),
    ],
    ids=["no such file", "unverified client certificates", "no client authority", "unknown cipher suite"],
)
def test_bad_tls_settings_say_which_flag(certificate, change, text):
    files, _ = certificate
    with pytest.raises(TlsError, match=text):
        http_context(TlsSettings(**{**files, **change}))


def test_a_client_trusts_and_shows_what_it_is_told(certificate):
    files, authority_file = certificate
    settings = ClientTlsSettings(**files, ca_file=str(authority_file), min_version="VersionTLS13")
    context = client_context(settings, flags="ingester.client.tls")
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    careless = client_context(ClientTlsSettings(skip_verify=True), flags="ingester.client.tls")
    assert careless.verify_mode is ssl.CERT_NONE
    with pytest.raises(TlsError, match=r"-ingester\.client\.tls-ca-path"):
        client_context(ClientTlsSettings(ca_file="/nowhere"), flags="ingester.client.tls")


def test_cipher_suites_by_their_names_in_go(certificate):
    files, _ = certificate
    suite = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
    context = http_context(TlsSettings(**files, cipher_suites=(suite, "TLS_AES_128_GCM_SHA256")))
    older = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert older == ["ECDHE-RSA-AES256-GCM-SHA384"]
