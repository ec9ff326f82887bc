"""The one error of configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_QUOTED_CHARS_MAX = 80


class ConfigError(Exception):
    """Configuration that cannot be used. `str(error)` is one printable line that names file and line (or the flag),
    the key, what is wrong and, where there is one, the nearest known name."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else "?" for c in message))


def quoted(text: str) -> str:
    """`text` in double quotes, on one line, cut to a bearable length."""
    shown = text if len(text) <= _QUOTED_CHARS_MAX else text[:_QUOTED_CHARS_MAX] + "…"
    return '"' + shown.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def nearest(name: str, known: Iterable[str], *, certain: bool = True) -> str | None:
    """The known name that `name` is most likely meant to be. None when nothing is known, or, if `certain`, when none is
    close. `name` is cut to 100 characters first: the search is quadratic in it."""
    found = difflib.get_close_matches(name[:100], sorted(known), n=1, cutoff=0.6 if certain else 0.0)
    return found[0] if found else None
