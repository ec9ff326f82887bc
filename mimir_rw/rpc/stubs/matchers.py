"""Matchers in messages."""

from __future__ import annotations

from collections.abc import Sequence

from mimir_rw.model.errors import Internal
from mimir_rw.model.labels import Matcher, MatchType

MatcherTuple = tuple[int, str, str]


def matcher_tuples(matchers: Sequence[Matcher]) -> list[MatcherTuple]:
    return [matcher.as_tuple() for matcher in matchers]


def matchers_of(tuples: Sequence[MatcherTuple]) -> list[Matcher]:
    try:
        return [Matcher(MatchType(kind), name, value) for kind, name, value in tuples]
    except ValueError as error:
        raise Internal(f"a message between processes is not as it should be: {error}") from error
