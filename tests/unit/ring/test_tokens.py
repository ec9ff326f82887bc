import os
import random

import pytest

from mimir_rw.ring.desc import RingDesc
from mimir_rw.ring.token_file import TokenFileDamaged, read_tokens, write_tokens
from mimir_rw.ring.tokens import RandomTokens, SpreadMinimizingTokens, spread_tokens
from tests.unit.ring.rings import instance


def test_random_tokens_are_sorted_and_free():
    class Few:
        def __init__(self):
            self.draw = random.Random(3)

        def random(self):
            return self.draw.randrange(20) / (1 << 32)

    tokens = RandomTokens(rng=Few()).generate(10, taken=range(10))
    assert tokens == tuple(range(10, 20))


# ring-and-gossip.md section 8.
@pytest.mark.parametrize(
    ("number", "first", "last"),
    [
        (0, [0, 8388608, 16777216], 511 * 8388608),
        (1, [4194304, 12582912, 20971520, 29360128], 4290772992),
        (2, [2146085552, 2150279856, 2154474160], 4289374888),
        (3, [710934528, 715128832], 2854223872),
    ],
)
def test_spread_tokens(number, first, last):
    tokens = spread_tokens(number, 0)
    assert (tokens[: len(first)], tokens[-1], len(tokens)) == (first, last, 512)
    assert spread_tokens(number, 2) == [token + 2 for token in tokens]


def test_spread_tokens_spread():
    """With all tokens in one ring every instance owns nearly the same."""
    held = sorted((token, n) for n in range(12) for token in spread_tokens(n, 0))
    owned = [0] * 12
    for (before, _), (token, owner) in zip(held[-1:] + held, held, strict=False):
        owned[owner] += (token - before) % (1 << 32)
    assert max(owned) / min(owned) < 1.05


def test_spread_tokens_of_an_instance():
    generator = SpreadMinimizingTokens(id="ingester-zone-b-1", zone="b", zones=["c", "a", "b"], join_in_order=True)
    assert generator.generate(2, taken=[4194305]) == (12582913, 20971521)
    assert "ingester-zone-b-0" in (generator.must_wait(RingDesc()) or "")
    assert generator.must_wait(RingDesc([instance("ingester-zone-b-0", "b")])) is not None
    assert generator.must_wait(RingDesc([instance("ingester-zone-b-0", "b", [1])])) is None


@pytest.mark.parametrize(("id", "zone"), [("ingester", "a"), ("ingester-1", "x")])
def test_ids_without_spread_tokens(id, zone):
    with pytest.raises(ValueError, match="spread-minimizing"):
        SpreadMinimizingTokens(id=id, zone=zone, zones=["a"], join_in_order=False)


def test_files(tmp_path):
    path = str(tmp_path / "deep" / "tokens")
    assert read_tokens(path) == ()
    write_tokens(path, (1, 2, 4294967295))
    assert (tmp_path / "deep" / "tokens").read_bytes() == b'{"tokens":[1,2,4294967295]}'
    assert read_tokens(path) == (1, 2, 4294967295)
    assert os.listdir(tmp_path / "deep") == ["tokens"]


def test_a_failed_write_keeps_the_file(tmp_path, monkeypatch):
    path = str(tmp_path / "tokens")
    write_tokens(path, (1,))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_tokens(path, (2,))
    assert read_tokens(path) == (1,)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"tokens":[1', b'{"tokens":[4294967296]}', b'{"tokens":[-1]}', b"[1]"])
def test_damaged_files(tmp_path, data):
    path = tmp_path / "tokens"
    path.write_bytes(data)
    with pytest.raises(TokenFileDamaged):
        read_tokens(str(path))
