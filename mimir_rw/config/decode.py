"""YAML nodes to setting values, checked against the tree. Values are gathered by path, so that files, flags and
defaults overlay each other before anything is built.

Every error is a ConfigError of the form `FILE:LINE: KEY: what is wrong`, with the nearest known key where a key is
unknown. What Mimir knows and this version does not is judged by `foreign`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mimir_rw.config.document import Entry, Items, Node, Scalar, Table
from mimir_rw.config.errors import ConfigError, nearest, quoted
from mimir_rw.config.foreign import Verdict, foreign_homes, foreign_key, refused_keys
from mimir_rw.config.settings import Kind, Leaf, Value, shape, walk
from mimir_rw.config.tree import Config

Path = tuple[str, ...]


@dataclass(slots=True)
class Gathered:
    """What one document sets. `values` may be overlaid by those of a later one."""

    values: dict[Path, Value] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    """FILE:LINE of each value."""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the configuration a section of a document belongs.

    `path` is the place within the gathered values, `tree_path` that in the main tree (they differ in the runtime
    file, where a tenant's limits stand for `limits`).
    """

    file: str
    path: Path = ()
    tree_path: Path = ()

    def below(self, key: str) -> Place:
        return Place(self.file, (*self.path, key), (*self.tree_path, key))

    def error(self, line: int, message: str) -> ConfigError:
        key = ".".join(self.path)
        return ConfigError(f"{self.file}:{line}: {key}: {message}" if key else f"{self.file}:{line}: {message}")


def gather_section(node: Node | None, cls: type[Any], place: Place, into: Gathered) -> None:
    """Decode a mapping with the keys of a section class. No mapping at all (None or null) sets nothing."""
    if node is None:
        return
    children = shape(cls)
    for entry in entries_of(node, place):
        here = place.below(entry.key)
        if entry.key in children.leaves:
            value = _leaf_value(entry.value, children.leaves[entry.key], here)
            if value is not None:
                into.values[here.path] = value
                into.origins[here.path] = f"{place.file}:{entry.line}"
        elif entry.key in children.sections:
            gather_section(entry.value, children.sections[entry.key][0], here, into)
        else:
            warning = _unknown(entry, here, cls)
            if warning is not None:
                into.warnings.append(warning)


def entries_of(node: Node, place: Place) -> Iterator[Entry]:
    """The entries of a node that must be a mapping or null."""
    if isinstance(node, Table):
        yield from node.entries
    elif not (isinstance(node, Scalar) and node.null):
        raise place.error(node.line, "must be a section of further keys")


def unknown_key(entry: Entry, place: Place, known: list[str]) -> ConfigError:
    """The error for a key that nothing has; `place` is that of the key."""
    found = nearest(entry.key, known) or nearest(entry.key, known, certain=False)
    hint = "" if found is None else f", the nearest known key is {quoted(found)}"
    return place.error(entry.line, f"unknown key{hint}")


def _unknown(entry: Entry, place: Place, cls: type[Any]) -> str | None:
    """A warning or nothing if Mimir has the key and it may be ignored; raises ConfigError otherwise."""
    row = foreign_key(place.tree_path)
    if row is None:
        raise unknown_key(entry, place, _candidates(entry.key, place, cls))
    _check_refused(entry, place)
    shown = f"{place.file}:{entry.line}: {'.'.join(place.path)} {row.message()}"
    return None if row.verdict is Verdict.REFUSED else shown


def _candidates(key: str, place: Place, cls: type[Any]) -> list[str]:
    """Keys that `key` may be meant to be: the same name at its right place, else the neighbours."""
    elsewhere = [placed.key for placed in walk(Config) if placed.path[-1] == key] or foreign_homes(key)
    if elsewhere and place.path == place.tree_path:
        return elsewhere
    section = shape(cls)
    return [*section.leaves, *section.sections]


def _check_refused(entry: Entry, place: Place) -> None:
    """Raise ConfigError when the entry, or something below it, asks for what must not be ignored."""
    for key, row in refused_keys():
        if key[: len(place.tree_path)] != place.tree_path:
            continue
        found: Entry | None = entry
        for part in key[len(place.tree_path) :]:
            below = found.value.entries if found is not None and isinstance(found.value, Table) else ()
            found = next((each for each in below if each.key == part), None)
        if found is not None and not row.accepts(found.value):
            shown = ".".join((*place.path, *key[len(place.tree_path) :]))
            raise ConfigError(f"{place.file}:{found.line}: {shown} {row.message()}")


def _leaf_value(node: Node, leaf: Leaf, place: Place) -> Value | None:
    """The value of a leaf, or None where the document leaves it at its default."""
    if isinstance(node, Scalar):
        if node.null:
            return None
        return _parse(node, leaf, place)
    if isinstance(node, Items) and leaf.kind in (Kind.NAMES, Kind.REPEATED):
        texts = [_item_text(item, place) for item in node.items]
        return _checked(tuple(texts), node, leaf, place)
    raise place.error(node.line, f"must be one value ({leaf.kind.value}), not a {_shape_name(node)}")


def _parse(node: Scalar, leaf: Leaf, place: Place) -> Value:
    if leaf.kind is Kind.REPEATED and not node.text:
        return ()
    try:
        return leaf.parse(node.text)
    except ValueError as error:
        shown = "the value" if leaf.secret else quoted(node.text)
        raise place.error(node.line, f"{shown} is {_as_predicate(error)}") from None


def _checked(value: Value, node: Node, leaf: Leaf, place: Place) -> Value:
    try:
        leaf.check(value)
    except ValueError as error:
        raise place.error(node.line, str(error)) from None
    return value


def _item_text(node: Node, place: Place) -> str:
    if not isinstance(node, Scalar):
        raise place.error(node.line, f"an item must be a string, not a {_shape_name(node)}")
    return node.text


def _shape_name(node: Node) -> str:
    return "list" if isinstance(node, Items) else "section"


def _as_predicate(error: ValueError) -> str:
    """`not a duration…` stays; `must be at least 1` becomes `not valid: must be at least 1`."""
    text = str(error)
    return f"not valid: {text}" if text.startswith("must") else text
