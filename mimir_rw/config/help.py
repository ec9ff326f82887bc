"""What -help and -help-all print."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from mimir_rw.config.flags import COMMANDS, CONFIG_FILE, CONFIG_FILE_HELP
from mimir_rw.config.settings import Category, Kind, Placed, walk
from mimir_rw.config.tree import Config

_INDENT = "        "
_WIDTH = 100


def help_text(*, everything: bool) -> str:
    """The flags in alphabetical order; without `everything` only those of category basic."""
    shown = {
        placed.flag: placed
        for placed in walk(Config)
        if placed.flag is not None and (everything or placed.leaf.category is Category.BASIC)
    }
    entries = {flag: list(_setting_lines(flag, placed)) for flag, placed in shown.items()}
    for name, help in COMMANDS.items():
        entries[name] = [f"  -{name}", *_wrapped(help)]
    entries[CONFIG_FILE] = [f"  -{CONFIG_FILE} filepath", *_wrapped(CONFIG_FILE_HELP)]
    lines = ["Usage of mimir-rw:", *(line for name in sorted(entries) for line in entries[name])]
    lines += ["", *([] if everything else ["Use -help-all to see every flag."]), "`mimir-rw help` lists the commands."]
    return "\n".join(lines) + "\n"


def _setting_lines(flag: str, placed: Placed) -> Iterator[str]:
    leaf = placed.leaf
    yield f"  -{flag}" if leaf.kind is Kind.BOOLEAN else f"  -{flag} {leaf.kind.value}"
    about = leaf.help if leaf.category is Category.BASIC else f"[{leaf.category.value}] {leaf.help}"
    if leaf.choices:
        about += f" One of {', '.join(choice for choice in leaf.choices if choice)}."
    default = leaf.format(leaf.default)
    if default not in ("", "false", "0", "0s"):
        about += f" (default {default})"
    yield from _wrapped(about)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False)
