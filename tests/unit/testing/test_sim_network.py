import asyncio
import itertools

import pytest

from mimir_rw.testing.network import Link
from mimir_rw.testing.simulation import Simulation
from mimir_rw.testing.stream import WINDOW_BYTES


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.events = []
        self.ended = asyncio.Event()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def data_received(self, data):
        self.data += data

    def eof_received(self):
        self.events.append("eof")
        self.ended.set()
        return True

    def connection_lost(self, error):
        self.events.append(type(error).__name__ if error else "lost")

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")


class Pair:
    """A client and a server process, each on a host of its own."""

    def __init__(self, sim: Simulation) -> None:
        self.sim, self.net = sim, sim.network
        self.near_host, self.far_host = self.net.add_host("near"), self.net.add_host("far")
        self.near, self.far = self.net.spawn(self.near_host), self.net.spawn(self.far_host)
        self.client, self.server = Recorder(), Recorder()
        self.listener = None

    async def listen(self, protocol=None):
        self.listener = await asyncio.get_running_loop().create_server(lambda: protocol or self.server, "0.0.0.0", 80)

    async def connect(self):
        return await asyncio.get_running_loop().create_connection(lambda: self.client, "far", 80)

    async def up(self):
        await self.far.run(self.listen())
        await self.near.run(self.connect())
        await asyncio.sleep(0.01)


@pytest.fixture
def sim():
    with Simulation(3) as sim:
        yield sim


@pytest.fixture
def pair(sim):
    return Pair(sim)


def test_bytes_arrive_in_order_and_late(sim, pair):
    async def script():
        await pair.up()
        sim.network.set_link(pair.far_host, Link(latency_s=0.05, jitter_s=0.2))
        begin = sim.loop.time()
        for n in range(100):
            pair.client.transport.write(b"%03d" % n)
            await asyncio.sleep(0.001)
        pair.client.transport.write_eof()
        await asyncio.wait_for(pair.server.ended.wait(), 10)
        assert sim.loop.time() - begin > 0.15
        assert pair.server.data == b"".join(b"%03d" % n for n in range(100))
        pair.server.transport.write(b"answer after the other half has ended")
        await asyncio.sleep(1)
        assert pair.client.data.startswith(b"answer")
        assert pair.client.transport.get_extra_info("peername") == (pair.far_host.address, 80)

    sim.run(script())


def test_a_port_where_nobody_listens_refuses(sim, pair):
    with pytest.raises(ConnectionRefusedError):
        sim.run(_await(pair.near.run(pair.connect())))


async def _await(task):
    return await task


def test_a_name_that_nobody_has_is_an_error(sim, pair):
    with pytest.raises(OSError, match="not known"):
        sim.run(_await(pair.near.run(asyncio.open_connection("nowhere", 1))))


def test_a_port_is_taken_once(sim, pair):
    async def script():
        await pair.far.run(pair.listen())
        with pytest.raises(OSError, match="in use"):
            await pair.far.run(pair.listen())
        pair.listener.close()
        await pair.far.run(pair.listen())

    sim.run(script())


def test_a_reader_that_pauses_slows_the_writer(sim, pair):
    async def script():
        await pair.up()
        pair.server.transport.pause_reading()
        size = WINDOW_BYTES + (100 << 10)
        pair.client.transport.write(bytes(size))
        assert pair.client.events == ["made", "pause"]
        await asyncio.sleep(5)
        assert pair.server.data == b""
        pair.server.transport.resume_reading()
        await asyncio.sleep(1)
        assert pair.client.events == ["made", "pause", "resume"]
        assert len(pair.server.data) == size

    sim.run(script())


def test_a_cut_keeps_silent_and_delivers_what_waited_when_it_heals(sim, pair):
    async def script():
        await pair.up()
        sim.network.cut([pair.near_host], [pair.far_host])
        pair.client.transport.write(b"one")
        await asyncio.sleep(30)
        pair.client.transport.write(b"two")
        await asyncio.sleep(30)
        assert pair.server.data == b""
        assert pair.client.events == ["made"]
        sim.network.heal()
        await asyncio.sleep(3)
        assert pair.server.data == b"onetwo"

    sim.run(script())


def test_a_connection_begun_while_cut_is_made_when_it_heals_or_times_out(sim, pair):
    async def script():
        await pair.far.run(pair.listen())
        sim.network.cut([pair.near_host], [pair.far_host])
        trying = pair.near.run(pair.connect())
        await asyncio.sleep(10)
        assert not trying.done()
        sim.network.heal()
        await asyncio.sleep(6)
        assert trying.done()
        sim.network.cut([pair.near_host], [pair.far_host])
        with pytest.raises(TimeoutError):
            await pair.near.run(pair.connect())

    sim.run(script())


def test_the_death_of_a_process_resets_its_connections_and_frees_its_port(sim, pair):
    async def script():
        await pair.up()
        pair.client.transport.write(b"x")
        pair.far.kill()
        await asyncio.sleep(1)
        ends = pair.client.events[-1]
        assert ends in ("eof", "ConnectionResetError")
        if ends == "eof":
            pair.client.transport.write(b"y")
            await asyncio.sleep(1)
            assert pair.client.events[-1] == "ConnectionResetError"
        with pytest.raises(ConnectionRefusedError):
            await pair.near.run(pair.connect())
        assert pair.server.events == ["made"]
        await sim.network.spawn(pair.far_host).run(pair.listen())
        await pair.near.run(pair.connect())

    sim.run(script())


def test_death_behind_a_cut_is_learned_after_it(sim, pair):
    async def script():
        await pair.up()
        sim.network.cut([pair.near_host], [pair.far_host])
        pair.far.kill()
        pair.client.transport.write(b"lost")
        await asyncio.sleep(60)
        assert pair.client.events == ["made"]
        sim.network.heal()
        await asyncio.sleep(5)
        assert pair.client.events[-1] == "ConnectionResetError"

    sim.run(script())


def test_a_frozen_process_takes_connections_and_bytes_but_does_not_answer(sim, pair):
    async def script():
        await pair.far.run(pair.listen())
        pair.far.freeze()
        await pair.near.run(pair.connect())
        pair.client.transport.write(b"hello")
        await asyncio.sleep(60)
        assert pair.server.events == []
        pair.far.thaw()
        await asyncio.sleep(1)
        assert (pair.server.events, pair.server.data) == (["made"], b"hello")

    sim.run(script())


def test_bytes_for_a_closed_end_are_answered_with_a_reset(sim, pair):
    async def script():
        await pair.up()
        pair.server.transport.close()
        await asyncio.sleep(1)
        assert (pair.server.events, pair.client.events) == (["made", "lost"], ["made", "eof"])
        pair.client.transport.write(b"late")
        await asyncio.sleep(1)
        assert pair.client.events == ["made", "eof", "ConnectionResetError"]

    sim.run(script())


def test_abort_resets_the_other_side(sim, pair):
    async def script():
        await pair.up()
        pair.client.transport.abort()
        await asyncio.sleep(1)
        assert (pair.client.events, pair.server.events) == (["made", "lost"], ["made", "ConnectionResetError"])

    sim.run(script())


def test_links_refuse_and_break_by_chance(sim, pair):
    async def attempt():
        try:
            _reader, writer = await asyncio.open_connection("far", 80)
        except ConnectionRefusedError:
            return "refused"
        try:
            for _ in range(20):
                writer.write(b"x")
                await asyncio.sleep(0.01)
            writer.close()
            await writer.wait_closed()
        except ConnectionResetError:
            return "broken"
        return "whole"

    async def script():
        await pair.far.run(pair.listen(asyncio.Protocol()))
        sim.network.set_link(pair.far_host, Link(refuse=0.3, breaks=0.03))
        outcomes = [await pair.near.run(attempt()) for _ in range(60)]
        return sorted(set(outcomes))

    assert sim.run(script()) == ["broken", "refused", "whole"]


def test_a_slow_link_takes_its_time(sim, pair):
    async def script():
        await pair.up()
        sim.network.set_link(pair.far_host, Link(bytes_per_s=1000))
        pair.client.transport.write(bytes(5000))
        await asyncio.sleep(4.9)
        assert pair.server.data == b""
        await asyncio.sleep(0.2)
        assert len(pair.server.data) == 5000

    sim.run(script())


def test_a_buffered_protocol_gets_its_bytes(sim, pair):
    class Small(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer, self.data = bytearray(3), b""

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, nbytes):
            self.data += self.buffer[:nbytes]

    async def script():
        small = Small()
        await pair.far.run(pair.listen(small))
        await pair.near.run(pair.connect())
        pair.client.transport.writelines([b"abc", memoryview(b"defg"), bytearray(b"h")])
        await asyncio.sleep(1)
        assert small.data == b"abcdefgh"

    sim.run(script())


def test_a_connect_that_is_cancelled_leaves_no_connection(sim, pair):
    async def script():
        await pair.far.run(pair.listen())
        for delay_s in itertools.takewhile(lambda s: s < 0.003, itertools.count(0, 0.0001)):
            trying = pair.near.run(pair.connect())
            await asyncio.sleep(delay_s)
            trying.cancel()
            await asyncio.wait([trying])
            if not trying.cancelled():
                trying.result()[0].close()
            await asyncio.sleep(1)
            if pair.server.transport is not None and not pair.server.transport.is_closing():
                pair.server.transport.close()
            await asyncio.sleep(1)
            assert (list(pair.near.transports), list(pair.far.transports)) == ([], [])

    sim.run(script())
