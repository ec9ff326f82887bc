"""The first screen: shown once on a terminal when everything runs. Log lines go to stderr and stay whole."""

from __future__ import annotations

from pathlib import Path

import mimir_rw
from mimir_rw.config.tree import Config

EXAMPLE_TENANT = "demo"


def first_screen(config: Config, port: int) -> str:
    """What runs, where its data lies, how to write to it, how to ask it, how to stop it."""
    server = config.server
    scheme = "https" if server.http_tls_config.cert_file or server.http_tls_config.cert else "http"
    host = server.http_listen_address if server.http_listen_address not in ("", "0.0.0.0", "::") else "localhost"
    base = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    base += server.http_path_prefix.rstrip("/")
    queries = base + config.api.prometheus_http_prefix.rstrip("/")
    needs_tenant = config.multitenancy_enabled
    lines = [
        "",
        f"  mimir-rw {mimir_rw.__version__} is running (target {','.join(config.target)})",
        "",
        f"    pages    {base}/",
        f"    data     {Path(config.blocks_storage.tsdb.dir).absolute()}",
        "",
        "  Send it samples, from prometheus.yml:",
        "",
        "    remote_write:",
        f"      - url: {base}/api/v1/push",
        *([f"        headers: {{X-Scope-OrgID: {EXAMPLE_TENANT}}}"] if needs_tenant else []),
        "",
        "  Ask it (in Grafana: a Prometheus data source with the URL up to /prometheus):",
        "",
        "    curl -G "
        + (f"-H 'X-Scope-OrgID: {EXAMPLE_TENANT}' " if needs_tenant else "")
        + f"{queries}/api/v1/query --data-urlencode 'query=up'",
        "",
        "  Ctrl-C stops it.",
        "",
        "",
    ]
    text = "\n".join(lines)
    return text.replace("with the URL up to /prometheus", f"with the URL {queries}")
