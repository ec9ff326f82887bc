import pytest

from mimir_rw.components.querier.block_rounds import BlockRounds
from mimir_rw.model.errors import Unavailable


def test_each_round_asks_another_replica():
    rounds = BlockRounds({"1": ["a", "b"], "2": ["a", "c"], "3": ["b", "a"]}, rounds_max=3)
    assert rounds.next() == {"a": ["1", "2"], "b": ["3"]}
    rounds.answered("2")
    rounds.refused("1", "damaged")
    assert not rounds.done
    assert rounds.next() == {"a": ["3"], "b": ["1"]}
    rounds.answered("1")
    rounds.answered("3")
    assert rounds.done
    assert rounds.rounds == 2


def test_when_nobody_is_left_the_query_fails_with_the_block_and_the_reason():
    rounds = BlockRounds({"1": ["a"], "2": ["a", "b"]}, rounds_max=3)
    rounds.next()
    rounds.refused("1", "a: it is gone")
    with pytest.raises(Unavailable, match=r"failed to fetch some blocks: 1 \(a: it is gone\)") as raised:
        rounds.next()
    assert raised.value.error_id == "store-consistency-check-failed"


def test_rounds_are_bounded():
    rounds = BlockRounds({str(n): ["a", "b", "c", "d"] for n in range(20)}, rounds_max=2)
    rounds.next()
    rounds.next()
    with pytest.raises(Unavailable, match=r"0 1 2 3 4 5 6 7 8 9 and 10 more"):
        rounds.next()


def test_nothing_to_ask_is_done():
    assert BlockRounds({}, rounds_max=1).done
