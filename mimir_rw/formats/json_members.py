"""Checked reading of small JSON objects at rest: every value has its type and bounds, or DataDamaged says where.

Unknown members are ignored and null counts as absent, as encoding/json has it (a nil slice is written as null).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from mimir_rw.model.errors import DataDamaged

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

T = TypeVar("T")


class Members:
    """One JSON object. `what` names the file and the place in it for errors."""

    __slots__ = ("_values", "what")

    def __init__(self, values: dict[str, Any], what: str) -> None:
        self._values = values
        self.what = what

    @classmethod
    def read(cls, data: bytes, what: str, *, bytes_max: int) -> Members:
        """Raises DataDamaged unless `data` is one JSON object of at most bytes_max bytes."""
        if len(data) > bytes_max:
            raise DataDamaged(f"{what}: {len(data)} bytes, more than {bytes_max}")
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataDamaged(f"{what}: {error}") from error
        return cls(_object(value, what), what)

    def text(self, key: str, default: str = "") -> str:
        return self._typed(key, str, default)

    def flag(self, key: str) -> bool:
        return self._typed(key, bool, False)

    def integer(self, key: str, *, low: int = INT64_MIN, high: int = INT64_MAX, required: bool = False) -> int:
        value = self._values.get(key)
        if value is None:
            if required:
                raise self.damaged(f"{key} is missing")
            return 0
        if type(value) is not int or not low <= value <= high:
            raise self.damaged(f"{key} is not an integer from {low} to {high}")
        return value

    def version(self, *known: int) -> int:
        version = self.integer("version")
        if version not in known:
            raise self.damaged(f"version {version} is not known")
        return version

    def inner(self, key: str) -> Members | None:
        """The object at `key`, None if there is none."""
        value = self._values.get(key)
        return None if value is None else Members(_object(value, f"{self.what}: {key}"), f"{self.what}: {key}")

    def objects(self, key: str) -> list[Members]:
        what = f"{self.what}: {key}"
        return [Members(_object(value, what), what) for value in self._list(key)]

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(self._text(value, key) for value in self._list(key))

    def text_map(self, key: str) -> dict[str, str]:
        value = self._values.get(key)
        found = {} if value is None else _object(value, f"{self.what}: {key}")
        return {name: self._text(each, key) for name, each in found.items()}

    def checked(self, key: str, check: Callable[[str], bool], expected: str) -> str:
        """A text that must pass a check."""
        value = self.text(key)
        if not check(value):
            raise self.damaged(f"{key} {value[:100]!r} is not {expected}")
        return value

    def raw(self, key: str) -> Any:
        return self._values.get(key)

    def damaged(self, reason: str) -> DataDamaged:
        return DataDamaged(f"{self.what}: {reason}")

    def _typed(self, key: str, kind: type[T], default: T) -> T:
        value = self._values.get(key)
        if value is None:
            return default
        if type(value) is not kind:
            raise self.damaged(f"{key} is not a {kind.__name__}")
        return value

    def _list(self, key: str) -> list[Any]:
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.damaged(f"{key} is not a list")
        return value

    def _text(self, value: Any, key: str) -> str:
        if not isinstance(value, str):
            raise self.damaged(f"{key} holds something else than text")
        return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataDamaged(f"{what}: not a JSON object")
    return value
