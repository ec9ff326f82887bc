"""Go's flag syntax: `-a.b=c`, `--a.b c`, booleans without a value, the last of repeated flags wins.

A pure function from arguments to what they ask for; nothing is read and nothing is built here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mimir_rw.config.errors import ConfigError, nearest, quoted
from mimir_rw.config.foreign import Verdict, foreign_flag
from mimir_rw.config.settings import Kind, Placed, Value
from mimir_rw.config.values import parse_boolean

COMMANDS: Mapping[str, str] = {
    "help": "Print the most common settings and exit.",
    "h": "Print the most common settings and exit.",
    "help-all": "Print all settings and exit.",
    "version": "Print the version and exit.",
    "modules": "Print the components that -target knows and exit.",
    "print.config": "Print the effective configuration as YAML and exit.",
    "config.expand-env": "Replace ${NAME} and ${NAME:default} in the configuration file by environment variables.",
}
"""Boolean flags that are not settings."""
CONFIG_FILE = "config.file"
CONFIG_FILE_HELP = "YAML file with the configuration. Flags take precedence over it."


@dataclass(slots=True)
class Arguments:
    """commands: names of COMMANDS and whether they are on. values: settings by YAML path."""

    config_file: str = ""
    commands: dict[str, bool] = field(default_factory=dict)
    values: dict[tuple[str, ...], Value] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def asks(self, command: str) -> bool:
        return self.commands.get(command, False)


def parse_arguments(argv: Sequence[str], settings: Mapping[str, Placed]) -> Arguments:
    """argv: without the program's name. settings: by flag. Raises ConfigError, one line naming the flag."""
    result = Arguments()
    at = 0
    while at < len(argv):
        argument = argv[at]
        at += 1
        if argument == "--":
            break
        name, has_value, value = _split(argument)
        if not has_value and not _is_boolean(name, settings) and at < len(argv) and _follows(name, argv[at], settings):
            has_value, value = True, argv[at]
            at += 1
        _apply(name, value if has_value else None, settings, result)
    if at < len(argv):
        raise ConfigError(f"argument {quoted(argv[at])} is not a flag")
    return result


def _split(argument: str) -> tuple[str, bool, str]:
    """Name without dashes, whether a value was given with `=`, and that value."""
    if not argument.startswith("-") or argument == "-":
        raise ConfigError(f"argument {quoted(argument)} is not a flag")
    name, equals, value = argument[2 if argument.startswith("--") else 1 :].partition("=")
    if not name or name.startswith("-"):
        raise ConfigError(f"argument {quoted(argument)} is not a flag")
    return name, bool(equals), value


def _is_boolean(name: str, settings: Mapping[str, Placed]) -> bool:
    return name in COMMANDS or (name in settings and settings[name].leaf.kind is Kind.BOOLEAN)


def _follows(name: str, following: str, settings: Mapping[str, Placed]) -> bool:
    """Whether the next argument is this flag's value. As in Go it always is for a known flag; for one of Mimir's that
    is not ours, and may be boolean, only what is no flag itself."""
    return name in settings or name == CONFIG_FILE or not following.startswith("-")


def _apply(name: str, value: str | None, settings: Mapping[str, Placed], result: Arguments) -> None:
    if name in COMMANDS:
        result.commands[name] = True if value is None else _parse_switch(name, value)
    elif name == CONFIG_FILE:
        result.config_file = _needed(name, value)
    elif name in settings:
        placed = settings[name]
        text = "true" if value is None and placed.leaf.kind is Kind.BOOLEAN else _needed(name, value)
        try:
            parsed = placed.leaf.parse(text)
        except ValueError as error:
            shown = "" if placed.leaf.secret else f"{quoted(text)}: "
            raise ConfigError(f"flag -{name}: {shown}{error}") from None
        if placed.leaf.kind is Kind.REPEATED and isinstance(before := result.values.get(placed.path, ()), tuple):
            assert isinstance(parsed, tuple)
            parsed = (*before, *parsed)
        result.values[placed.path] = parsed
    else:
        _foreign(name, value, settings, result)


def _foreign(name: str, value: str | None, settings: Mapping[str, Placed], result: Arguments) -> None:
    row = foreign_flag(name)
    if row is None:
        known = [*settings, *COMMANDS, CONFIG_FILE]
        found = nearest(name, known, certain=False)
        raise ConfigError(f"flag -{name} is not known, the nearest known flag is -{found}")
    if row.verdict is Verdict.REFUSED:
        if not row.accepts("true" if value is None else value):
            raise ConfigError(f"flag -{name} {row.message()}")
    else:
        result.warnings.append(f"flag -{name} {row.message()}")


def _needed(name: str, value: str | None) -> str:
    if value is None:
        raise ConfigError(f"flag -{name} needs a value")
    return value


def _parse_switch(name: str, value: str) -> bool:
    try:
        return parse_boolean(value)
    except ValueError as error:
        raise ConfigError(f"flag -{name}: {quoted(value)}: {error}") from None
