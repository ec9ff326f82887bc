"""Decisions about life signs, without a clock."""

import pytest

from mimir_rw.rpc.keepalive import Keepalive, KeepaliveSettings, Verdict

SETTINGS = KeepaliveSettings(
    busy_interval_s=0.5, idle_interval_s=5.0, ping_timeout_s=2.0, leeway_s=0.0625, late_s=0.25
)  # fmt: skip
PING, DEAD = Verdict.PING, Verdict.DEAD


def looked(keepalive: Keepalive, to_s: float, *, busy: bool) -> list[tuple[float, Verdict]]:
    """What was not quiet, and when, looking whenever that is due."""
    found = []
    while keepalive.due_s <= to_s:
        at_s = keepalive.due_s
        verdict = keepalive.look(at_s, busy=busy)
        if verdict is not Verdict.QUIET:
            found.append((at_s, verdict))
        if verdict is DEAD:
            break
        assert keepalive.due_s > at_s
    return found


def test_silence_brings_a_ping_and_then_the_end() -> None:
    assert looked(Keepalive(SETTINGS, 0.0), 9, busy=True) == [(0.5, PING), (2.5, DEAD)]
    assert looked(Keepalive(SETTINGS, 0.0), 9, busy=False) == [(5.0625, PING), (7.0625, DEAD)]


def test_anything_heard_starts_anew() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    assert looked(keepalive, 2, busy=True) == [(0.5, PING)]
    keepalive.said(0.5)
    keepalive.heard(2.125)
    keepalive.said(2.25)
    assert looked(keepalive, 4, busy=True) == [(2.125 + 0.5 + 0.0625, PING)]


def test_an_answer_that_took_no_time_brings_one_look_for_each_ping() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    looks = []
    while keepalive.due_s < 3:
        at_s = keepalive.due_s
        assert keepalive.look(at_s, busy=True) is PING
        looks.append(at_s)
        keepalive.said(at_s)
        keepalive.heard(at_s + 0.002)
    assert looks == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_one_side_asks_and_the_other_answers() -> None:
    one, other, taken_s = Keepalive(SETTINGS, 0.0), Keepalive(SETTINGS, 0.02), 0.001
    asked = []
    while (at_s := min(one.due_s, other.due_s)) < 10:
        here, there = (one, other) if one.due_s == at_s else (other, one)
        if here.look(at_s, busy=True) is PING:
            asked.append(here)
            here.said(at_s)
            there.heard(at_s + taken_s)
            there.said(at_s + taken_s)
            here.heard(at_s + 2 * taken_s)
    assert len(asked) == 19
    assert set(asked) == {one}


def test_a_side_that_only_hears_says_something_now_and_then() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    pings = []
    while (at_s := keepalive.due_s) <= 3:
        keepalive.heard(at_s - 0.01)
        if keepalive.look(at_s, busy=True) is PING:
            keepalive.said(at_s)
            pings.append(at_s)
    assert pings == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def test_idle_connections_are_looked_at_seldom() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    looks = 0
    while (at_s := keepalive.due_s) <= 3600:
        looks += 1
        if keepalive.look(at_s, busy=False) is PING:
            keepalive.said(at_s)
            keepalive.heard(at_s + 0.002)
    assert looks < 3600 / 5.0 * 2 + 2


def test_a_call_on_a_long_quiet_connection_asks_soon() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    assert looked(keepalive, 4, busy=False) == []
    assert keepalive.due_s == 5.0625
    assert keepalive.busy_from(4.0)
    assert not keepalive.busy_from(4.1), "it is due soon enough"
    assert looked(keepalive, 9, busy=True) == [(4.5, PING), (6.5, DEAD)]


def test_being_held_up_oneself_gives_the_other_side_another_chance() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    assert looked(keepalive, 0.9, busy=True) == [(0.5, PING)]
    assert keepalive.look(60.0, busy=True) is PING
    assert looked(keepalive, 70, busy=True) == [(62.0, DEAD)]


@pytest.mark.parametrize("begun_s", [0.1, 1 / 3, 1e6 + 0.7])
def test_the_end_comes_whatever_floats_make_of_the_times(begun_s: float) -> None:
    settings = KeepaliveSettings()
    keepalive = Keepalive(settings, begun_s)
    (_, ping), (dead_s, dead) = looked(keepalive, begun_s + 10, busy=True)
    assert (ping, dead) == (PING, DEAD)
    assert dead_s - begun_s == pytest.approx(settings.busy_interval_s + settings.ping_timeout_s)
