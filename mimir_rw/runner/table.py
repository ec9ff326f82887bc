"""The live table of `mimir-rw up`, and what is said when all is ready."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mimir_rw.runner.layout import Layout
from mimir_rw.runner.local import Child

_STYLES = {"ready": "green", "ended": "red", "not ready": "yellow", "starting": "yellow", "stopping": "yellow"}
_MIB = 1 << 20


def children_view(children: Sequence[Child]) -> Group:
    """A row per process, and a line for each that is not well: both keep their shape in a narrow terminal."""
    troubles = [
        Text(f"{child.name}: {' '.join(child.detail.split())}", style="yellow", no_wrap=True, overflow="ellipsis")
        for child in children
        if child.detail
    ]
    return Group(children_table(children), *troubles)


def children_table(children: Sequence[Child]) -> Table:
    """A row per process."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("process", "target", "zone", "state", "address", "RSS MiB", "restarts"):
        right = title in ("RSS MiB", "restarts")
        table.add_column(title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for child in children:
        rss = child.rss_bytes()
        table.add_row(
            child.name,
            child.target,
            child.zone or "-",
            Text(child.state, style=_STYLES.get(child.state, "dim")),
            child.address,
            "-" if rss is None else f"{rss / _MIB:.0f}",
            str(child.restarts or "-"),
        )
    return table


def first_steps(layout: Layout) -> str:
    """Where to look, how to write, how to ask, how to stop."""
    host = "localhost" if layout.host in ("127.0.0.1", "0.0.0.0") else layout.host
    base = f"http://{host}:{layout.gateway_port}"
    node = f"http://{host}:{layout.nodes[0].http_port}"
    return f"""
  The cluster is ready: three zones, one door.

    gateway  {base}
    rings    {base}/ring
    pages    {node}/   (each process has them)
    data     {layout.data.absolute()}   (logs in {layout.data / "logs"})

  Send it samples, from prometheus.yml:

    remote_write:
      - url: {base}/api/v1/push

  Ask it (in Grafana: a Prometheus data source with the URL {base}/prometheus):

    curl -G {base}/prometheus/api/v1/query --data-urlencode 'query=up'

  Kill what you like, it comes back. Ctrl-C stops everything in order.
"""
