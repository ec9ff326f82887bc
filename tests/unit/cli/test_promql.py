"""`mimir-rw promql` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mimir_rw.cli.promql import promql_app

GOOD = "load 1m\n up 1 2\neval instant at 1m up * 2\n {} 4\n"
BAD = "eval instant at 0 1 + 1\n 3\neval instant at 0 1\n 1\n"


def run(*arguments: str, text: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(promql_app, list(arguments), input=text)
    return result.exit_code, result.stdout, result.stderr


def test_scripts_in_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "bad.test").write_text(BAD)
    (tmp_path / "good.test").write_text(GOOD)
    code, out, _ = run("test", str(tmp_path / "good.test"))
    assert (code, out) == (0, "1 passed, 0 failed\n")
    code, out, _ = run("test", str(tmp_path))
    assert code == 1
    assert f"FAIL {tmp_path}/deep/bad.test:1 1 + 1\n" in out
    assert "  expected:\n    3\n  got:\n    2\n" in out
    assert out.endswith("\n2 passed, 1 failed\n")


def test_unusable_scripts_are_failures(tmp_path: Path) -> None:
    broken = tmp_path / "broken.test"
    broken.write_text("loud 5m\n")
    code, out, _ = run("test", str(broken), str(tmp_path / "missing.test"))
    assert code == 1
    assert "line 1: unknown command" in out
    assert out.endswith("\n0 passed, 2 failed\n")


def test_empty_folder(tmp_path: Path) -> None:
    code, out, _ = run("test", str(tmp_path))
    assert code == 1
    assert "no *.test file" in out
    assert out.endswith("\n0 passed, 1 failed\n")


@pytest.mark.parametrize("as_argument", [True, False])
def test_format(as_argument: bool) -> None:
    arguments = ["format", "sum( up )by(job)"] if as_argument else ["format"]
    assert run(*arguments, text=None if as_argument else "sum( up )by(job)\n") == (0, "sum by (job) (up)\n", "")


def test_format_says_what_is_wrong_and_where() -> None:
    problem = "1:5: parse error: unclosed left parenthesis\n"
    assert run("format", "sum(") == (1, "", problem + "  sum(\n      ^\n")
    code, _, err = run("format", "sum(a)\n+ é")
    assert (code, err) == (1, "2:3: parse error: unexpected character: 'é'\n  + é\n    ^\n")
    assert run("format", "(" * 500)[2].count("\n") == 1, "a long line is not repeated"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rate(temp[5m])", ['1:6: rate-of-gauge: rate of "temp"']),
        ("rate((x_total[5m])) + rate({__name__=~'x.*'}[5m])", []),
        ("delta(x_total[5m])", ["1:7: delta-of-counter: "]),
        ("rate(sum(x_total)[5m:1m])", ["1:6: rate-of-aggregation: rate of sum: resets are lost"]),
        ("rate((rate(x_total[1m]))[5m:1m])", ["1:7: rate-of-aggregation: rate of rate"]),
        ("max_over_time(sum(rate(x_total[1m]))[5m:1m])", []),
        ("histogram_quantile(.9, sum by (job) (rate(h_bucket[5m])))", ["1:24: le-dropped: "]),
        ("histogram_quantile(.9, sum without (le) (rate(h_bucket[5m])))", ["1:24: le-dropped: "]),
        ("histogram_quantile(.9, sum by (le, job) (rate(h_bucket[5m])))", []),
        ("histogram_quantile(.9, sum without (job) (rate(h_bucket[5m])))", []),
        ("histogram_quantile(.9, sum by (job) (native))", []),
        ("quantile(95, a)", ["1:10: quantile-out-of-range: a quantile is between 0 and 1, not 95; 0.95 is meant?"]),
        ("quantile_over_time(-1, a[5m])", ["1:20: quantile-out-of-range: a quantile is between 0 and 1, not -1"]),
        ('a{b=~"c"} + a{b!~"c"}', ['1:1: needless-regex: b=~"c" has no pattern; b="c" is the same', "1:13: needless"]),
        ('a{b=~"c|d", e=~".+"}', []),
        ('a{b=~".*"} + a{b!~".*"}', ["1:1: matches-anything: ", "1:14: matches-anything: "]),
        ('{job="x"}', ["1:1: no-metric-name: "]),
        ('info(a, {b="c"})', []),
        ("sum(sort(a))", ["1:5: useless-sort: "]),
        ("(sort(a))", []),
        ("-1 < bool (2)", ["1:1: constant-condition: "]),
        ("a < 1 or vector(1) < bool 2", []),
        ("sum by (a, b, a) (c)", ['1:1: repeated-label: the label "a" is listed twice']),
        ("a * on (b, b) group_left (c, c) d", ["1:1: repeated-label: ", "1:1: repeated-label: "]),
        ("max_over_time(a[1m:5m])", ["1:15: step-over-range: steps of 5m leave windows of 1m empty"]),
        ("rate(x_total[29s])", ["1:6: range-too-short: "]),
        ("rate(x_total[30s]) + rate(x_total[step()]) + max_over_time(a[1s])", []),
        ("sum(", ["1:5: parse-error: "]),
    ],
)
def test_lint(text: str, found: list[str]) -> None:
    code, out, _ = run("lint", "--json", "--", text)
    findings = [f"{each['position']}: {each['rule']}: {each['message']}" for each in json.loads(out)]
    assert len(findings) == len(found), findings
    assert all(finding.startswith(want) for finding, want in zip(findings, found, strict=True)), findings
    assert code == bool(found)


def test_lint_for_people() -> None:
    code, out, _ = run("lint", text="sum(\n  rate(temp[1m]))\n")
    assert (code, out) == (
        1,
        '2:8: rate-of-gauge: rate of "temp", whose name is not a counter\'s (_total/_sum/_count/_bucket)\n',
    )
    assert run("lint", "--scrape-interval", "1m", "rate(x_total[90s])")[0] == 1
    assert run("lint", "--scrape-interval", "40s", "rate(x_total[90s])") == (0, "", "")
    assert run("lint", "--scrape-interval", "soon", "up")[0] == 2
    assert run("lint", "up +")[2].startswith("1:5: parse error: ")
