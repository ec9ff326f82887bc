"""From arguments, environment and file to one configuration: flags over YAML over defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimir_rw.config.consistency import check_config
from mimir_rw.config.decode import Gathered, Place, gather_section
from mimir_rw.config.document import BYTES_MAX, read_document
from mimir_rw.config.errors import ConfigError, quoted
from mimir_rw.config.flags import Arguments, parse_arguments
from mimir_rw.config.settings import Placed, Value, build, walk
from mimir_rw.config.tree import Config, chosen_defaults, inherited

_REFERENCE = re.compile(r"\$\{([^{}:\n]*)(?::([^{}\n]*))?\}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """warnings: a line each, about settings that were accepted and have no effect."""

    config: Config
    warnings: tuple[str, ...]


def settings_by_flag() -> dict[str, Placed]:
    return {placed.flag: placed for placed in walk(Config) if placed.flag is not None}


def load(argv: Sequence[str], *, environment: Mapping[str, str], read: Callable[[str], bytes]) -> Loaded:
    """argv: without the program's name. read: a file's bytes or OSError. Raises ConfigError."""
    return load_arguments(parse_arguments(argv, settings_by_flag()), environment=environment, read=read)


def load_arguments(arguments: Arguments, *, environment: Mapping[str, str], read: Callable[[str], bytes]) -> Loaded:
    """As `load`, when the arguments are parsed already."""
    gathered = Gathered()
    if arguments.config_file:
        data = read_file(arguments.config_file, read)
        if arguments.asks("config.expand-env"):
            data = expand_environment(data, environment)
        gather_section(read_document(data, name=arguments.config_file), Config, Place(arguments.config_file), gathered)
    config = _settled({**inherited(gathered.values), **inherited(arguments.values)})
    origins = {path: at for path, at in gathered.origins.items() if path not in arguments.values}
    check_config(config, origins)
    return Loaded(config, (*gathered.warnings, *arguments.warnings))


def _settled(values: Mapping[tuple[str, ...], Value]) -> Config:
    """The configuration with these values: what is not among them depends on whether the process is alone."""
    told = build(Config, values)
    return build(Config, {**chosen_defaults(told.target, told.memberlist.join_members), **values})


def read_bytes(name: str) -> bytes:
    """A file's content, at most one byte more than a document may have: the `read` of a real process."""
    with Path(name).open("rb") as file:
        return file.read(BYTES_MAX + 1)


def read_file(name: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(name)
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror or error}") from None
    except ValueError:
        raise ConfigError(f"{quoted(name)} is not a file name") from None


def expand_environment(data: bytes, environment: Mapping[str, str]) -> bytes:
    """Replace `${NAME}` and `${NAME:default}` by the variable, or by the default where it is unset or empty.

    An unset variable without default becomes empty. Other uses of `$` stay as they are. It happens before the text is
    read as YAML, and what a variable brings is not expanded again.
    """

    def replace(match: re.Match[str]) -> str:
        return environment.get(match[1], "") or match[2] or ""

    # Bytes that are not UTF-8 pass through here; reading the document then names their line.
    text = data.decode("utf-8", "surrogateescape")
    return _REFERENCE.sub(replace, text).encode("utf-8", "surrogateescape")
