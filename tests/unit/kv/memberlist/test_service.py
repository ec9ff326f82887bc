"""The member as a service: how it starts, joins, is asked when it is not there, and what its transport bears."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import ServiceState
from mimir_rw.kv.memberlist import wire
from mimir_rw.kv.memberlist.addresses import resolve, split_host_port
from mimir_rw.kv.memberlist.messages import Ack, Endpoint, ErrorReply, Ping, PushPull, encode
from mimir_rw.kv.memberlist.service import MemberlistService
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.transport import TlsContexts
from mimir_rw.model.errors import Unavailable
from tests.e2e.processes import free_port
from tests.kv_values import ENTRIES, Entries

LOOPBACK = bytes((127, 0, 0, 1))


def make(*, tls: TlsContexts | None = None, inline: bool = True, **settings: Any) -> MemberlistService:
    given = {"bind_addr": ("127.0.0.1",), "bind_port": free_port(), "gossip_interval_s": 0.01} | settings
    return MemberlistService(
        settings=MemberlistSettings(**given),
        codecs=[ENTRIES],
        clock=SystemClock(),
        rng=seeded_rng(given["bind_port"]),
        metrics=Metrics(),
        tls=tls,
        hostname="host",
        inline=inline,
    )


@contextlib.asynccontextmanager
async def running(*services: MemberlistService) -> AsyncIterator[None]:
    lives = []
    try:
        for service in services:
            lives.append(asyncio.ensure_future(service.live()))
            assert await service.wait_state(ServiceState.RUNNING) is ServiceState.RUNNING, service.failure
        yield
    finally:
        for service in services:
            service.request_stop()
        await asyncio.gather(*lives)


def address(service: MemberlistService) -> str:
    return f"127.0.0.1:{service.settings.bind_port}"


async def until(holds) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("inline", [True, False])
async def test_before_and_after_its_life_it_answers_without_waiting(inline: bool) -> None:
    service = make(inline=inline)
    kv = service.kv(ENTRIES)
    async with asyncio.timeout(20):
        assert (await service.snapshot())["SortedMembers"] == []
        with pytest.raises(Unavailable, match="not running"):
            await kv.cas("key", lambda v: Entries().put("a", 1))
        async with running(service):
            await kv.cas("key", lambda v: Entries().put("a", 1))
        assert (await service.snapshot())["StoreSizes"].keys() == {"key"}
        assert await kv.get("key") == Entries().put("a", 1)
        await kv.delete("key")
        with pytest.raises(Unavailable, match="not running"):
            await kv.cas("key", lambda v: Entries().put("b", 1))


async def test_a_port_that_is_taken_fails_the_start() -> None:
    first = make()
    async with running(first):
        second = make(bind_port=first.settings.bind_port, inline=False)
        await second.live()
        assert isinstance(second.failure, OSError)


async def test_nobody_to_join() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with running(service := make(join_members=(nobody,))):
        assert not service.joined
    strict = make(join_members=(nobody,), abort_if_fast_join_fails=True)
    await strict.live()
    assert isinstance(strict.failure, Unavailable)
    patient = make(join_members=(nobody,), abort_if_join_fails=True, max_join_retries=2, min_join_backoff_s=0.01)
    await patient.live()
    assert isinstance(patient.failure, Unavailable)


async def test_a_member_that_comes_later_is_joined_by_trying_on() -> None:
    late = make()
    early = make(join_members=(address(late),), min_join_backoff_s=0.01, max_join_backoff_s=0.05)
    async with running(early), running(late):
        await until(lambda: early.joined and late.joined)


async def test_tls_and_those_who_come_without() -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    one = make(tls=TlsContexts(server, client))
    two = make(tls=TlsContexts(server, client), join_members=(address(one),))
    async with running(one, two):
        assert one.joined
        assert two.joined
        await one.kv(ENTRIES).cas("key", lambda v: Entries().put("a", 1))
        await until(lambda: two.store.keys() == ["key"])
        plain = make(join_members=(address(one),))
        async with running(plain):
            assert not plain.joined


async def test_a_packet_over_the_bound_and_one_that_is_nothing_are_dropped() -> None:
    service = make(packet_bytes_max=1000)
    async with running(service):
        for data in (b"\x01" + bytes(5000), b"\x07rubbish", b"", b"\x01\x0dshort", b"\x02\x0crubbish"):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.settings.bind_port)
            with contextlib.suppress(OSError):
                writer.write(data)
                writer.write_eof()
                await reader.read()
            writer.close()
        assert service.node is not None
        counts = service.node.transport.counts
        await until(lambda: counts.damaged_packets == 4)
        assert len(service.node.members.members) == 1
        await until(lambda: not service.node.transport.connections)


@pytest.mark.parametrize(
    ("message", "label", "answer"),
    [
        (Ping(7, ""), "mimir-rw", Ack(7)),
        (PushPull((), join=False, user_state=b""), "other", ErrorReply),
        (PushPull((), join=False, user_state=b""), "mimir-rw", PushPull),
    ],
)
async def test_streams_are_answered(message: wire.StreamMessage, label: str, answer: object) -> None:
    service = make()
    async with running(service):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.settings.bind_port)
        writer.write(wire.STREAM_KIND + wire.encode_stream(message, label=label, compression=True))
        data = await reader.read()
        writer.close()
    result = wire.StreamDecoder(bytes_max=1 << 20).feed(data)
    assert result is not None
    assert result.label == "", "replies carry none"
    assert result.message == answer or isinstance(result.message, answer if isinstance(answer, type) else ())


async def test_connections_are_bounded() -> None:
    service = make(packet_connections_max=2)
    async with running(service):
        held = [await asyncio.open_connection("127.0.0.1", service.settings.bind_port) for _ in range(3)]
        assert service.node is not None
        await until(lambda: service.node.transport.counts.refused_connections == 1)
        for _, writer in held:
            writer.close()


async def test_packets_that_get_no_writer_in_time_are_lost() -> None:
    service = make(max_concurrent_writes=1, acquire_writer_timeout_s=0.01, packet_dial_timeout_s=0.3)
    silent = await asyncio.start_server(lambda r, w: asyncio.sleep(1), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with running(service):
        assert service.node is not None
        transport = service.node.transport
        await transport._writers.acquire()
        await transport.send(Endpoint(LOOPBACK, port), encode(Ack(1)))
        assert (transport.counts.send_failures, transport.counts.sent_packets) == (1, 0)
        transport._writers.release()
        await transport.send(Endpoint(LOOPBACK, port), encode(Ack(1)))
        await transport.send(Endpoint(LOOPBACK, free_port()), encode(Ack(1)))
        assert transport.counts.send_failures >= 2
    silent.close()


async def test_messages_are_remembered_for_the_page() -> None:
    service = make(message_history_bytes=200)
    async with running(service):
        for at_s in range(1, 10):
            await service.kv(ENTRIES).cas("key", lambda v, at_s=at_s: (v or Entries()).put("a", at_s))
        sent = (await service.snapshot())["SentMessages"]
        assert 0 < sum(message["Size"] for message in sent) <= 200
        assert sent[0]["Version"] == 9
        assert sent[0]["Changes"] == ["a"]
        await service.delete_messages()
        assert (await service.snapshot())["SentMessages"] == []


async def test_names_of_members_to_join() -> None:
    found, failures = await resolve(
        ["127.0.0.1:1", "dns+localhost:2", "127.0.0.1", "127.0.0.1:1", "http+x", "a.invalid:1"], 7946
    )
    assert Endpoint(LOOPBACK, 1) in found
    assert Endpoint(LOOPBACK, 2) in found
    assert Endpoint(LOOPBACK, 7946) in found
    assert len(found) == len(set(found))
    assert [failure.partition(":")[0] for failure in failures] == ["http+x", "a.invalid"]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("a:1", "a", 1),
        ("a", "a", 7946),
        ("[::1]:5", "::1", 5),
        ("[::1]", "::1", 7946),
        ("::1", "::1", 7946),
    ],
)
def test_host_and_port(text: str, host: str, port: int) -> None:
    assert split_host_port(text, 7946) == (host, port)
