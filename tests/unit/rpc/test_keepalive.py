"""Decisions about life signs, without a clock."""

from mimir_rw.rpc.keepalive import Keepalive, KeepaliveSettings, Verdict

SETTINGS = KeepaliveSettings(busy_interval_s=0.5, idle_interval_s=5.0, ping_timeout_s=2.0, tick_s=0.25)


def looked(keepalive: Keepalive, from_s: float, to_s: float, *, busy: bool) -> list[tuple[float, Verdict]]:
    """What was not quiet, and when, looking every tick."""
    found = []
    for tick in range(int(from_s * 4) + 1, int(to_s * 4) + 1):
        verdict = keepalive.look(tick / 4, busy=busy)
        if verdict is not Verdict.QUIET:
            found.append((tick / 4, verdict))
        if verdict is Verdict.DEAD:
            break
    return found


def test_silence_brings_a_ping_and_then_the_end() -> None:
    assert looked(Keepalive(SETTINGS, 0.0), 0, 9, busy=True) == [(0.5, Verdict.PING), (2.5, Verdict.DEAD)]
    assert looked(Keepalive(SETTINGS, 0.0), 0, 9, busy=False) == [(5.0, Verdict.PING), (7.0, Verdict.DEAD)]


def test_anything_heard_starts_anew() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    assert looked(keepalive, 0, 2, busy=True) == [(0.5, Verdict.PING)]
    keepalive.said(0.5)
    keepalive.heard(2.1)
    keepalive.said(2.2)
    assert looked(keepalive, 2, 4, busy=True) == [(2.75, Verdict.PING)]


def test_a_side_that_only_hears_says_something_now_and_then() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    pings = []
    for tick in range(1, 13):
        keepalive.heard(tick / 4 - 0.01)
        if keepalive.look(tick / 4, busy=True) is Verdict.PING:
            keepalive.said(tick / 4)
            pings.append(tick / 4)
    assert pings == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def test_a_call_on_a_long_quiet_connection_asks_at_once() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    assert looked(keepalive, 0, 4, busy=False) == []
    assert looked(keepalive, 4, 9, busy=True) == [(4.25, Verdict.PING), (6.25, Verdict.DEAD)]


def test_being_held_up_oneself_gives_the_other_side_another_chance() -> None:
    keepalive = Keepalive(SETTINGS, 0.0)
    assert looked(keepalive, 0, 1, busy=True) == [(0.5, Verdict.PING)]
    assert keepalive.look(60.0, busy=True) is Verdict.PING
    assert looked(keepalive, 60, 70, busy=True) == [(62.0, Verdict.DEAD)]
