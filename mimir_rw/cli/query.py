"""`mimir-rw query`: ask a server, as a table or as the JSON it sent."""

from __future__ import annotations

import base64
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mimir_rw.config.values import parse_duration

_TIMEOUT_SECONDS = 300
_STEPS_WANTED = 120
_PIPE_COLUMNS = 250
_BARS = "▁▂▃▄▅▆▇█"
_BARS_MAX = 40


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
    output: Annotated[str, typer.Option(help="table or json (the answer as it came).")] = "table",
    prefix: Annotated[str, typer.Option(help="Path of the Prometheus API.")] = "/prometheus",
) -> None:
    """Evaluate EXPR on a server: at one time, or over a range when --start is given.

    Times are Unix seconds, RFC 3339, now, or how long ago, such as 1h. Exit status 1 when the server answers with an
    error.
    """
    if output not in ("table", "json"):
        raise typer.BadParameter("must be table or json", param_hint="--output")
    params = _params(expression, at, start, end, step, now_s=time.time())
    path = "query_range" if "start" in params else "query"
    headers = _headers(tenant, user, key)
    try:
        status, body = _post(f"{url.rstrip('/')}{prefix.rstrip('/')}/api/v1/{path}", params, headers)
    except (OSError, ValueError) as error:
        print(f"{url} does not answer: {getattr(error, 'reason', error)}", file=sys.stderr)
        raise typer.Exit(1) from None
    if status != 200:
        print(error_text(status, body), file=sys.stderr)
        raise typer.Exit(1)
    if output == "json":
        sys.stdout.write(body.decode() + "\n")
        return
    answer = json.loads(body)
    for kind in ("warnings", "infos"):
        for text in answer.get(kind, []):
            print(text, file=sys.stderr)
    # Into a pipe, lines are not cut at the width of a terminal that is not there.
    Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS).print(*tables(answer["data"]), sep="\n")


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


def tables(data: Mapping[str, Any]) -> list[Table | str]:
    """What to print for a result of any type."""
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        return [str(result[1])]
    if not result:
        return ["empty result"]
    return [_vector(result) if kind == "vector" else _matrix(result)]


def _vector(result: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("series", "value")
    for each in result:
        value = str(each["value"][1]) if "value" in each else "(histogram)"
        table.add_row(series_text(each["metric"]), value)
    return table


def _matrix(result: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("series", "samples", "from", "to", "min", "max", "last", "")
    for each in result:
        points = each.get("values")
        if not points:
            table.add_row(series_text(each["metric"]), "(histograms)")
            continue
        values = [float(value) for _, value in points]
        real = [value for value in values if not math.isnan(value)] or [math.nan]
        table.add_row(
            series_text(each["metric"]),
            str(len(points)),
            _clock(points[0][0]),
            _clock(points[-1][0]),
            f"{min(real):.6g}",
            f"{max(real):.6g}",
            f"{values[-1]:.6g}",
            bars(values),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        text = column in ("series", "from", "to", "")
        table.add_column(column, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    return table


def series_text(metric: Mapping[str, str]) -> str:
    labels = ", ".join(f"{name}={json.dumps(value)}" for name, value in metric.items() if name != "__name__")
    name = metric.get("__name__", "")
    return f"{name}{{{labels}}}" if labels or not name else name


def bars(values: Sequence[float]) -> str:
    """A small drawing of the values; those that are not finite are left blank."""
    shown = [values[i * len(values) // _BARS_MAX] for i in range(_BARS_MAX)] if len(values) > _BARS_MAX else values
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[int((value - low) * scale)] if math.isfinite(value) else " " for value in shown)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
