"""HTML of the admin pages: plain, escaped, one stylesheet of our own, no scripts; pages may reload by themselves.

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


def page(title: str, *parts: Markup, root: str, status: int = 200, wide: bool = False, refresh_s: int = 0) -> Answer:
    """A whole page. root: path prefix of the server's own pages, "" or starting with a slash. wide: for broad tables.
    refresh_s: after how long the browser loads it anew; 0: never."""
    name = escape(title)
    home = escape(root + "/", quote=True)
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{refresh}'
        f'<title>{name} · mimir-rw</title><link rel="stylesheet" href="{home}static/admin.css"></head>'
        f'<body{" class=wide" if wide else ""}><header><a class="brand" href="{home}">mimir-rw</a></header>'
        f"<main><h1>{name}</h1>{''.join(parts)}</main></body></html>\n"
    )
    return Answer(status, body.encode("utf-8", "replace"), HTML_TYPE, SECURITY_HEADERS)


def text(value: str) -> Markup:
    return Markup(f"<p>{escape(value)}</p>")


def heading(value: str) -> Markup:
    return Markup(f"<h2>{escape(value)}</h2>")


def link(href: str, label: str) -> Markup:
    return Markup(f'<a href="{escape(href, quote=True)}">{escape(label)}</a>')


def strong(value: str) -> Markup:
    return Markup(f"<b>{escape(value)}</b>")


def badge(value: str, *, good: bool | None) -> Markup:
    """good None: neither."""
    tone = "between" if good is None else "good" if good else "bad"
    return Markup(f'<span class="badge {tone}">{escape(value)}</span>')


def note(*parts: str) -> Markup:
    """A line of lesser weight, of text and markup."""
    return Markup(f'<p class="note">{"".join(map(_inline, parts))}</p>')


def paragraph(*parts: str) -> Markup:
    """Text and markup."""
    return Markup(f"<p>{''.join(map(_inline, parts))}</p>")


def preformatted(value: str) -> Markup:
    return Markup(f"<pre>{escape(value)}</pre>")


def details(summary: str, inside: Markup) -> Markup:
    """Folded away until it is clicked."""
    return Markup(f"<details><summary>{escape(summary)}</summary>{inside}</details>")


def form(action: str, fields: Iterable[tuple[str, str]], *, button: str, cancel: str) -> Markup:
    """A form of hidden fields to be sent by POST, with a link to turn back."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name, quote=True)}" value="{escape(value, quote=True)}">'
        for name, value in fields
    )
    return Markup(
        f'<form method="post" action="{escape(action, quote=True)}">{hidden}'
        f'<button type="submit">{escape(button)}</button> {link(cancel, "Cancel")}</form>'
    )


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str | int | float]], *, empty: str, stacked: bool = False
) -> Markup:
    """Numbers are aligned to the right. `empty` stands there instead when there is no row. stacked: where the page is
    narrow, each row becomes a block with a line for each cell."""
    shown = list(rows)
    if not shown:
        return text(empty)
    head = "".join(map(_heading_cell, columns, shown[0]))
    labels = columns if stacked else [""] * len(columns)
    lines = "".join("<tr>" + "".join(map(_cell, row, labels)) + "</tr>" for row in shown)
    kind = ' class="stacked"' if stacked else ""
    return Markup(
        f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def items(lines: Iterable[Markup]) -> Markup:
    return Markup("<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>")


def _heading_cell(column: str, below: str | int | float) -> str:
    return f"<th>{escape(column)}</th>" if isinstance(below, str) else f'<th class="number">{escape(column)}</th>'


def _cell(value: str | int | float, label: str) -> str:
    named = f' data-label="{escape(label, quote=True)}"' if label else ""
    if isinstance(value, str):
        return f"<td{named}>{_inline(value)}</td>"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return f'<td class="number"{named}>{shown}</td>'


def _inline(value: str) -> str:
    return value if isinstance(value, Markup) else escape(value)
