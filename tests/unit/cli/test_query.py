import http.server
import io
import json
import threading
import urllib.parse

import pytest
from rich.console import Console

from mimir_rw.cli.commands import run_command
from mimir_rw.cli.explain import explanation
from mimir_rw.cli.query import error_text
from mimir_rw.cli.query_text import bars, clock, duration_text, series_text, size_text


class Answering(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.append((self.path, dict(urllib.parse.parse_qsl(body)), dict(self.headers)))
        status, answer = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode() if not isinstance(answer, bytes) else answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as serving:
        serving.seen = []
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        serving.url = f"http://127.0.0.1:{serving.server_port}"
        yield serving
        serving.shutdown()


def success(kind, result, **more):
    return 200, {"status": "success", "data": {"resultType": kind, "result": result}, **more}


def test_instant_query_as_a_table(server, capsys):
    server.answer = success(
        "vector",
        [{"metric": {"__name__": "up", "job": "a"}, "value": [1, "1"]}],
        warnings=["careful"],
    )
    assert run_command(["query", "up", "--url", server.url, "--tenant", "t1", "--time", "5"]) == 0
    path, params, headers = server.seen[0]
    assert path == "/prometheus/api/v1/query"
    assert params == {"query": "up", "time": "5"}
    assert headers["X-Scope-Orgid"] == "t1"
    out = capsys.readouterr()
    assert 'up{job="a"}' in out.out
    assert "careful" in out.err


def test_range_query_and_credentials(server, capsys, monkeypatch):
    monkeypatch.setenv("MIMIR_ADDRESS", server.url)
    monkeypatch.setenv("MIMIR_TENANT_ID", "t2")
    monkeypatch.setenv("MIMIR_API_KEY", "secret")
    server.answer = success("matrix", [{"metric": {}, "values": [[0, "1"], [60, "NaN"], [120, "3"]]}])
    assert run_command(["query", "a", "--start", "0", "--end", "120"]) == 0
    path, params, headers = server.seen[0]
    assert path == "/prometheus/api/v1/query_range"
    assert params == {"query": "a", "start": "0", "end": "120", "step": "1"}
    assert headers["Authorization"] == "Basic dDI6c2VjcmV0"
    assert "1970-01-01 00:02:00" in capsys.readouterr().out.replace("\n", " ")


def test_times_ago(server):
    server.answer = success("scalar", [0, "1"])
    assert run_command(["query", "1", "--url", server.url, "--start", "1h", "--end", "now", "--step", "5m"]) == 0
    params = server.seen[0][1]
    assert float(params["end"]) - float(params["start"]) == pytest.approx(3600, abs=1)
    assert params["step"] == "5m"


def test_json_is_what_came(server, capsys):
    server.answer = success("scalar", [0, "1"])
    assert run_command(["query", "1", "--url", server.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == server.answer[1]


def test_errors_are_the_servers_own_words(server, capsys):
    server.answer = 400, {"status": "error", "errorType": "bad_data", "error": "1:1: parse error: oh"}
    assert run_command(["query", "(", "--url", server.url]) == 1
    assert capsys.readouterr().err == "bad_data: 1:1: parse error: oh\n"
    assert error_text(401, b"no org id\n") == "no org id"
    assert error_text(502, b"") == "HTTP status 502"


def test_no_server(capsys):
    assert run_command(["query", "1", "--url", "http://127.0.0.1:1"]) == 1
    assert "does not answer" in capsys.readouterr().err
    assert run_command(["query", "1", "--url", "ftp://x"]) == 1


@pytest.mark.parametrize(
    "options", [["--end", "1"], ["--time", "1", "--start", "0"], ["--output", "xml"], ["--json=x"]]
)
def test_options_that_do_not_go_together(options):
    assert run_command(["query", "1", *options]) == 2


HISTOGRAM = {"count": "5", "sum": "10.5", "buckets": [[0, "1", "2", "5"]]}


def test_histograms_are_told_by_count_and_sum(server, capsys):
    server.answer = success("vector", [{"metric": {"__name__": "h"}, "histogram": [1, HISTOGRAM]}])
    assert run_command(["query", "h", "--url", server.url]) == 0
    assert "histogram: count 5, sum 10.5" in capsys.readouterr().out
    server.answer = success("matrix", [{"metric": {}, "histograms": [[0, HISTOGRAM], [60, HISTOGRAM]]}])
    assert run_command(["query", "h", "--url", server.url, "--start", "0", "--plot"]) == 0
    assert "histogram: count 5, sum 10.5" in capsys.readouterr().out


def test_a_range_is_drawn_when_asked_for(server, capsys):
    server.answer = success(
        "matrix", [{"metric": {"i": str(i)}, "values": [[t, str(t * i)] for t in range(0, 600, 60)]} for i in range(12)]
    )
    assert run_command(["query", "a", "--url", server.url, "--start", "0", "--plot"]) == 0
    out = capsys.readouterr().out
    assert "└" in out or "+-" in out
    assert "the first 8 of 12 series" in out
    assert out.index("the first 8") < out.index('{i="11"}')
    assert run_command(["query", "a", "--url", server.url, "--start", "0"]) == 0
    assert "the first 8" not in capsys.readouterr().out


OPERATOR = {
    "operator": "sum", "expression": "sum(up)", "evaluations": 1, "steps": 2, "rowsIn": 1234, "rowsOut": 1,
    "samples": 0, "bytes": 2048, "peakBytes": 3 << 20, "seconds": 0.25, "ownSeconds": 0.05, "notes": [], "children": [],
}  # fmt: skip
SELECT = OPERATOR | {"operator": "select", "expression": "up", "notes": ["once"], "evaluations": 2, "ownSeconds": 0.2}
EXPLAIN = {
    "rewrites": ["fold_constants"],
    "selects": [{"matchers": '{__name__="up"}', "start": 0, "end": 60, "series": 3, "samples": 12}],
    "plan": OPERATOR | {"children": [SELECT, SELECT | {"operator": "number", "expression": "1"}]},
}
STATS = {
    "timings": {"execTotalTime": 0.3, "execQueueTime": 0.01, "queryPreparationTime": 0.04, "innerEvalTime": 0.25},
    "samples": {"samplesRead": 12},
}


def test_explain_is_a_tree_with_columns(server, capsys):
    server.answer = (
        200,
        {
            "status": "success",
            "data": {"resultType": "vector", "result": [{}], "explain": EXPLAIN, "stats": STATS},
        },
    )
    assert run_command(["query", "sum(up)", "--url", server.url, "--explain"]) == 0
    assert server.seen[0][1] == {"query": "sum(up)", "explain": "true", "stats": "true"}
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[1].split()) == "sum sum(up) 1,234 1 2 0 2.0 KiB 3.0 MiB 250 ms 50 ms 20%"
    assert lines[2].startswith("├─ select x2 [once]  up ")
    assert max(len(line) for line in lines) < 200
    assert lines[3].startswith("└─ number x2 [once] 1 ")
    assert any(line.startswith('{__name__="up"}') and line.endswith(" 3       12") for line in lines)
    assert "rewrites: fold_constants" in lines
    assert lines[-1].startswith("1 series, 12 samples read; 300 ms in all: queued 10 ms")


def test_explain_leaves_out_columns_that_do_not_fit():
    data = {"resultType": "vector", "result": [], "explain": EXPLAIN, "stats": STATS}
    names = {}
    for width in (20, 60, 80, 200):
        table = explanation(data, width)[0]
        names[width] = [column.header for column in table.columns]
        Console(width=width, file=io.StringIO()).print(table)
    assert names[20] == ["operator"]
    assert names[60] == ["operator", "rows out", "bytes", "time", "own %"]
    assert len(names[80]) < len(names[200]) == 10


def test_explain_of_a_range_vector_has_no_plan(server, capsys):
    server.answer = (
        200,
        {
            "status": "success",
            "data": {"resultType": "matrix", "result": [], "explain": EXPLAIN | {"plan": None}, "stats": STATS},
        },
    )
    assert run_command(["query", "up[5m]", "--url", server.url, "--explain"]) == 0
    assert capsys.readouterr().out.startswith("select ")


def test_servers_that_are_something_else(server, capsys):
    server.answer = success("scalar", [0, "1"])
    assert run_command(["query", "1", "--url", server.url, "--explain"]) == 1
    assert "can not explain" in capsys.readouterr().err
    for other in (b"<html>", {"status": "success"}, [1]):
        server.answer = 200, other
        assert run_command(["query", "1", "--url", server.url]) == 1
        assert "does not answer as Prometheus does" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 << 20, "200 MiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 µs"), (0.0000015, "2 µs"), (0.0123, "12.3 ms"), (1.5, "1.5 s"), (4000, "4000 s")]
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_times_no_calendar_has():
    assert clock(1e18) == "1e+18"
    assert clock(-1) == "1969-12-31 23:59:59"


def test_drawing():
    assert bars([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert bars([1, float("nan"), 1]) == "▁ ▁"
    assert bars([float("nan")]) == ""
    assert len(bars(range(1000))) == 40
    assert bars([1.7e308, -1.7e308]) == "█▁"
    assert series_text({}) == "{}"
    assert series_text({"__name__": "a"}) == "a"
