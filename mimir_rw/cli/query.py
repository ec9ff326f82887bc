"""`mimir-rw query`: ask a server; the answer as a table, as a drawing, as the JSON it sent, or explained."""

from __future__ import annotations

import base64
import json
import math
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from mimir_rw.cli.explain import explanation
from mimir_rw.cli.plot import SERIES_MAX, WIDTH_MIN, Line, Shape, draw
from mimir_rw.cli.query_text import colour, tables
from mimir_rw.config.values import parse_duration

_TIMEOUT_SECONDS = 300
_STEPS_WANTED = 120
_PIPE_COLUMNS = 250
_PLOT_PIPE_COLUMNS = 100
_PLOT_LINES_MAX = 20


def query(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help="PromQL expression.")],
    url: Annotated[str, typer.Option(envvar="MIMIR_ADDRESS", help="Where the server or gateway listens.")] = (
        "http://localhost:8080"
    ),
    tenant: Annotated[str, typer.Option(envvar="MIMIR_TENANT_ID", help="Tenant, sent as X-Scope-OrgID.")] = "",
    user: Annotated[str, typer.Option(envvar="MIMIR_API_USER", help="User for basic authentication.")] = "",
    key: Annotated[str, typer.Option(envvar="MIMIR_API_KEY", help="Password for basic authentication.")] = "",
    at: Annotated[str, typer.Option("--time", help="Time of an instant query: see below. Now by default.")] = "",
    start: Annotated[str, typer.Option(help="Start of a range query.")] = "",
    end: Annotated[str, typer.Option(help="End of a range query; now by default.")] = "",
    step: Annotated[str, typer.Option(help="Step of a range query, such as 30s; by default about 120 steps.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as it came.")] = False,
    plot: Annotated[
        bool | None,
        typer.Option("--plot/--no-plot", help="Draw a range; by default on a terminal that is wide enough."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each operator did, not the result.")] = False,
    prefix: Annotated[str, typer.Option(help="Path of the Prometheus API.")] = "/prometheus",
) -> None:
    """Evaluate EXPR on a server: at one time, or over a range when --start is given.

    Times are Unix seconds, RFC 3339, now, or how long ago, such as 1h. Exit status 1 when the server answers with an
    error.
    """
    params = _params(expression, at, start, end, step, now_s=time.time())
    path = "query_range" if "start" in params else "query"
    if explain:
        params |= {"explain": "true", "stats": "true"}
    answer, body = _ask(f"{url.rstrip('/')}{prefix.rstrip('/')}/api/v1/{path}", params, _headers(tenant, user, key))
    if as_json:
        sys.stdout.write(body.decode(errors="replace") + "\n")
        return
    for kind in ("warnings", "infos"):
        for text in answer.get(kind, []):
            print(text, file=sys.stderr)
    data, console = answer["data"], _console(_PIPE_COLUMNS)
    if explain:
        if "explain" not in data:
            print("the server can not explain queries; is it mimir-rw?", file=sys.stderr)
            raise typer.Exit(1)
        console.print(*explanation(data, console.width), sep="\n", highlight=False)
        return
    marks = _draw(data["result"], plot) if data["resultType"] == "matrix" else ""
    console.print(*tables(data, console.width, marks), sep="\n", highlight=False)


def _ask(url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> tuple[dict[str, Any], bytes]:
    """The success answer, and as it came; any other ends the command."""
    try:
        status, body = _post(url, params, headers)
    except (OSError, ValueError) as error:
        print(f"{url} does not answer: {getattr(error, 'reason', error)}", file=sys.stderr)
        raise typer.Exit(1) from None
    if status != 200:
        print(error_text(status, body), file=sys.stderr)
        raise typer.Exit(1)
    try:
        answer = json.loads(body)
        return {**answer, "data": {**answer["data"]}}, body
    except (ValueError, KeyError, TypeError):
        print(f"{url} does not answer as Prometheus does; is --prefix right?", file=sys.stderr)
        raise typer.Exit(1) from None


def _console(pipe_columns: int) -> Console:
    """As wide as the terminal; into a pipe, lines are not cut at the width of a terminal that is not there."""
    return Console(width=None if sys.stdout.isatty() else pipe_columns)


def _draw(result: list[dict[str, Any]], wanted: bool | None) -> str:
    """Draw the first series; the marks by which the table names them, "" where nothing is drawn."""
    console = _console(_PLOT_PIPE_COLUMNS)
    enough = sys.stdout.isatty() and console.width >= WIDTH_MIN
    lines = [_line(series) for series in result]
    if wanted is False or (wanted is None and not enough) or max((len(line.times) for line in lines), default=0) < 2:
        return ""
    coloured = console.color_system is not None and not console.no_color
    unicode = (console.encoding or "").lower().startswith("utf")
    shape = Shape(
        width=console.width,
        height=max(6, min(_PLOT_LINES_MAX, shutil.get_terminal_size().lines // 2)),
        step=_step_s(lines),
        braille=coloured and unicode,
        unicode=unicode,
    )
    drawing = draw(lines, shape)
    for row in drawing:
        console.print(Text.assemble(*((cell.text, _style(cell.series)) for cell in row)), no_wrap=True, overflow="crop")
    if not drawing:
        return ""
    if len(lines) > SERIES_MAX:
        console.print(f"the first {SERIES_MAX} of {len(lines)} series")
    console.print()
    return "━" * SERIES_MAX if shape.braille else shape.marks


def _style(series: int | None) -> str:
    return "" if series is None else colour(series)


def _line(series: Mapping[str, Any]) -> Line:
    points = series.get("values", [])
    return Line([float(at) for at, _ in points], [float(value) for _, value in points])


def _step_s(lines: list[Line]) -> float:
    """The smallest distance between samples: the answer does not say its step."""
    gaps = (after - before for line in lines for before, after in zip(line.times, line.times[1:], strict=False))
    return min(gaps, default=1.0)


def _params(expression: str, at: str, start: str, end: str, step: str, *, now_s: float) -> dict[str, str]:
    """The parameters of the request. Raises BadParameter for what does not go together."""
    if not start:
        if end or step:
            raise typer.BadParameter("--end and --step need --start")
        return {"query": expression, **({"time": _time(at, now_s)} if at else {})}
    if at:
        raise typer.BadParameter("--time does not go with --start")
    begin, until = _time(start, now_s), _time(end, now_s) if end else f"{now_s:.3f}"
    return {"query": expression, "start": begin, "end": until, "step": step or _step(begin, until)}


def _time(text: str, now_s: float) -> str:
    """What the server understands: a duration is taken as that long ago, anything else goes as it is."""
    if text == "now":
        return f"{now_s:.3f}"
    try:
        return f"{now_s - parse_duration(text.lstrip('-')) / 1000:.3f}" if text[-1:].isalpha() else text
    except ValueError:
        return text


def _step(start: str, end: str) -> str:
    try:
        length = float(end) - float(start)
    except ValueError:
        return "60"
    return str(max(1, math.ceil(length / _STEPS_WANTED)))


def _headers(tenant: str, user: str, key: str) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if tenant:
        headers["X-Scope-OrgID"] = tenant
    if key:
        pair = f"{user or tenant}:{key}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    return headers


def _post(url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Status and body, whatever the status. Raises OSError or ValueError (not a URL)."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("the URL must begin with http:// or https://")
    request = urllib.request.Request(url, data=urllib.parse.urlencode(params).encode(), headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def error_text(status: int, body: bytes) -> str:
    """The server's own words where it has any."""
    try:
        answer = json.loads(body)
        return f"{answer['errorType']}: {answer['error']}"
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or f"HTTP status {status}"
