"""HTML of the admin pages: plain, escaped, one stylesheet of our own, no scripts.

Builders take text and give markup; whatever comes from outside passes `escape`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from mimir_rw.api.exchange import HTML_TYPE, Answer, Headers

SECURITY_HEADERS: Headers = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def stylesheet() -> bytes:
    return resources.files("mimir_rw.ui").joinpath("admin.css").read_bytes()


def page(title: str, *parts: Markup, root: str, status: int = 200) -> Answer:
    """A whole page. root: path prefix of the server's own pages, "" or starting with a slash."""
    name = escape(title)
    home = escape(root + "/", quote=True)
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{name} · mimir-rw</title><link rel="stylesheet" href="{home}static/admin.css"></head>'
        f'<body><header><a class="brand" href="{home}">mimir-rw</a></header>'
        f"<main><h1>{name}</h1>{''.join(parts)}</main></body></html>\n"
    )
    return Answer(status, body.encode("utf-8", "replace"), HTML_TYPE, SECURITY_HEADERS)


def text(value: str) -> Markup:
    return Markup(f"<p>{escape(value)}</p>")


def heading(value: str) -> Markup:
    return Markup(f"<h2>{escape(value)}</h2>")


def link(href: str, label: str) -> Markup:
    return Markup(f'<a href="{escape(href, quote=True)}">{escape(label)}</a>')


def badge(value: str, *, good: bool) -> Markup:
    return Markup(f'<span class="badge {"good" if good else "bad"}">{escape(value)}</span>')


def table(columns: Sequence[str], rows: Iterable[Sequence[str | int | float]], *, empty: str) -> Markup:
    """Numbers are aligned to the right. `empty` stands there instead when there is no row."""
    shown = list(rows)
    if not shown:
        return text(empty)
    head = "".join(map(_heading_cell, columns, shown[0]))
    lines = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in shown)
    return Markup(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>')


def items(lines: Iterable[Markup]) -> Markup:
    return Markup("<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>")


def _heading_cell(column: str, below: str | int | float) -> str:
    return f"<th>{escape(column)}</th>" if isinstance(below, str) else f'<th class="number">{escape(column)}</th>'


def _cell(value: str | int | float) -> str:
    if isinstance(value, Markup):
        return f"<td>{value}</td>"
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return f'<td class="number">{shown}</td>'
