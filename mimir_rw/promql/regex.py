"""Go regular expressions of matchers: are they valid, do they match the empty string."""

from __future__ import annotations

import re


def regex_problem(pattern: str) -> str:
    """Why `pattern` is not a valid regular expression, or ""."""
    try:
        re.compile(pattern)
    except re.error as error:
        return f"error parsing regexp: {error}"
    return ""


def matches_empty(pattern: str) -> bool:
    return re.fullmatch(pattern, "", re.DOTALL) is not None
