"""Calls between processes under faults; and what is broken on purpose is seen."""

import asyncio

import pytest

from mimir_rw.model.errors import Unavailable
from mimir_rw.rpc.client import ClientStream
from mimir_rw.rpc.peer import ReconnectingPeer
from mimir_rw.testing import rpc_scenario
from mimir_rw.testing.seeds import SCENARIOS, run_seed
from tests.sim.broken import seen

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_calls_end_in_time_and_are_carried_out_once(seed):
    assert run_seed(SCENARIOS["rpc"], seed).complaints == ()


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(rpc_scenario, "LASTS_S", 200.0)


def test_a_call_that_is_carried_out_twice(short, monkeypatch):
    once = ReconnectingPeer.call

    async def twice(self, method, message, **options):
        await once(self, method, message, **options)
        return await once(self, method, message, **options)

    monkeypatch.setattr(ReconnectingPeer, "call", twice)
    assert seen("rpc", "was carried out 2 times")


def test_a_call_that_outlives_its_timeout(short, monkeypatch):
    once = ReconnectingPeer.call

    async def often(self, method, message, **options):
        for _ in range(5):
            try:
                return await once(self, method, message, **options)
            except Unavailable:
                await asyncio.sleep(0.5)
        return await once(self, method, message, **options)

    monkeypatch.setattr(ReconnectingPeer, "call", often)
    assert seen("rpc", "s to go")


def test_a_message_of_a_stream_that_is_lost(short, monkeypatch):
    arrived = ClientStream.arrived

    def forgetful(self, message, cost):
        if message.header["n"] != 33:
            arrived(self, message, cost)

    monkeypatch.setattr(ClientStream, "arrived", forgetful)
    assert seen("rpc", "a stream that ended gave")
