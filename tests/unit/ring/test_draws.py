"""Vectors of ring-and-gossip.md sections 6 and 7, and the generator's table derived anew."""

import pytest

from mimir_rw.ring import go_rand
from mimir_rw.ring.go_rand import GoRand
from mimir_rw.ring.hashes import fnv1, metadata_token, shard_seed

_U64 = (1 << 64) - 1


def test_hashes():
    assert fnv1(b"user-1", b"__name__", b"up", b"job", b"a") == 4177082754
    assert metadata_token("user-1", "up") == 1612714009
    ulid = "01EJ0000000000000000000001"
    number = 0
    for letter in ulid:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
    assert fnv1(number.to_bytes(16, "big")) == 4051746847


@pytest.mark.parametrize(
    ("zone", "seed", "draws"),
    [
        ("", -2965778325353760010, [2297682257, 4074377809, 2396993140, 1924635470]),
        ("zone-a", 3671243352370911787, [3333769511, 1329210178, 3409478851, 2685293811]),
        ("zone-b", -2439092500582034227, [2605000809, 125677480, 458395524, 2150251204]),
    ],
)
def test_draws_of_a_shard(zone, seed, draws):
    assert shard_seed("user-1", zone) == seed
    generator = GoRand(seed)
    assert [generator.uint32() for _ in range(4)] == draws


def test_seed_1():
    generator = GoRand(1)
    assert [generator.int63() for _ in range(10)] == [
        5577006791947779410, 8674665223082153551, 6129484611666145821, 4037200794235010051, 3916589616287113937,
        6334824724549167320, 605394647632969758, 1443635317331776148, 894385949183117216, 2775422040480279449,
    ]  # fmt: skip


def test_seed_0_is_a_seed_of_its_own():
    assert GoRand(0).int63() == GoRand(89482311).int63() == GoRand((1 << 31) - 1).int63()


def times(a, b):
    """Product of polynomials mod x^607 - x^334 - 1 over the integers mod 2^64."""
    width = 607 * 2 * 160 // 8
    pack = lambda p: int.from_bytes(b"".join(c.to_bytes(20, "little") for c in p), "little")  # noqa: E731
    raw = (pack(a) * pack(b)).to_bytes(width, "little")
    product = [int.from_bytes(raw[i : i + 20], "little") & _U64 for i in range(0, width, 20)]
    for k in range(2 * 607 - 2, 606, -1):
        for lower in (k - 607, k - 273):
            product[lower] = (product[lower] + product[k]) & _U64
        product[k] = 0
    return product[:607]


def test_the_table_is_derived():
    """The state after 7.8e12 steps of y[k] = y[k-607] + y[k-273] from a plain seeding of seed 1."""
    x, state = 1, [0] * 607
    step = lambda x: x * 48271 % ((1 << 31) - 1)  # noqa: E731
    for i in range(-20, 607):
        x = step(x)
        if i >= 0:
            y = step(x)
            z = step(y)
            state[i] = (x << 20 ^ y << 10 ^ z) & _U64
            x = z
    # Call k writes position (333 - k) mod 607, so what lies there is y[k - 607].
    y = [state[(333 - k) % 607] for k in range(607)]
    steps = 7_800_000_000_000
    power, base = [1] + [0] * 606, [0, 1] + [0] * 605
    for bit in bin(steps)[2:]:
        power = times(power, power)
        if bit == "1":
            power = times(power, base)
    cooked = [0] * 607
    for k in range(607):
        value = sum(c * v for c, v in zip(power, y, strict=True)) & _U64
        cooked[(333 - steps - k) % 607] = value
        power = [power[-1], *power[:-1]]
        power[334] = (power[334] + power[0]) & _U64
    assert cooked == go_rand._cooked().tolist()
