"""What is wrong with a query text, and where."""

from __future__ import annotations

from mimir_rw.model.errors import BadRequest
from mimir_rw.promql.ast import Span, position


class InvalidQuery(BadRequest):
    """The query can not be evaluated whatever the data is."""


class ParseError(InvalidQuery):
    """The text is not valid PromQL. `str()` is `line:column: parse error: message`, as Prometheus prints it."""

    def __init__(self, message: str, *, span: Span, query: str) -> None:
        super().__init__(f"{position(query, span.start)}: parse error: {message}")
        self.message = message
        self.span = span
        self.query = query
