"""Calls between a server and its peers over loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.trace import tracing
from mimir_rw.model.errors import BadRequest, Cancelled, Internal, MimirError, Overloaded, TooLarge, Unavailable
from mimir_rw.rpc.framing import FrameBounds
from mimir_rw.rpc.handshake import PROTOCOL_MAX
from mimir_rw.rpc.metrics import RpcMetrics
from mimir_rw.rpc.server import RpcServer
from mimir_rw.rpc.transport import CallContext, Message
from tests.unit.rpc.harness import CLIENT_ID, SERVER_ID, Ends, until, value


class Component:
    """Answers what the tests ask; remembers what became of its handlers."""

    def __init__(self) -> None:
        self.contexts: list[CallContext] = []
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.sent = 0
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()

    def register(self, server: RpcServer) -> None:
        server.unary("test.echo", self.echo)
        server.unary("test.fail", self.fail)
        server.unary("test.break", self.broken)
        server.unary("test.wait", self.wait)
        server.stream("test.count", self.count)
        server.stream("test.flood", self.flood)

    async def echo(self, context: CallContext, message: Message) -> Message:
        self.contexts.append(context)
        return message

    async def fail(self, context: CallContext, message: Message) -> Message:
        raise BadRequest("no", error_id="label-invalid")

    async def broken(self, context: CallContext, message: Message) -> Message:
        raise ZeroDivisionError("secret")

    async def wait(self, context: CallContext, message: Message) -> Message:
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ends.put_nowait("cancelled")
            raise
        return message

    async def count(self, context: CallContext, message: Message) -> AsyncIterator[Message]:
        for i in range(message.header["to"]):
            yield Message({"i": i}, bytes(8))
        if message.header.get("fail"):
            raise BadRequest("enough")

    async def flood(self, context: CallContext, message: Message) -> AsyncIterator[Message]:
        try:
            while True:
                yield Message({}, bytes(10_000))
                self.sent += 1
        finally:
            self.ends.put_nowait("closed")


@pytest.fixture
async def component() -> Component:
    return Component()


async def test_a_call_carries_header_payload_and_context(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        assert (peer.healthy, peer.protocol, peer.epoch) == (True, 0, "")
        await peer.connect()
        sent = Message({"a": [1, "x"], "b": b"raw"}, b"payload")
        with tracing("id"):
            got = await peer.call("test.echo", sent, tenant="t", timeout_s=5)
        assert (got.header, bytes(got.payload)) == (sent.header, b"payload")
        assert component.contexts == [CallContext("t", "id", 5.0, CLIENT_ID.instance, PROTOCOL_MAX)]
        assert (peer.protocol, peer.epoch) == (PROTOCOL_MAX, SERVER_ID.epoch)
        assert (
            value(ends.server_metrics, 'mimir_rw_rpc_requests_total{method="test.echo",side="server",status="ok"}') == 1
        )
        assert (
            value(ends.client_metrics, 'mimir_rw_rpc_requests_total{method="test.echo",side="client",status="ok"}') == 1
        )


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 16384, 100_000, 3_000_000])
async def test_payloads_of_any_size_come_back_equal(component: Component, size: int) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        payload = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1)
        peer = pool.peer(f"127.0.0.1:{server.port}")
        got = await peer.call("test.echo", Message({}, payload[:size]), timeout_s=5)
        assert bytes(got.payload) == payload[:size]


async def test_concurrent_calls_do_not_mix(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        messages = [Message({"n": n}, bytes([n % 256]) * (n * 997 % 60_000)) for n in range(300)]
        answers = await asyncio.gather(*(peer.call("test.echo", m, timeout_s=20) for m in messages))
        assert [(a.header, bytes(a.payload)) for a in answers] == [(m.header, m.payload) for m in messages]
        assert value(ends.server_metrics, 'mimir_rw_rpc_connections{side="server"}') == 1
        assert server.inflight == server.inflight_bytes == 0


async def test_errors_keep_class_text_and_id(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        with pytest.raises(BadRequest) as caught:
            await peer.call("test.fail", Message(), timeout_s=5)
        assert (str(caught.value), caught.value.error_id) == ("no (err-mimir-label-invalid)", "label-invalid")
        with pytest.raises(Internal, match=r"^test.break failed: ZeroDivisionError$"):
            await peer.call("test.break", Message(), timeout_s=5)
        with pytest.raises(Unavailable, match="does not answer"):
            await peer.call("test.unknown", Message(), timeout_s=5)
        with pytest.raises(Unavailable, match="does not answer"):
            await peer.call("test.count", Message(), timeout_s=5)


async def test_the_deadline_ends_the_call_on_both_sides(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        with pytest.raises(Unavailable, match="timed out"):
            await peer.call("test.wait", Message(), timeout_s=0.05)
        assert await component.ends.get() == "cancelled"


async def test_cancelling_the_caller_cancels_the_handler(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        call = asyncio.create_task(peer.call("test.wait", Message(), timeout_s=60))
        await component.entered.wait()
        call.cancel()
        assert await component.ends.get() == "cancelled"
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await peer.call("test.echo", Message({"still": 1}), timeout_s=5)).header == {"still": 1}
        assert value(ends.client_metrics, 'mimir_rw_rpc_inflight_requests{side="client"}') == 0


async def test_a_call_cancelled_before_it_began_leaves_nothing(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        await peer.connect()
        call = asyncio.create_task(peer.call("test.wait", Message(), timeout_s=60))
        await asyncio.sleep(0)
        call.cancel()  # call and cancel leave in one write
        with contextlib.suppress(asyncio.CancelledError):
            await call
        await peer.call("test.echo", Message(), timeout_s=5)
        assert server.inflight == 0
        assert not component.entered.is_set()


async def test_a_stream_gives_its_messages_in_order_then_ends_or_fails(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        got = [m.header["i"] async for m in peer.stream("test.count", Message({"to": 50_000}), timeout_s=30)]
        assert got == list(range(50_000))
        failing = peer.stream("test.count", Message({"to": 3, "fail": True}), timeout_s=5)
        assert [(await anext(failing)).header["i"] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(BadRequest, match=r"^enough$"):
            await anext(failing)


async def test_a_slow_reader_holds_the_sender(component: Component) -> None:
    ends = Ends()
    ends.connection = replace(ends.connection, stream_window_bytes=100_000)
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        async with contextlib.aclosing(peer.stream("test.flood", Message(), timeout_s=30)) as stream:
            await anext(stream)
            for _ in range(20):  # other calls pass a stream that is held
                await peer.call("test.echo", Message(), timeout_s=5)
            assert 9 <= component.sent <= 11
            for _ in range(30):
                await anext(stream)
            await peer.call("test.echo", Message(), timeout_s=5)
            assert 31 <= component.sent <= 42
        assert await component.ends.get() == "closed"


async def test_leaving_a_stream_closes_the_handler(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        async with contextlib.aclosing(peer.stream("test.flood", Message(), timeout_s=0)) as stream:
            await anext(stream)
        assert await component.ends.get() == "closed"
        with pytest.raises(Unavailable, match="timed out"):
            async for _ in peer.stream("test.flood", Message(), timeout_s=0.05):
                pass
        assert await component.ends.get() == "closed"
        await peer.call("test.echo", Message(), timeout_s=5)
        assert server.inflight == 0


async def test_calls_over_the_bounds_are_refused(component: Component) -> None:
    ends = Ends()
    ends.connection = replace(ends.connection, calls_max=2)
    async with ends.server(component.register) as server:
        ends.connection = replace(ends.connection, calls_max=3)
        async with ends.pool() as pool:
            peer = pool.peer(f"127.0.0.1:{server.port}")
            waiting = [asyncio.create_task(peer.call("test.wait", Message(), timeout_s=9)) for _ in range(2)]
            await component.entered.wait()
            with pytest.raises(Overloaded, match="being answered"):
                await peer.call("test.echo", Message(), timeout_s=5)
            third = asyncio.create_task(peer.call("test.echo", Message(), timeout_s=5))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="in flight"):
                await peer.call("test.echo", Message(), timeout_s=5)
            with pytest.raises(Overloaded):
                await third
            component.gate.set()
            await asyncio.gather(*waiting)
            await peer.call("test.echo", Message(), timeout_s=5)


async def test_bytes_in_flight_are_bounded(component: Component) -> None:
    ends = Ends()
    ends.server_settings = replace(ends.server_settings, inflight_bytes_max=1000)
    async with ends.server(component.register) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        waiting = asyncio.create_task(peer.call("test.wait", Message({}, bytes(900)), timeout_s=9))
        await component.entered.wait()
        with pytest.raises(Overloaded, match="1000 bytes"):
            await peer.call("test.echo", Message({}, bytes(101)), timeout_s=5)
        await peer.call("test.echo", Message({}, bytes(100)), timeout_s=5)
        component.gate.set()
        await waiting
        await peer.call("test.echo", Message({}, bytes(2000)), timeout_s=5)  # one alone may be larger


async def test_messages_larger_than_the_other_side_takes_are_not_sent(component: Component) -> None:
    ends = Ends()
    ends.connection = replace(ends.connection, bounds=FrameBounds(payload_bytes_max=50_000))
    async with ends.server(component.register) as server:
        ends.connection = replace(ends.connection, bounds=FrameBounds())
        async with ends.pool() as pool:
            peer = pool.peer(f"127.0.0.1:{server.port}")
            with pytest.raises(TooLarge):
                await peer.call("test.echo", Message({}, bytes(50_001)), timeout_s=5)
            assert len((await peer.call("test.echo", Message({}, bytes(50_000)), timeout_s=5)).payload) == 50_000


async def test_a_stop_lets_running_calls_end_and_refuses_new_ones(component: Component) -> None:
    ends = Ends()
    async with ends.pool() as pool, ends.server(component.register) as server:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        call = asyncio.create_task(peer.call("test.wait", Message({"n": 1}), timeout_s=9))
        await component.entered.wait()
        server.request_stop()
        await until(lambda: not peer.healthy)
        with pytest.raises(Unavailable, match="stopping"):
            await peer.call("test.echo", Message(), timeout_s=5)
        component.gate.set()
        assert (await call).header == {"n": 1}


async def test_calls_that_outlast_the_stop_are_cancelled(component: Component) -> None:
    ends = Ends()
    ends.server_settings = replace(ends.server_settings, graceful_s=0.05)
    async with ends.pool() as pool:
        async with ends.server(component.register) as server:
            peer = pool.peer(f"127.0.0.1:{server.port}")
            call = asyncio.create_task(peer.call("test.wait", Message(), timeout_s=9))
            await component.entered.wait()
        with pytest.raises(Unavailable, match="has stopped"):
            await call
        assert await component.ends.get() == "cancelled"


async def test_calls_are_among_the_requests_that_dashboards_look_at() -> None:
    metrics = Metrics()
    served = metrics.histograms("served_seconds", "", ("method", "route", "status_code", "ws"))
    side = RpcMetrics(metrics, served=served).server
    for error in (None, BadRequest("x"), Cancelled("x")):
        side.method("ingester.push").ended(0.1, error)
        side.method("test.echo").ended(0.1, error)
    route = 'served_seconds_count{method="gRPC",route="/cortex.Ingester/Push"'
    for status in ("success", "error", "cancel"):
        assert value(metrics, f'{route},status_code="{status}",ws="false"}}') == 1
    assert len(served.items()) == 3


async def test_connections_over_the_bound_are_refused(component: Component) -> None:
    ends = Ends()
    ends.server_settings = replace(ends.server_settings, connections_max=1)
    async with ends.server(component.register) as server, ends.pool() as first, ends.pool() as second:
        await first.peer(f"127.0.0.1:{server.port}").connect()
        with pytest.raises(Unavailable, match="lost"):
            await second.peer(f"127.0.0.1:{server.port}").connect()
        await first.peer(f"127.0.0.1:{server.port}").call("test.echo", Message(), timeout_s=5)


async def test_a_call_without_time_is_not_made(component: Component) -> None:
    ends = Ends()
    async with ends.server(component.register) as server, ends.pool() as pool:
        with pytest.raises(Unavailable, match="no time is left"):
            await pool.peer(f"127.0.0.1:{server.port}").call("test.echo", Message(), timeout_s=0)
        assert component.contexts == []


async def test_a_protocol_too_old_for_the_message_sends_nothing(component: Component) -> None:
    ends = Ends()
    old = replace(SERVER_ID, protocol_max=1)
    async with ends.server(component.register, identity=old) as server, ends.pool() as pool:
        peer = pool.peer(f"127.0.0.1:{server.port}")
        await peer.call("test.echo", Message(), timeout_s=5)
        assert peer.protocol == component.contexts[0].protocol == 1
        with pytest.raises(Unavailable, match="version 1"):
            await peer.call("test.echo", Message(), timeout_s=5, protocol_min=2)
        assert len(component.contexts) == 1


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "a..b:1", ":"])
async def test_an_address_that_is_none_is_unavailable(address: str) -> None:
    async with Ends().pool() as pool:
        with pytest.raises(MimirError) as caught:
            await pool.peer(address).call("test.echo", Message(), timeout_s=5)
        assert type(caught.value) is Unavailable
