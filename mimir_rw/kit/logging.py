"""Log lines of the process: logfmt like Mimir's (`ts=… level=info msg="…"`), or JSON, on stderr.

`configure` is called once by `app/`. Modules take a logger with `get_logger(component="…")`; it may be made before
`configure`, since it binds to the settings when first used. Never log per sample or per request at info.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO, cast

# structlog loads rich wherever it is installed, for coloured tracebacks on a terminal that nobody asks for here: half
# of its import time and 8 MiB. The commands, which do use rich, import it themselves.
_RICH_HIDDEN = "rich" not in sys.modules
if _RICH_HIDDEN:
    sys.modules["rich"] = cast("Any", None)
import structlog  # noqa: E402
from structlog.typing import FilteringBoundLogger, WrappedLogger  # noqa: E402

from mimir_rw.kit.trace import current_trace  # noqa: E402

if _RICH_HIDDEN:
    del sys.modules["rich"]

Logger = FilteringBoundLogger

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}
_LEVEL_NAMES = {"warning": "warn", "critical": "error", "exception": "error"}


def get_logger(**fields: object) -> Logger:
    """A logger whose lines carry `fields`, after ts, level and msg."""
    return cast("Logger", structlog.get_logger(**fields))


def configure(*, level: str = "info", format: str = "logfmt", stream: TextIO | None = None) -> None:
    """Set what every logger does. level: debug, info, warn or error; format: logfmt or json."""
    renderer: structlog.typing.Processor
    if format == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.processors.LogfmtRenderer(bool_as_flag=False)
    structlog.configure(
        processors=[
            _stamp,
            structlog.processors.ExceptionRenderer(),
            _escape_breaks if format != "json" else _unchanged,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lossy(stream or sys.stderr))),
        cache_logger_on_first_use=True,
    )


class _Lossy:
    """A stream that drops what it cannot write: a closed pipe or a full disk under the log must not fail, or keep from
    stopping, the work that a line tells about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _stamp(_: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put ts, level and msg in front, as Mimir does, and at the end which request it is about."""
    head: dict[str, Any] = {
        "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": _LEVEL_NAMES.get(method, method),
        "msg": event.pop("event", ""),
    }
    head.update(event)
    if trace_id := current_trace():
        head["trace_id"] = trace_id
    return head


def _unchanged(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event


def _escape_breaks(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """One event is one line, whatever a user put into a tenant id or a query."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            # The renderer itself takes care of line feeds.
            event[key] = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in value)
    return event
