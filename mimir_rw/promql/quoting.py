"""Go's string quoting: what `%q` prints and what PromQL's string literals may contain.

PromQL strings are bytes to Prometheus. Here a byte that is not part of valid UTF-8 is a lone surrogate, as Python's
`surrogateescape` makes it.
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[ !#-\[\]-~]*")
_SIMPLE = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}
_UNESCAPED = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34, "'": 39}
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"'])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")


def _escape_char(char: str, quote: str) -> str:
    if char == quote:
        return "\\" + quote
    if char in _SIMPLE:
        return _SIMPLE[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote(text: str) -> str:
    """`text` in double quotes, with Go's escapes."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(_escape_char(char, '"') for char in text) + '"'


def quote_char(char: str) -> str:
    """One character in single quotes; "" (end of input) and a byte that is no character print as Go prints them."""
    return "'" + (_escape_char(char, "'") if char and not "\udc80" <= char <= "\udcff" else "\ufffd") + "'"


def unicode_name(char: str) -> str:
    """Go's `%#U`: `U+0071 'q'`; a byte that is not UTF-8 is U+FFFD."""
    char = "\ufffd" if "\ud800" <= char <= "\udfff" else char
    code = ord(char)
    return f"U+{code:04X} '{char}'" if char.isprintable() else f"U+{code:04X}"


def unquote(literal: str) -> str:
    """Value of a string literal, quotes included, whose escapes the lexer has found to be sound."""
    body = literal[1:-1]
    if literal[0] == "`" or "\\" not in body:
        return body
    out = bytearray()
    end = 0
    for match in _ESCAPE.finditer(body):
        out += body[end : match.start()].encode("utf-8", "surrogateescape")
        simple, octal, byte, short, long = match.groups()
        if simple is not None:
            out.append(_UNESCAPED[simple])
        elif octal is not None:
            out.append(int(octal, 8))
        elif byte is not None:
            out.append(int(byte, 16))
        else:
            out += chr(int(short or long, 16)).encode("utf-8")
        end = match.end()
    out += body[end:].encode("utf-8", "surrogateescape")
    return out.decode("utf-8", "surrogateescape")
