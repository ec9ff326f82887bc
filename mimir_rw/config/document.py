"""YAML text to a tree of nodes that know their line; all scalars stay text.

What a scalar means is decided by the field it is for (as in Mimir), so `no`, `12:30` and `010` stay what was written.
Anchors, aliases and merge keys (`<<`) work. The tree is built from the parser's events without recursion, and its
size is bounded after aliases are expanded, so no input can hold the process: the result is a tree or a ConfigError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import yaml

from mimir_rw.config.errors import ConfigError, quoted

BYTES_MAX = 64 << 20
DEPTH_MAX = 64
NODES_MAX = 2_000_000
"""Nodes of one document with every alias counted as the nodes it stands for."""

_MERGE = "<<"
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_CORE_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map"))
_STR_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Scalar:
    line: int
    text: str
    null: bool
    """Written as nothing at all, `~` or `null`, without quotes."""
    size: int = 1


@dataclass(frozen=True, slots=True)
class Items:
    line: int
    items: tuple[Node, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    line: int
    value: Node


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; keys are distinct and in the order of the text, merged ones last."""

    line: int
    entries: tuple[Entry, ...]
    size: int


Node = Scalar | Items | Table


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    line: int
    mapping: bool
    anchor: str | None
    children: list[Node] = field(default_factory=list)


def read_document(data: bytes, *, name: str) -> Node | None:
    """The only document in `data` (UTF-8), or None when there is none. `name` stands in errors, which are ConfigError
    with name and line."""
    if len(data) > BYTES_MAX:
        raise ConfigError(f"{name}: larger than {BYTES_MAX >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: not UTF-8 text") from None
    try:
        return _Builder(name).build(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise ConfigError(f"{name}:{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {str(error).splitlines()[0]}") from None


class _Builder:
    def __init__(self, name: str) -> None:
        self._name = name
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0
        self._documents = 0
        self._root: Node | None = None

    def build(self, events: Iterable[yaml.Event]) -> Node | None:
        for event in events:
            self._take(event)
        return None if isinstance(self._root, Scalar) and self._root.null else self._root

    def _take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line = 1 if mark is None else mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style in (None, "") and event.tag != _STR_TAG
            self._check_tag(event.tag, line)
            self._add(Scalar(line, event.value, plain and event.value in _NULLS), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._resolve(event.anchor or "", line), None)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._check_tag(event.tag, line)
            if len(self._open) >= DEPTH_MAX:
                raise self._error(line, f"nested more than {DEPTH_MAX} deep")
            if event.anchor is not None:
                self._anchors[event.anchor] = None
            self._open.append(_Open(line, isinstance(event, yaml.MappingStartEvent), event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._open.pop()
            self._add(self._close(done), done.anchor)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._error(line, "a second YAML document begins here; there must be only one")

    def _close(self, done: _Open) -> Node:
        size = 1 + sum(child.size for child in done.children)
        if size > NODES_MAX:
            raise self._error(done.line, f"more than {NODES_MAX} values after aliases are expanded")
        if not done.mapping:
            return Items(done.line, tuple(done.children), size)
        return Table(done.line, self._entries(done.children), size)

    def _entries(self, children: Sequence[Node]) -> tuple[Entry, ...]:
        """Pair keys with values, refuse repeated keys, and add what merge keys bring."""
        own: dict[str, Entry] = {}
        merged: list[Table] = []
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, Scalar):
                raise self._error(key.line, "a key must be plain text")
            if key.text == _MERGE:
                merged.extend(self._merge_sources(value))
                continue
            if key.text in own:
                raise self._error(key.line, f"{quoted(key.text)} was set before, in line {own[key.text].line}")
            own[key.text] = Entry(key.text, key.line, value)
        for table in merged:
            self._count(len(table.entries), table.line)
            for entry in table.entries:
                own.setdefault(entry.key, entry)
        return tuple(own.values())

    def _merge_sources(self, value: Node) -> Sequence[Table]:
        found = value.items if isinstance(value, Items) else (value,)
        tables = [each for each in found if isinstance(each, Table)]
        if len(tables) != len(found):
            raise self._error(value.line, f"{quoted(_MERGE)} needs mappings")
        return tables

    def _add(self, node: Node, anchor: str | None) -> None:
        self._count(1, node.line)
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._root = node

    def _count(self, nodes: int, line: int) -> None:
        """Work done so far, in nodes added or merged."""
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise self._error(line, f"more than {NODES_MAX} values")

    def _resolve(self, anchor: str, line: int) -> Node:
        if anchor not in self._anchors:
            raise self._error(line, f"alias {quoted(anchor)} has no anchor before it")
        node = self._anchors[anchor]
        if node is None:
            raise self._error(line, f"alias {quoted(anchor)} is inside of what it stands for")
        return node

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag not in (None, "!") and tag not in _CORE_TAGS:
            raise self._error(line, f"tag {quoted(tag or '')} is not supported")

    def _error(self, line: int, message: str) -> ConfigError:
        return ConfigError(f"{self._name}:{line}: {message}")
