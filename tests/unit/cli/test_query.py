import http.server
import json
import threading
import urllib.parse

import pytest

from mimir_rw.cli.commands import run_command
from mimir_rw.cli.query import bars, error_text, series_text


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
    assert run_command(["query", "1", "--url", server.url, "--output", "json"]) == 0
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


@pytest.mark.parametrize("options", [["--end", "1"], ["--time", "1", "--start", "0"], ["--output", "xml"]])
def test_options_that_do_not_go_together(options):
    assert run_command(["query", "1", *options]) == 2


def test_drawing():
    assert bars([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert bars([1, float("nan"), 1]) == "▁ ▁"
    assert bars([float("nan")]) == ""
    assert len(bars(range(1000))) == 40
    assert series_text({}) == "{}"
    assert series_text({"__name__": "a"}) == "a"
