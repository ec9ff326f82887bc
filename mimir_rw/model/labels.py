"""Label matchers, the question every selector asks of storage."""

from __future__ import annotations

import enum
from dataclasses import dataclass

METRIC_NAME = "__name__"


class MatchType(enum.IntEnum):
    """Numbered as in remote read's LabelMatcher; the native kernels use the same numbers."""

    EQUAL = 0
    NOT_EQUAL = 1
    REGEX = 2
    NOT_REGEX = 3


_SYMBOLS = {MatchType.EQUAL: "=", MatchType.NOT_EQUAL: "!=", MatchType.REGEX: "=~", MatchType.NOT_REGEX: "!~"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """`name op value`. A series without the label has the value "" there. Regexes are Go syntax, fully anchored,
    dot matches newline."""

    type: MatchType
    name: str
    value: str

    @property
    def symbol(self) -> str:
        return _SYMBOLS[self.type]

    def as_tuple(self) -> tuple[int, str, str]:
        """The form that native kernels take."""
        return (int(self.type), self.name, self.value)
