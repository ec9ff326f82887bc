"""Query text to tokens, in one pass and linear time.

The lexer is modal, as Prometheus' is: inside braces every word is a label name; from a `[` up to its first number only
duration arithmetic is known. It never raises: what it cannot read becomes an ERROR token, the last one, so that an
earlier syntax error is reported first.
"""

from __future__ import annotations

import re

from mimir_rw.promql import tokens as t
from mimir_rw.promql.quoting import quote, quote_char, unicode_name
from mimir_rw.promql.tokens import Token

_SKIP = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)+")
_SPACE = re.compile(r"[ \t\r\n]+")
_WORD = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LETTERS = re.compile(r"[A-Za-z_]+")
_PLAIN_STRING = re.compile(
    r'"[^"\\\n\ufffd\ud800-\udfff]*"|\'[^\'\\\n\ufffd\ud800-\udfff]*\'|`[^`\ufffd\ud800-\udfff]*`'
)
_PLAIN_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.])")
_PLAIN_DURATION = re.compile(r"[0-9]+(?:ms|[smhdwy])(?:[0-9]+(?:ms|[smhdw]))*(?![A-Za-z0-9_.])")
_SYMBOL = re.compile(r"==|!=|<=|<|>=|>|[,*/%+\-^@()\[\]{}=]")
_BRACE_SYMBOL = re.compile(r"=~|!~|!=|[,=}]")
_DURATION_SYMBOL = re.compile(r"[()+\-*/%^,]")
_HEX_DIGITS = "0123456789abcdefABCDEF"
_DIGITS = "0123456789"


class Lexer:
    """`tokens` grows with each `read`; the last one of all is of kind END or ERROR.

    Read in portions, so that a text that is wrong at its beginning costs no more than its beginning.
    """

    __slots__ = (
        "braces", "brackets", "durations", "got_colon", "got_duration", "parens", "pos", "query", "tokens",
    )  # fmt: skip

    def __init__(self, query: str) -> None:
        self.query = query
        self.pos = 0
        self.tokens: list[Token] = []
        self.parens = 0
        self.braces = False
        self.brackets = False
        self.durations = False  # inside brackets, before the first number
        self.got_colon = False
        self.got_duration = False

    def read(self, count: int) -> None:
        """Append about `count` tokens, as far as the text goes. Not to be called after the last one."""
        query, size, tokens = self.query, len(self.query), self.tokens
        skip, space = _SKIP.match, _SPACE.match
        going, wanted = True, len(tokens) + count
        while going and len(tokens) < wanted:
            blank = (space if self.durations else skip)(query, self.pos)
            if blank:
                self.pos = blank.end()
            if self.pos >= size:
                self._end()
                break
            if self.braces:
                going = self._inside_braces()
            elif self.durations:
                going = self._duration()
            else:
                going = self._statement()

    def _emit(self, kind: str, end: int) -> bool:
        self.tokens.append(Token(kind, self.pos, end, self.query[self.pos : end]))
        self.pos = end
        return True

    def _fail(self, message: str, at: int | None = None) -> bool:
        start = self.pos if at is None else at
        self.tokens.append(Token(t.ERROR, start, len(self.query), message))
        return False

    def _end(self) -> None:
        if self.braces:
            self._fail("unexpected end of input inside braces")
        elif self.durations:
            self._fail("unexpected end of input in duration expression")
        elif self.parens:
            self._fail("unclosed left parenthesis")
        elif self.brackets:
            self._fail("unclosed left bracket")
        else:
            self._emit(t.END, self.pos)

    def _statement(self) -> bool:
        query, pos = self.query, self.pos
        char = query[pos]
        word = _WORD.match(query, pos)
        if word:
            return self._bracket_word(char) if self.brackets else self._word(word.end())
        if char in _DIGITS or (char == "." and query[pos + 1 : pos + 2] in tuple(_DIGITS)):
            return self._number()
        if char in "\"'`":
            return self._string()
        symbol = _SYMBOL.match(query, pos)
        if symbol:
            return self._symbol(symbol.group(), symbol.end())
        if char == "!":
            return self._fail(f"unexpected character after '!': {quote_char(query[pos + 1 : pos + 2])}")
        return self._fail(f"unexpected character: {quote_char(char)}")

    def _symbol(self, symbol: str, end: int) -> bool:
        after = self.query[end : end + 1]
        if symbol in ("<", ">") and after == "/":
            return self._emit(symbol + "/", end + 1)
        if symbol == "=" and after == "~":
            return self._fail("unexpected character after '=': '~'")
        if symbol == "[":
            if self.brackets:
                return self._fail("unexpected left bracket '['")
            self.brackets = self.durations = True
            self.got_colon = False
        elif symbol == "]":
            if not self.brackets:
                return self._fail("unexpected right bracket ']'")
            self.brackets = False
        elif symbol == "{":
            self.braces = True
        elif symbol == "}":
            return self._fail("unexpected character: '}'")
        elif symbol in "()":
            return self._paren(symbol)
        return self._emit(symbol, end)

    def _paren(self, symbol: str) -> bool:
        self.parens += 1 if symbol == "(" else -1
        if self.parens < 0:
            return self._fail("unexpected right parenthesis ')'", self.pos + 1)
        return self._emit(symbol, self.pos + 1)

    def _word(self, end: int) -> bool:
        word = self.query[self.pos : end]
        kind = word if word in t.KEYWORDS else word.lower()
        if kind in t.KEYWORDS:
            if kind.startswith("fill") and not self._paren_follows(end):
                kind = t.IDENTIFIER
        elif kind in ("inf", "nan"):
            kind = t.NUMBER
        else:
            kind = t.METRIC_IDENTIFIER if ":" in word else t.IDENTIFIER
        return self._emit(kind, end)

    def _paren_follows(self, pos: int) -> bool:
        blank = _SPACE.match(self.query, pos)
        return self.query.startswith("(", blank.end() if blank else pos)

    def _bracket_word(self, char: str) -> bool:
        if char == ":":
            if self.got_colon:
                return self._fail("unexpected colon ':'")
            self.got_colon = True
            return self._emit(":", self.pos + 1)
        return self._duration_word() or self._fail(f"unexpected character: {quote_char(char)}, expected ':'")

    def _duration_word(self) -> bool:
        word = _LETTERS.match(self.query, self.pos)
        kind = word.group().lower() if word else ""
        return bool(word) and kind in t.DURATION_WORDS and self._emit(kind, self.pos + len(kind))

    def _duration(self) -> bool:
        char = self.query[self.pos]
        if char == "]":
            self.brackets = self.durations = self.got_colon = False
            return self._emit("]", self.pos + 1)
        if char == ":":
            if not self.got_duration:
                return self._fail("unexpected colon before duration in duration expression", self.pos + 1)
            if self.got_colon:
                return self._fail("unexpected repeated colon in duration expression", self.pos + 1)
            self.got_colon = True
            return self._emit(":", self.pos + 1)
        if char in "()":
            return self._paren(char)
        if _DURATION_SYMBOL.match(char):
            return self._emit(char, self.pos + 1)
        if char in _DIGITS or (char == "." and self.query[self.pos + 1 : self.pos + 2] in tuple(_DIGITS)):
            self.got_duration = True
            self.durations = False
            return self._number()
        if self._duration_word():
            self.got_duration = True
            return True
        return self._fail(f"unexpected character in duration expression: {quote_char(char)}")

    def _inside_braces(self) -> bool:
        query, pos = self.query, self.pos
        char = query[pos]
        word = _LABEL.match(query, pos)
        if word:
            return self._emit(t.IDENTIFIER, word.end())
        if char in "\"'`":
            return self._string()
        symbol = _BRACE_SYMBOL.match(query, pos)
        if symbol:
            self.braces = char != "}"
            return self._emit(symbol.group(), symbol.end())
        if char == "!":
            return self._fail(f"unexpected character after '!' inside braces: {quote_char(query[pos + 1 : pos + 2])}")
        if char == "{":
            return self._fail("unexpected left brace '{'")
        return self._fail(f"unexpected character inside braces: {quote_char(char)}")

    def _string(self) -> bool:
        plain = _PLAIN_STRING.match(self.query, self.pos)
        if plain:
            return self._emit(t.STRING, plain.end())
        end, problem = scan_string(self.query, self.pos)
        return self._fail(problem) if problem else self._emit(t.STRING, end)

    def _number(self) -> bool:
        query, pos = self.query, self.pos
        plain = _PLAIN_NUMBER.match(query, pos)
        if plain:
            return self._emit(t.NUMBER, plain.end())
        plain = _PLAIN_DURATION.match(query, pos)
        if plain:
            return self._emit(t.DURATION, plain.end())
        end, good = _scan_number(query, pos)
        if good:
            return self._emit(t.NUMBER, end)
        end, good = _scan_duration(query, end)
        if good:
            return self._emit(t.DURATION, end)
        return self._fail(f"bad number or duration syntax: {quote(query[pos:end])}")


_STRING_STOP = re.compile(r"[\\\"'`\n\ufffd\ud800-\udfff]")
_ESCAPE_DIGITS = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}


def scan_string(text: str, start: int) -> tuple[int, str]:
    """End of the string literal whose quote is at `start`, and "", or what is wrong with it."""
    quote_mark = text[start]
    raw = quote_mark == "`"
    pos = start + 1
    while True:
        stop = _STRING_STOP.search(text, pos)
        if stop is None:
            return len(text), "unterminated raw string" if raw else "unterminated quoted string"
        char, pos = stop.group(), stop.end()
        if char == quote_mark:
            return pos, ""
        if char >= "\ud800":
            return pos, "invalid UTF-8 rune"
        if raw:
            continue
        if char == "\n":
            return pos, "unterminated quoted string"
        if char == "\\":
            pos, problem = _scan_escape(text, pos, quote_mark)
            if problem:
                return pos, problem


def _scan_escape(text: str, pos: int, quote_mark: str) -> tuple[int, str]:
    char = text[pos : pos + 1]
    if not char:
        return pos, "escape sequence not terminated"
    if char in "abfnrtv\\" or char == quote_mark:
        return pos + 1, ""
    if char in "01234567":
        count, base, value_max = 3, 8, 0xFF
    elif char in _ESCAPE_DIGITS:
        count, base = _ESCAPE_DIGITS[char]
        value_max = 0xFF if char == "x" else 0x10FFFF
        pos += 1
    else:
        return pos, f"unknown escape sequence {unicode_name(char)}"
    value = 0
    for digit in text[pos : pos + count].ljust(count, "\0"):
        weight = _HEX_DIGITS.find(digit.lower())
        if not 0 <= weight < base:
            at_end = pos >= len(text)
            return pos, "escape sequence not terminated" if at_end else (
                f"illegal character {unicode_name(digit)} in escape sequence"
            )
        value = value * base + weight
        pos += 1
    if value > value_max or 0xD800 <= value < 0xE000:
        return pos, "escape sequence is an invalid Unicode code point"
    return pos, ""


def _in(text: str, pos: int, chars: str) -> bool:
    return pos < len(text) and text[pos] in chars


def _is_alphanumeric(text: str, pos: int) -> bool:
    return pos < len(text) and text[pos].isascii() and (text[pos].isalnum() or text[pos] == "_")


def _scan_number(text: str, pos: int) -> tuple[int, bool]:
    """How far a number reaches, and whether it is one: the rare spellings, and where exactly bad ones end."""
    digits = _DIGITS
    if _in(text, pos, "0"):
        pos += 1
        if _in(text, pos, "xX"):
            pos += 2 if _in(text, pos + 1, "_") else 1
            digits = _HEX_DIGITS
    pos += _in(text, pos, ".")
    pos += _in(text, pos, digits)
    dot = exponent = False
    while _in(text, pos, digits + "._eE"):
        if text[pos] == ".":
            if dot or digits is _HEX_DIGITS or _in(text, pos + 1, "_."):
                return pos + (1 if dot or not _in(text, pos + 1, "_.") else 2), False
            dot = True
            pos += 1
        elif text[pos] in "eE" and digits is _DIGITS:
            if exponent:
                return pos + 1, False
            exponent = True
            pos += 2 if _in(text, pos + 1, "+-") else 1
            if _in(text, pos, "._eE") or pos >= len(text):
                return min(pos + 1, len(text)), False
        elif text[pos] == "_":
            pos += 1
            if _in(text, pos, "._eE") or pos >= len(text):
                return min(pos + 1, len(text)), False
        else:
            while _in(text, pos, digits):
                pos += 1
    return pos, not _is_alphanumeric(text, pos)


def _scan_duration(text: str, pos: int) -> tuple[int, bool]:
    """How far the units that follow a number reach, and whether they end properly."""
    units = "smhdwy"
    while True:
        if not _in(text, pos, units):
            return pos, False
        units = "smhdw"
        pos += 1
        pos += _in(text, pos, "s")
        if not _in(text, pos, _DIGITS):
            break
        while _in(text, pos, _DIGITS):
            pos += 1
    if _is_alphanumeric(text, pos):
        return pos + 1, False
    return pos, True
