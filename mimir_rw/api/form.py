"""Parameters of a request as Go's net/http finds them, whose rules clients of Prometheus have come to rely on.

In: the query string, the body, its type. Out: all values by name; those of a urlencoded body come before those of the
query string, those of a multipart body after them. A pair that can not be decoded is left out, and the first such
problem is told: most endpoints do not mind. Bytes that are no UTF-8 become lone surrogates. Pure, total.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email import policy
from email.parser import BytesParser
from urllib.parse import unquote_to_bytes

from mimir_rw.model.errors import BadRequest

PARAMS_MAX = 10_000
"""Most names and values one request may have."""
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf"\s*({_TOKEN}(?:/{_TOKEN})?)\s*(;.*|$)", re.DOTALL)
_PARAMETERS = re.compile(rf'(;\s*{_TOKEN}=(?:{_TOKEN}|"(?:[^"\\]|\\.)*")\s*)*;?\s*')
_TOO_MANY = f"error parsing form values: more than {PARAMS_MAX} parameters"


@dataclass(frozen=True, slots=True)
class Form:
    """problem: what could not be read, "" for nothing; in Go's words."""

    values: Mapping[str, list[str]]
    problem: str = ""


def read_form(query_string: bytes, body: bytes = b"", content_type: bytes | None = None) -> Form:
    """Raises BadRequest for more than PARAMS_MAX parameters."""
    values: dict[str, list[str]] = {}
    media_type, bad_type = _media_type(content_type) if body else ("", "")
    bad_body = _add_pairs(values, body) if media_type == URLENCODED else ""
    bad_query = _add_pairs(values, query_string)
    if media_type == MULTIPART and not bad_type:
        _add_parts(values, body, content_type or b"")
    return Form(values, bad_body or bad_type or bad_query)


def read_text_form(
    query_string: bytes, body: bytes = b"", content_type: bytes | None = None
) -> Mapping[str, list[str]]:
    """The values of a form that is in order, and text. Raises BadRequest for any other."""
    form = read_form(query_string, body, content_type)
    texts = [text for name, values in form.values.items() for text in (name, *values)]
    problem = form.problem or ("invalid UTF-8" if any(map(_SURROGATE.search, texts)) else "")
    if problem:
        raise BadRequest(f"error parsing form values: {problem}")
    return form.values


def _media_type(header: bytes | None) -> tuple[str, str]:
    """The type in lower case, "" for one that is not well-formed; and what is wrong."""
    if not header:
        return "", ""
    found = _TYPE.fullmatch(header.decode("latin-1"))
    if found is None:
        return "", "mime: unexpected content after media subtype"
    if not _PARAMETERS.fullmatch(found[2]):
        return found[1].lower(), "mime: invalid media parameter"
    return found[1].lower(), ""


def _add_pairs(values: dict[str, list[str]], encoded: bytes) -> str:
    """The problem of the first pair that is left out."""
    if encoded.count(b"&") + sum(map(len, values.values())) >= PARAMS_MAX:
        raise BadRequest(_TOO_MANY)
    problem = ""
    for pair in encoded.split(b"&"):
        if b";" in pair:
            problem = "invalid semicolon separator in query"
            continue
        bad = _BAD_ESCAPE.search(pair)
        if bad is not None:
            escape = pair[bad.start() : bad.start() + 3].partition(b"=")[0]
            problem = problem or f'invalid URL escape "{escape.decode("ascii", "replace")}"'
        elif pair:
            name, _, value = pair.partition(b"=")
            values.setdefault(_decoded(name), []).append(_decoded(value))
    return problem


def _decoded(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def _add_parts(values: dict[str, list[str]], body: bytes, content_type: bytes) -> None:
    """The fields of a multipart body, none if it is broken; files are not parameters."""
    message = BytesParser(policy=policy.HTTP).parsebytes(b"Content-Type: " + content_type + b"\r\n\r\n" + body)
    parts = list(message.iter_parts()) if message.is_multipart() and not message.defects else []
    if len(parts) + sum(map(len, values.values())) > PARAMS_MAX:
        raise BadRequest(_TOO_MANY)
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and part.get_filename() is None and part.get_content_disposition() == "form-data":
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes), "a part that is no multipart itself"
            values.setdefault(name, []).append(content.decode("utf-8", "surrogateescape"))
