"""Generates `docs/configuration.md` from the tree: `python -m mimir_rw.config.docs [FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mimir_rw.config.flags import COMMANDS, CONFIG_FILE, CONFIG_FILE_HELP
from mimir_rw.config.foreign import FOREIGN, Verdict
from mimir_rw.config.settings import Category, Leaf, Placed, shape, walk
from mimir_rw.config.tree import Config, departures

PLACE = "docs/configuration.md"

_HEAD = """# Configuration

This page is generated from the settings themselves; `make docs` writes it anew.

Every process reads one YAML file (`-config.file=mimir.yaml`) and flags. A flag wins over the file, the file over the
default. Keys and flags are Grafana Mimir's. Flags are written as Go programs take them: `-a.b=c`, `--a.b c`, and
`-a.b` for a boolean that is to be true; of a repeated flag the last counts. An unknown key or flag, or a bad value,
ends the start with one line that names file, line and key.

- `boolean`: `true` or `false`.
- `duration`: `100ms`, `10s`, `1h30m`, `13h`, `1d`; `0` is allowed where it means "off".
- `int`, `float`: sizes are in bytes, rates per second.
- `comma-separated list`: one text, `a,b`; in YAML a list is read too.
- `list of strings`: a YAML list; the flag is repeated for each.

Settings marked *advanced* are rarely changed; those marked *experimental* may change their meaning. With
`-config.expand-env`, `${NAME}` and `${NAME:default}` in the file are replaced by environment variables before it is
read. What is in force is shown by `-print.config`, and by a running process at `/config`, `/config?mode=diff` and
`/config?mode=defaults`. `mimir-rw config check FILE` checks a file without starting anything.
"""

_LIMITS_NOTE = """
These are the limits of every tenant. The runtime file changes them for single tenants while the process runs:

```yaml
overrides:
  team-a:
    ingestion_rate: 500000
    max_global_series_per_user: 5000000
ingester_limits:      # overlays ingester.instance_limits
  max_series: 4000000
distributor_limits:   # overlays distributor.instance_limits
  max_inflight_push_requests: 500
```

A tenant's limits are those of this block with what the runtime file names laid over them. The files are read again
every `runtime_config.period`; a bad edit changes nothing, is logged, and sets
`cortex_runtime_config_last_reload_successful` to 0.
"""

_VERDICT_HEADS = {
    Verdict.MEANINGLESS: "Accepted with a warning, because there is nothing here that they could tune:",
    Verdict.UNBUILT: "Accepted with a warning, because their part is not available yet:",
    Verdict.REFUSED: "Refused, because ignoring them would store something else than was asked for:",
}


def reference() -> str:
    """The whole page."""
    parts = [_HEAD, *_departures(), *_commands()]
    top = [placed for placed in walk(Config) if len(placed.path) == 1]
    parts.append("\n## Top level\n\n" + _table(top))
    for key, (cls, prefix) in shape(Config).sections.items():
        parts.append(
            f"\n## `{key}`\n{_about(cls)}\n" + _table(list(walk(cls, path=(key,), flag_prefix=prefix)), skip=1)
        )
        if key == "limits":
            parts.append(_LIMITS_NOTE)
    parts += _foreign()
    return "".join(parts)


def main(arguments: Sequence[str]) -> int:
    place = Path(arguments[0] if arguments else PLACE)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(reference(), encoding="utf-8")
    return 0


def _departures() -> Iterator[str]:
    yield "\n## Defaults that differ from Mimir 2.17\n\n| key | here | Mimir | why |\n|---|---|---|---|\n"
    for placed, departure in departures():
        here = _code(placed.leaf.format(placed.leaf.default))
        if departure.alone is not None:
            here = f"{_code(departure.alone)} in `-target=all` that joins nobody, otherwise {here}"
        yield f"| `{placed.key}` | {here} | {_code(departure.mimir)} | {departure.why} |\n"


def _commands() -> Iterator[str]:
    yield "\n## Flags that are not settings\n\n| flag | meaning |\n|---|---|\n"
    yield f"| `-{CONFIG_FILE}` | {CONFIG_FILE_HELP} |\n"
    for name, help in COMMANDS.items():
        yield f"| `-{name}` | {help} |\n"


def _table(rows: Sequence[Placed], *, skip: int = 0) -> str:
    """skip: how many parts of the path the heading says already."""
    lines = ["| key | flag | type | default | meaning |\n|---|---|---|---|---|\n"]
    for placed in rows:
        leaf = placed.leaf
        key = ".".join(placed.path[skip:])
        flag = f"`-{placed.flag}`" if placed.flag is not None else "YAML only"
        default = _code(leaf.format(leaf.default))
        lines.append(f"| `{key}` | {flag} | {leaf.kind.value} | {default} | {_meaning(leaf)} |\n")
    return "".join(lines)


def _meaning(leaf: Leaf) -> str:
    marks = "" if leaf.category is Category.BASIC else f"*{leaf.category.value}.* "
    choices = f" One of {', '.join(_code(choice) for choice in leaf.choices)}." if leaf.choices else ""
    secret = " Shown masked." if leaf.secret else ""
    return marks + leaf.help.replace("|", "\\|") + choices + secret


def _code(text: str) -> str:
    return f"`{text}`" if text else "empty"


def _about(cls: type[Any]) -> str:
    text = (cls.__doc__ or "").strip()
    # Without a docstring of its own a dataclass shows its signature.
    return "" if text.startswith(f"{cls.__name__}(") else f"\n{' '.join(text.split())}\n"


def _foreign() -> Iterator[str]:
    yield "\n## Settings of Mimir that are not here\n"
    for verdict, head in _VERDICT_HEADS.items():
        yield f"\n{head}\n\n"
        for row in FOREIGN:
            if row.verdict is verdict:
                keys = ", ".join(f"`{key}`" for key in row.keys)
                yield f"- {keys}{': ' + row.reason if row.reason else ''}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
