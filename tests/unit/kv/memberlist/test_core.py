"""The membership rules of ring-and-gossip.md 15, one by one, without network or clock."""

from __future__ import annotations

import math
from random import Random

import pytest

from mimir_rw.kv.memberlist.core import Deliver, ExchangeState, Membership, NameTaken, ProtocolMismatch, SendPacket
from mimir_rw.kv.memberlist.messages import (
    PROTOCOL_VERSIONS,
    Ack,
    Alive,
    Dead,
    Endpoint,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    RemoteNode,
    Suspect,
    User,
    decode,
)
from mimir_rw.kv.memberlist.settings import MemberlistSettings
from mimir_rw.kv.memberlist.suspicion import Suspicion

SETTINGS = MemberlistSettings()
ME = "me"


def endpoint(name: str, host: int = 0) -> Endpoint:
    return Endpoint(bytes((10, 0, host, sum(name.encode()) % 256)), 7946)


def alive(name: str, incarnation: int = 1, *, at: Endpoint | None = None, meta: bytes = b"") -> Alive:
    return Alive(incarnation, name, at or endpoint(name), meta, PROTOCOL_VERSIONS)


class Bench:
    """One membership under test; `heard` takes what others say, `said` gives what it has to say."""

    def __init__(self, *names: str, settings: MemberlistSettings = SETTINGS) -> None:
        self.core = Membership(name=ME, endpoint=endpoint(ME), settings=settings, rng=Random(1))
        self.core.start(0.0)
        for name in names:
            self.heard(alive(name))
        self.drain()

    def heard(self, message: Message, *, now: float = 1.0, sender: Endpoint | None = None) -> list:
        return self.core.receive(message, sender, now)

    def drain(self) -> None:
        """Let what waits to be gossiped be forgotten."""
        while self.said():
            pass

    def said(self) -> list[Message]:
        return [decode(data) for data in self.core._piggyback(0)]

    def state(self, name: str) -> NodeState:
        return self.core.members[name].state

    def probe(self) -> list:
        """The next probe, and only that."""
        return self.core.tick(self.core._prober.next_at)

    def until(self, now: float) -> list:
        """Run every tick up to `now`."""
        effects = []
        while (due := self.core.next_due()) <= now:
            effects += self.core.tick(due)
        return effects


def packets(effects: list) -> list[tuple[Endpoint, Message]]:
    """Where to, and the first message of each packet."""
    return [(e.to, decode(e.messages[0])) for e in effects if isinstance(e, SendPacket)]


# Alive.


def test_a_new_node_is_taken_up_and_told_on() -> None:
    bench = Bench()
    bench.heard(alive("a"))
    assert bench.state("a") is NodeState.ALIVE
    assert bench.said() == [alive("a")]


@pytest.mark.parametrize(("incarnation", "taken"), [(4, False), (5, False), (6, True)])
def test_only_a_higher_incarnation_is_news(incarnation: int, taken: bool) -> None:
    bench = Bench()
    bench.heard(alive("a", 5))
    bench.drain()
    bench.heard(alive("a", incarnation, meta=b"new"))
    assert (bench.core.members["a"].meta == b"new") is taken
    assert bool(bench.said()) is taken


def test_a_name_is_not_taken_over_from_another_address() -> None:
    bench = Bench("a")
    other = endpoint("a", host=9)
    bench.heard(alive("a", 2, at=other))
    assert bench.core.members["a"].endpoint == endpoint("a")
    bench.heard(Dead(1, "a", "b"))
    bench.heard(alive("a", 2, at=other), now=1000)
    assert bench.state("a") is NodeState.DEAD


def test_two_that_have_my_name_do_not_refute_each_other_for_ever() -> None:
    bench = Bench("a")
    (taken,) = bench.heard(alive(ME, 5, at=endpoint(ME, host=9)))
    assert taken == NameTaken(ME, endpoint(ME), endpoint(ME, host=9))
    assert bench.said() == []
    assert bench.core.name_conflicts == 1


def test_the_name_of_one_that_left_may_be_taken_over() -> None:
    bench = Bench("a")
    bench.heard(Dead(1, "a", "a"))
    bench.heard(alive("a", 1, at=endpoint("a", host=9)))
    assert bench.state("a") is NodeState.ALIVE
    assert bench.core.members["a"].endpoint == endpoint("a", host=9)


@pytest.mark.parametrize(("later", "taken"), [(9, False), (11, True)])
def test_the_name_of_a_dead_one_may_be_taken_over_after_the_reclaim_time(later: float, taken: bool) -> None:
    bench = Bench("a", settings=MemberlistSettings(dead_node_reclaim_s=10))
    bench.heard(Dead(1, "a", "b"), now=1)
    bench.heard(alive("a", 1, at=endpoint("a", host=9)), now=1 + later)
    assert (bench.state("a") is NodeState.ALIVE) is taken


def test_the_number_of_nodes_is_bounded() -> None:
    bench = Bench("a", "b", settings=MemberlistSettings(nodes_max=3))
    bench.heard(alive("c"))
    assert "c" not in bench.core.members
    assert bench.core.refused_nodes == 1


# About me.


@pytest.mark.parametrize(
    ("accusation", "incarnation"),
    [
        (Suspect(1, ME, "a"), 2),
        (Suspect(7, ME, "a"), 8),
        (Dead(1, ME, "a"), 2),
        (Dead(7, ME, ME), 8),
        (alive(ME, 7), 8),
        (alive(ME, 1, meta=b"not mine"), 2),
    ],
    ids=["suspect", "suspect ahead", "dead", "left ahead", "alive ahead", "other meta"],
)
def test_what_is_wrong_about_me_is_refuted(accusation: Message, incarnation: int) -> None:
    bench = Bench("a")
    bench.heard(accusation)
    assert bench.state(ME) is NodeState.ALIVE
    assert bench.said() == [alive(ME, incarnation)]
    assert bench.core.health_score == 1


@pytest.mark.parametrize("message", [alive(ME, 1), alive(ME, 0), Suspect(0, ME, "a"), Dead(0, ME, "a")])
def test_what_is_old_or_right_about_me_is_ignored(message: Message) -> None:
    bench = Bench("a")
    bench.heard(message)
    assert bench.said() == []
    assert bench.core.health_score == 0


# Suspect and dead.


def test_suspicion_ends_in_death() -> None:
    bench = Bench("a", "b")
    bench.core._prober.stop()
    bench.heard(Suspect(1, "a", "b"), now=10)
    assert bench.state("a") is NodeState.SUSPECT
    assert bench.said() == [Suspect(1, "a", "b")]
    bench.until(29.9)
    assert bench.state("a") is NodeState.SUSPECT
    bench.until(30)
    assert bench.state("a") is NodeState.DEAD
    assert Dead(1, "a", ME) in bench.said()


def test_suspicion_is_refuted_by_a_higher_incarnation() -> None:
    bench = Bench("a", "b")
    bench.core._prober.stop()
    bench.heard(Suspect(1, "a", "b"), now=10)
    bench.heard(alive("a", 1))
    assert bench.state("a") is NodeState.SUSPECT
    bench.heard(alive("a", 2), now=11)
    assert bench.state("a") is NodeState.ALIVE
    bench.until(100)
    assert bench.state("a") is NodeState.ALIVE


def test_others_who_suspect_too_are_counted_and_told_on_once() -> None:
    bench = Bench("a", "b", "c", "d")
    bench.heard(Suspect(1, "a", "b"))
    bench.drain()
    bench.heard(Suspect(1, "a", "b"))
    assert bench.said() == []
    bench.heard(Suspect(1, "a", "c"))
    assert bench.said() == [Suspect(1, "a", "c")]
    bench.drain()
    bench.heard(Suspect(1, "a", "d"))
    bench.drain()
    bench.heard(Suspect(1, "a", "e"))
    assert bench.said() == []


@pytest.mark.parametrize(
    "message",
    [Suspect(0, "a", "b"), Dead(0, "a", "b"), Suspect(1, "nobody", "b"), Dead(1, "nobody", "b")],
)
def test_old_accusations_and_those_of_strangers_are_ignored(message: Message) -> None:
    bench = Bench("a")
    bench.heard(message)
    assert bench.state("a") is NodeState.ALIVE
    assert "nobody" not in bench.core.members
    assert bench.said() == []


@pytest.mark.parametrize(("origin", "state"), [("b", NodeState.DEAD), ("a", NodeState.LEFT)])
def test_dead_by_others_or_left_by_itself(origin: str, state: NodeState) -> None:
    bench = Bench("a")
    bench.heard(Dead(1, "a", origin))
    assert bench.state("a") is state
    assert bench.said() == [Dead(1, "a", origin)]
    bench.drain()
    bench.heard(Suspect(2, "a", "c"))
    bench.heard(Dead(2, "a", "c"))
    assert bench.state("a") is state
    assert bench.said() == []


def test_the_gone_are_forgotten() -> None:
    bench = Bench("a", "b")
    bench.core._prober.stop()
    bench.heard(Dead(1, "a", "b"), now=1)
    bench.until(29)
    assert "a" in bench.core.members
    bench.until(100)
    assert sorted(bench.core.members) == ["b", ME]


@pytest.mark.parametrize(
    ("nodes", "confirmations", "seconds"),
    [(3, 0, 20), (4, 0, 120), (4, 1, 120 - 100 * math.log(2) / math.log(3)), (4, 2, 20), (1000, 2, 60)],
)
def test_suspicion_timeouts(nodes: int, confirmations: int, seconds: float) -> None:
    suspicion = Suspicion("a", nodes=nodes, settings=SETTINGS, now=5.0)
    for i in range(confirmations):
        assert suspicion.confirm(f"other-{i}")
    assert suspicion.due - 5.0 == pytest.approx(seconds, abs=0.001)


# Probes.


def test_a_probe_that_is_answered() -> None:
    bench = Bench("a")
    bench.core.health_score = 3
    ((to, ping),) = packets(bench.probe())
    assert to == endpoint("a")
    assert ping == Ping(1, "a", endpoint(ME), ME)
    bench.heard(Ack(1), now=5.5)
    assert bench.core.health_score == 2
    bench.heard(Ack(1), now=5.6)
    assert bench.core.health_score == 2
    assert packets(bench.probe()) == [(to, Ping(2, "a", endpoint(ME), ME))]


def test_a_probe_that_nobody_answers() -> None:
    bench = Bench("a", "b", "c", "d", "e")
    ((_, ping),) = packets(bench.probe())
    began = bench.core._prober.current.ends_at - 5
    asked = packets(bench.until(began + 2))
    assert len(asked) == 3
    for to, request in asked:
        assert isinstance(request, IndirectPing)
        assert (request.seq, request.node, request.target) == (ping.seq, ping.node, endpoint(ping.node))
        assert request.nack
        assert to not in (endpoint(ping.node), endpoint(ME))
    for _ in range(2):
        bench.heard(Nack(ping.seq))
    bench.core.tick(began + 5)
    assert bench.state(ping.node) is NodeState.SUSPECT
    assert bench.core.health_score == 1, "one of three did not even say no"


def test_an_indirect_answer_ends_a_probe() -> None:
    bench = Bench("a", "b")
    ((_, ping),) = packets(bench.probe())
    bench.until(bench.core._prober.current.indirect_at)
    bench.heard(Ack(ping.seq))
    assert bench.core._prober.current is None
    assert bench.state(ping.node) is NodeState.ALIVE


def test_every_node_is_probed_once_in_a_round() -> None:
    names = ["a", "b", "c", "d"]
    bench = Bench(*names)
    for _ in range(3):
        probed = []
        while len(probed) < 4:
            for _, message in packets(bench.core.tick(bench.core.next_due())):
                if isinstance(message, Ping):
                    probed.append(message.node)
                    bench.heard(Ack(message.seq))
        assert sorted(probed) == names


def test_a_suspect_hears_of_it_with_the_ping() -> None:
    bench = Bench("a")
    bench.heard(Suspect(1, "a", "b"))
    (packet,) = [e for e in bench.until(5) if isinstance(e, SendPacket) and decode(e.messages[0]).__class__ is Ping]
    assert decode(packet.messages[1]) == Suspect(1, "a", ME)


def test_poor_health_makes_patient() -> None:
    bench = Bench("a")
    bench.core.health_score = 3
    began = bench.core._prober.next_at
    bench.core.tick(began)
    assert bench.core._prober.current.ends_at == began + 20


def test_pings_are_answered_where_they_ask_for_it() -> None:
    bench = Bench()
    sender, source = endpoint("sender"), endpoint("source")
    assert packets(bench.heard(Ping(9, ME, source, "a"), sender=sender)) == [(source, Ack(9))]
    assert packets(bench.heard(Ping(9, ""), sender=sender)) == [(sender, Ack(9))]
    assert bench.heard(Ping(9, "other", source), sender=sender) == []
    assert bench.heard(Ping(9, ME)) == []


def test_an_indirect_ping_is_passed_on_and_its_answer_back() -> None:
    bench = Bench("a")
    request = IndirectPing(77, endpoint("t"), "t", nack=True, source=endpoint("a"), source_node="a")
    ((to, ping),) = packets(bench.heard(request))
    assert (to, ping.node, ping.source) == (endpoint("t"), "t", endpoint(ME))
    assert packets(bench.heard(Ack(ping.seq))) == [(endpoint("a"), Ack(77))]
    assert not [m for _, m in packets(bench.until(4)) if isinstance(m, Nack)]


@pytest.mark.parametrize("nack", [True, False])
def test_an_indirect_ping_that_is_not_answered(nack: bool) -> None:
    bench = Bench()
    bench.core._prober.next_at = math.inf
    bench.heard(IndirectPing(77, endpoint("t"), "t", nack=nack, source=endpoint("a")), now=1)
    assert packets(bench.until(2.9)) == []
    assert packets(bench.until(3)) == ([(endpoint("a"), Nack(77))] if nack else [])


def test_relays_are_bounded() -> None:
    bench = Bench()
    for seq in range(2000):
        bench.heard(IndirectPing(seq, endpoint("t"), "t", nack=True), sender=endpoint("a"))
    assert len(bench.core._prober.relays_due(1000)) == 1024


# Gossip, push/pull.


def test_gossip_goes_to_three_and_ends() -> None:
    bench = Bench("a", "b", "c", "d", "e")
    bench.core._prober.stop()
    bench.core.local.add(b"\x08news", subject="key")
    sent = packets(bench.until(3))
    assert len(sent) == 4
    assert {message for _, message in sent} == {User(b"news")}
    assert len({to for to, _ in sent[:3]}) == 3
    assert bench.core.next_due() > 20, "with nothing to say there is nothing to do"


def test_gossip_goes_to_the_newly_dead_too_and_not_to_those_that_left() -> None:
    bench = Bench("a", "b")
    bench.core._prober.stop()
    bench.heard(Dead(1, "a", "c"))
    bench.heard(Dead(1, "b", "b"))
    bench.drain()
    bench.core.local.add(b"\x08news", subject="key")
    assert {to for to, _ in packets(bench.until(5))} == {endpoint("a")}


def test_news_ride_on_answers() -> None:
    bench = Bench("a")
    bench.core.local.add(b"\x08news", subject="key")
    (packet,) = bench.heard(Ping(9, ME, endpoint("a")))
    assert [decode(data) for data in packet.messages] == [Ack(9), User(b"news")]


def test_user_messages_are_handed_over() -> None:
    assert Bench().heard(User(b"x")) == [Deliver(b"x")]


def test_state_is_exchanged_with_one_that_is_alive() -> None:
    bench = Bench("a", "b")
    bench.heard(Dead(1, "a", "c"))
    bench.core._prober.stop()
    exchanges = [e for e in bench.until(130) if isinstance(e, ExchangeState)]
    assert exchanges == [ExchangeState(endpoint("b"), "b")] * len(exchanges)
    assert 3 <= len(exchanges) <= 4


def test_state_is_exchanged_less_often_in_a_large_cluster() -> None:
    bench = Bench(*(f"node-{i}" for i in range(99)))
    bench.core._prober.stop()
    exchanges = [e for e in bench.until(600) if isinstance(e, ExchangeState)]
    assert 6 <= len(exchanges) <= 7


def remote(name: str, state: NodeState, incarnation: int = 1, versions: bytes = PROTOCOL_VERSIONS) -> RemoteNode:
    return RemoteNode(name, endpoint(name), b"", incarnation, state, versions)


def test_states_of_others_are_merged() -> None:
    bench = Bench("a", "b", "c")
    nodes = [
        remote("a", NodeState.DEAD), remote("b", NodeState.LEFT), remote("c", NodeState.SUSPECT),
        remote("d", NodeState.ALIVE), remote("e", NodeState.DEAD),
    ]  # fmt: skip
    bench.core.merge(nodes, 1.0)
    assert {name: bench.state(name) for name in bench.core.members} == {
        ME: NodeState.ALIVE, "a": NodeState.SUSPECT, "b": NodeState.LEFT, "c": NodeState.SUSPECT, "d": NodeState.ALIVE,
    }  # fmt: skip
    assert Suspect(1, "a", ME) in bench.said()


@pytest.mark.parametrize(
    ("versions", "fits"),
    [
        ((1, 5, 2, 0, 0, 0), True),
        ((2, 5, 5, 0, 0, 0), True),
        ((0, 0, 0, 0, 0, 0), True),
        ((3, 5, 4, 0, 0, 0), False),
        ((1, 1, 1, 0, 0, 0), False),
        ((1, 5, 2, 2, 5, 3), False),
    ],
)
def test_versions_must_go_together(versions: tuple[int, ...], fits: bool) -> None:
    bench = Bench("a")
    nodes = [remote("b", NodeState.ALIVE), remote("c", NodeState.ALIVE, versions=bytes(versions))]
    if fits:
        bench.core.merge(nodes, 1.0)
        assert "c" in bench.core.members
        return
    with pytest.raises(ProtocolMismatch):
        bench.core.merge(nodes, 1.0)
    assert "b" not in bench.core.members


# Leaving.


def test_leaving_is_told_and_then_done() -> None:
    bench = Bench("a", "b", "c")
    bench.core.leave(10.0)
    assert bench.state(ME) is NodeState.LEFT
    assert not bench.core.leave_is_told()
    sent = packets(bench.until(20))
    assert {message for _, message in sent} == {Dead(1, ME, ME)}
    assert bench.core.leave_is_told()
    bench.heard(Dead(1, ME, "a"))
    bench.heard(alive(ME, 9))
    assert bench.said() == []


def test_one_that_is_alone_has_left_at_once() -> None:
    bench = Bench("a")
    bench.heard(Dead(1, "a", "a"))
    bench.core.leave(10.0)
    assert bench.core.leave_is_told()
