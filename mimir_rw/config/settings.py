"""Settings as fields of frozen dataclasses: what a leaf of the tree knows about itself, and the walk over a tree.

A section is a frozen, slotted dataclass whose fields come from the functions here: leaves (`text`, `integer`,
`number`, `switch`, `duration`, `names`, `repeated`) and further sections (`section`). The field name is the YAML key.
A flag that begins with `.` or `-` is relative to the prefix that the enclosing `section` gives, so that one class
serves several places. Flags, decoding, rendering, the runtime file and the reference docs all derive from this walk.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from mimir_rw.config import values

T = TypeVar("T")
Value = str | bool | int | float | tuple[str, ...]

_LEAF = "mimir_rw.leaf"
_SECTION = "mimir_rw.section"


class Kind(enum.Enum):
    """The value is the placeholder that -help and the docs show."""

    TEXT = "string"
    BOOLEAN = "boolean"
    INTEGER = "int"
    NUMBER = "float"
    DURATION = "duration"
    NAMES = "comma-separated list"
    REPEATED = "list of strings"


class Category(enum.Enum):
    BASIC = "basic"
    ADVANCED = "advanced"
    EXPERIMENTAL = "experimental"


@dataclass(frozen=True, slots=True)
class Departure:
    """A default that is on purpose not Mimir 2.17's: that one as text, and why ours differs."""

    mimir: str
    why: str
    alone: str | None = None
    """Where Mimir's holds in a cluster: our default for a process that is alone, as text."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """All that is known about one setting. `flag` is without its dash, None where only YAML can set it."""

    kind: Kind
    default: Value
    flag: str | None
    help: str
    category: Category = Category.BASIC
    secret: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    departure: Departure | None = None

    def parse(self, text: str) -> Value:
        """Read a flag's or scalar's text. Raises ValueError with the reason, without naming the key."""
        value = _PARSERS[self.kind](text)
        self.check(value)
        return value

    def check(self, value: Value) -> None:
        if self.choices:
            for name in value if isinstance(value, tuple) else (str(value),):
                values.check_choice(name, self.choices)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.low is not None and not value >= self.low:
                raise ValueError(f"must be at least {self.format(self.low)}")
            if self.high is not None and not value <= self.high:
                raise ValueError(f"must be at most {self.format(self.high)}")

    def format(self, value: Value) -> str:
        """The text that `parse` reads as `value`; lists are comma separated."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, tuple):
            return ",".join(value)
        if isinstance(value, str):
            return value
        return values.format_duration(int(value)) if self.kind is Kind.DURATION else values.format_number(float(value))


@dataclass(frozen=True, slots=True)
class Placed:
    """A leaf at its place in a tree: YAML path from the root, and the whole flag."""

    path: tuple[str, ...]
    flag: str | None
    leaf: Leaf

    @property
    def key(self) -> str:
        return ".".join(self.path)


_PARSERS: Mapping[Kind, Callable[[str], Value]] = {
    Kind.TEXT: lambda text: text,
    Kind.BOOLEAN: values.parse_boolean,
    Kind.INTEGER: values.parse_integer,
    Kind.NUMBER: values.parse_number,
    Kind.DURATION: values.parse_duration,
    Kind.NAMES: values.parse_names,
    Kind.REPEATED: lambda text: (text,),
}


def _field(leaf: Leaf) -> Any:
    return dataclasses.field(default=leaf.default, metadata={_LEAF: leaf})


def text(default: str, *, flag: str | None, help: str, **more: Any) -> str:
    return cast("str", _field(Leaf(Kind.TEXT, default, flag, help, **more)))


def switch(default: bool, *, flag: str | None, help: str, **more: Any) -> bool:
    return cast("bool", _field(Leaf(Kind.BOOLEAN, default, flag, help, **more)))


def integer(default: int, *, flag: str | None, help: str, low: int = 0, **more: Any) -> int:
    return cast("int", _field(Leaf(Kind.INTEGER, default, flag, help, low=low, **more)))


def number(default: float, *, flag: str | None, help: str, low: float = 0, **more: Any) -> float:
    return cast("float", _field(Leaf(Kind.NUMBER, float(default), flag, help, low=low, **more)))


def duration(default: str, *, flag: str | None, help: str, low: str = "0", **more: Any) -> int:
    """The field holds milliseconds; `default` and `low` are written as users write them."""
    low_ms = values.parse_duration(low)
    return cast("int", _field(Leaf(Kind.DURATION, values.parse_duration(default), flag, help, low=low_ms, **more)))


def names(default: tuple[str, ...], *, flag: str | None, help: str, **more: Any) -> tuple[str, ...]:
    """One comma separated text, in the flag and (as in Mimir) in YAML; a YAML list is read too."""
    return cast("tuple[str, ...]", _field(Leaf(Kind.NAMES, default, flag, help, **more)))


def repeated(default: tuple[str, ...], *, flag: str | None, help: str, **more: Any) -> tuple[str, ...]:
    """A YAML list; the flag may be given several times and adds one each time."""
    return cast("tuple[str, ...]", _field(Leaf(Kind.REPEATED, default, flag, help, **more)))


def section(cls: type[T], *, flag_prefix: str = "") -> T:
    """A nested section with its defaults; relative flags inside it get `flag_prefix`, which may be relative itself."""
    return dataclasses.field(default_factory=cls, metadata={_SECTION: (cls, flag_prefix)})


@dataclass(frozen=True, slots=True)
class Shape:
    """The direct children of a section class, by YAML key, in the order of declaration."""

    leaves: Mapping[str, Leaf]
    sections: Mapping[str, tuple[type[Any], str]]


def shape(cls: type[Any]) -> Shape:
    leaves: dict[str, Leaf] = {}
    sections: dict[str, tuple[type[Any], str]] = {}
    for each in dataclasses.fields(cls):
        if _LEAF in each.metadata:
            leaves[each.name] = each.metadata[_LEAF]
        elif _SECTION in each.metadata:
            sections[each.name] = each.metadata[_SECTION]
        else:
            raise AssertionError(f"{cls.__name__}.{each.name} is neither a setting nor a section")
    return Shape(leaves, sections)


def walk(cls: type[Any], *, path: tuple[str, ...] = (), flag_prefix: str = "") -> Iterator[Placed]:
    """Every leaf below `cls`, depth first, in the order of declaration."""
    children = shape(cls)
    for each in dataclasses.fields(cls):
        here = (*path, each.name)
        if each.name in children.leaves:
            leaf = children.leaves[each.name]
            flag = leaf.flag
            yield Placed(here, flag_prefix + flag if flag is not None and flag[0] in ".-" else flag, leaf)
        else:
            inner, prefix = children.sections[each.name]
            yield from walk(inner, path=here, flag_prefix=nested_prefix(flag_prefix, prefix))


def nested_prefix(outer: str, prefix: str) -> str:
    """The flag prefix of a section within another: one that begins with `.` or `-` extends that of the other."""
    return outer + prefix if not prefix or prefix[0] in ".-" else prefix


def value_at(tree: Any, path: tuple[str, ...]) -> Value:
    for key in path:
        tree = getattr(tree, key)
    return cast("Value", tree)


def build(cls: type[T], chosen: Mapping[tuple[str, ...], Value], *, path: tuple[str, ...] = ()) -> T:
    """A tree with the chosen values at their paths and defaults elsewhere."""
    children = shape(cls)
    arguments: dict[str, Any] = {key: chosen[at] for key in children.leaves if (at := (*path, key)) in chosen}
    for key, (inner, _) in children.sections.items():
        arguments[key] = build(inner, chosen, path=(*path, key))
    return cls(**arguments)
