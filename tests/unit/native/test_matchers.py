"""CompiledMatcher: negation, shortcuts without an automaton, bounds."""

from __future__ import annotations

import contextlib
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir_rw._native import CompiledMatcher, RegexError, regex_replace
from mimir_rw.model.labels import MatchType

VALUES = ["", "a", "b", "ab", "abc", "xab", "a\nb", "bar", "foobar", "foo", "é", "世"]


@pytest.mark.parametrize("value", VALUES)
def test_equality(value: str) -> None:
    equal = CompiledMatcher(MatchType.EQUAL, "l", value)
    unequal = CompiledMatcher(MatchType.NOT_EQUAL, "l", value)
    assert [equal.matches(other) for other in VALUES] == [other == value for other in VALUES]
    assert [unequal.matches(other) for other in VALUES] == [other != value for other in VALUES]
    assert (equal.literals, unequal.literals) == ([value], None)
    assert (equal.type, equal.name, equal.value) == (0, "l", value)


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        ("", [""]),
        ("foo", ["foo"]),
        ("foo|bar|foo", ["bar", "foo"]),
        ("^(?:foo|bar)$", ["bar", "foo"]),
        ("foo(bar|baz)?", ["foo", "foobar", "foobaz"]),
        ("[ab][01]", ["a0", "a1", "b0", "b1"]),
        ("(?i)1\\.2", ["1.2"]),
        ("a|b|c|d|e|f|", ["", "a", "b", "c", "d", "e", "f"]),
        ("[^\\x00-\\x{10FFFF}]", []),
        ("foo.*", None),
        ("foo|bar.*", None),
        ("a*", None),
        ("(?i)a", None),
    ],
)
def test_literals(pattern: str, literals: list[str] | None) -> None:
    assert CompiledMatcher(MatchType.REGEX, "l", pattern).literals == literals
    assert CompiledMatcher(MatchType.NOT_REGEX, "l", pattern).literals is None


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("foo", "foo"), ("foo.*bar", "foo"), ("foo[0-9]+", "foo"), (".*foo", ""), ("foo|bar.*", ""), ("foo*", "fo")],
)
def test_prefix(pattern: str, prefix: str) -> None:
    assert CompiledMatcher(MatchType.REGEX, "l", pattern).prefix == prefix


@given(
    st.lists(st.sampled_from(["a", "b", "ab", "é", ".*", ".+", "(a|b)", "(a.*|b)"]), max_size=6),
    st.lists(st.sampled_from(["a", "b", "é", "\n"]), max_size=8),
)
def test_wildcards_equal_the_automaton(parts: list[str], subject: list[str]) -> None:
    pattern, value = "".join(parts), "".join(subject)
    plain = CompiledMatcher(MatchType.REGEX, "l", pattern)
    automaton = CompiledMatcher(MatchType.REGEX, "l", f"(?:{pattern})(?:){{0,2}}\\z|(?:x{{3}}\\b)")
    assert plain.matches(value) == automaton.matches(value)


def test_unknown_type() -> None:
    with pytest.raises(ValueError, match="matcher type 4"):
        CompiledMatcher(4, "l", "")


def test_error_quotes_the_pattern() -> None:
    with pytest.raises(RegexError, match=r"^error parsing regexp: missing closing \): `\(a`$"):
        CompiledMatcher(MatchType.NOT_REGEX, "l", "(a")
    with pytest.raises(RegexError, match=r"`\^\(\?s:\(a\)\$`"):
        regex_replace(["x"], "(a", "")


def test_replace_keeps_the_order_of_the_dictionary() -> None:
    assert regex_replace(["host-1:80", "x", "host-2:9"], "(?P<host>.*):(.+)", "$2.$host") == [
        "80.host-1",
        None,
        "9.host-2",
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "\\pL{1000}",
        "(?i)" + "[\\x00-\\x{10FFFF}]" * 50_000,
        "[[:" * 300_000,
        "{1" * 300_000,
        "(?:a|" * 100_000 + ")" * 100_000,
        "(" * 1_000_000,
        "(?:" * 500_000 + ")" * 500_000,
        "." * 5_000_000,
        "(?i)\\pL" * 100_000,
        ".*x" * 100_000,
        "(a|b)*" * 50_000,
        "[ab]" * 12 + "()" * 100_000,
        "|".join(str(i) for i in range(200_000)),
    ],
    ids=lambda pattern: f"{pattern[:12]}x{len(pattern)}",
)
def test_huge_patterns_cost_bounded_memory(pattern: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(RegexError):
        CompiledMatcher(MatchType.REGEX, "l", pattern).matches("a" * 2048)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a+a+)+b", "(.*)(.*)(.*)(.*)(.*)[^a]"])
def test_catastrophic_patterns_take_linear_time(pattern: str) -> None:
    # With backtracking none of these would come to an end.
    assert not CompiledMatcher(MatchType.REGEX, "l", pattern).matches("a" * 5000)
