"""Our parser and printer beside what Prometheus' parser recorded (tests/golden/promql_parse)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mimir_rw.promql.ast import walk
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.parser import parse_expression
from mimir_rw.promql.printer import format_expr, pretty

RECORDS = json.loads((Path(__file__).parents[2] / "golden" / "promql_parse" / "promql_parse.json").read_text())


@pytest.mark.parametrize("record", RECORDS, ids=[str(number) for number in range(len(RECORDS))])
def test_as_recorded(record: dict[str, Any]) -> None:
    text = record["expr"]
    if "error" in record:
        with pytest.raises(ParseError) as caught:
            parse_expression(text)
        assert str(caught.value) == record["error"]
        return
    expr = parse_expression(text)
    assert format_expr(expr) == record["string"]
    assert pretty(expr) == record["pretty"]
    assert expr.type.value == record["type"]
    nodes = sorted((type(node).__name__, len(text[: node.span.start].encode())) for node in walk(expr))
    assert nodes == sorted((kind, start) for kind, start, _ in record["nodes"])
