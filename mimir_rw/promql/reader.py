"""A cursor over the tokens of one query, and how errors are raised from it."""

from __future__ import annotations

from typing import Final, NoReturn

from mimir_rw.promql import tokens as t
from mimir_rw.promql.ast import NumberLiteral, Span
from mimir_rw.promql.errors import ParseError
from mimir_rw.promql.lexer import Lexer
from mimir_rw.promql.literals import parse_duration_ns, parse_number
from mimir_rw.promql.tokens import Token

NESTING_MAX: Final = 128
"""Levels of brackets, calls and operators that wait for their right side."""
DEPTH_MAX: Final = 300
"""Height of the tree, which a long chain of operators reaches without nesting."""
_PORTION: Final = 256
_LAST: Final = (t.END, t.ERROR)


class TokenReader:
    """`token` is the next one. An error names the innermost of `contexts`, pairs of place and expectation."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.lexer = Lexer(query)
        self.tokens = self.lexer.tokens
        self.lexer.read(_PORTION)
        self.index = 0
        self.token = self.tokens[0]
        self.contexts: list[tuple[str, str]] = [("", "")]
        self.nesting = 0

    def advance(self) -> Token:
        """The current token, left behind. Not to be called on the last one."""
        token = self.token
        self.index += 1
        if self.index + 1 >= len(self.tokens) and self.tokens[-1].kind not in _LAST:
            self.lexer.read(_PORTION)
        self.token = self.tokens[self.index]
        return token

    def peek(self) -> str:
        """Kind of the token after the current one."""
        return self.tokens[self.index + 1].kind if self.index + 1 < len(self.tokens) else t.ERROR

    def fail(self, message: str, span: Span) -> NoReturn:
        raise ParseError(message, span=span, query=self.query)

    def unexpected(self, context: str | None = None, expected: str = "") -> NoReturn:
        if context is None:
            context, expected = self.contexts[-1]
        if self.token.kind == t.ERROR:
            self.fail(self.token.text, self.token.span)
        text = f"unexpected {t.describe(self.token)}"
        if context:
            text += f" in {context}"
        if expected:
            text += f", expected {expected}"
        self.fail(text, self.token.span)

    def refuse_error(self) -> None:
        """Report what the lexer could not read before anything that is wrong further left."""
        if self.token.kind == t.ERROR:
            self.unexpected()

    def expect(self, kind: str) -> Token:
        if self.token.kind != kind:
            self.unexpected()
        return self.advance()

    def nest(self, token: Token) -> None:
        """Count one level more; the caller counts it back."""
        self.nesting += 1
        if self.nesting > NESTING_MAX:
            self.fail(f"expression is nested too deeply, at most {NESTING_MAX} levels are allowed", token.span)

    def number(self) -> NumberLiteral:
        """The current NUMBER or DURATION token as a literal; durations in seconds."""
        token = self.advance()
        is_duration = token.kind == t.DURATION
        try:
            value = parse_duration_ns(token.text) / 1e9 if is_duration else parse_number(token.text)
        except ValueError as error:
            self.fail(str(error), token.span)
        return NumberLiteral(value, is_duration, token.span)

    def signed_number(self) -> float:
        negative = self.token.kind == "-"
        if self.token.kind in ("+", "-"):
            self.advance()
        if self.token.kind not in (t.NUMBER, t.DURATION):
            self.unexpected()
        value = self.number().value
        return -value if negative else value
