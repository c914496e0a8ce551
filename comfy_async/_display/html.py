"""Small pieces of HTML that look right in light and dark notebooks; everything in them is escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

__all__ = [
    "advice",
    "bar",
    "box",
    "card",
    "chip",
    "clamped",
    "data_uri",
    "figure",
    "headline",
    "line",
    "prose",
    "table",
    "text",
]

# Colours come from the page, by currentColor and transparent greys, so that both themes fit.
# Every output carries the style: front ends show each one on its own, and keep them apart.
# What is marked as important is what Jupyter's own rules for tables would win otherwise.
_STYLE: Final = """<style>
.comfy-async{font:13px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:960px;
border:1px solid rgba(128,128,128,.28);border-radius:8px;padding:10px 14px;margin:2px 0;box-sizing:border-box}
.comfy-async *{box-sizing:border-box}
.comfy-async .ca-head{display:flex;gap:8px;align-items:center;flex-wrap:wrap}
.comfy-async .ca-head>.ca-chip{align-self:center}
.comfy-async .ca-push{margin-left:auto;font-variant-numeric:tabular-nums}
.comfy-async .ca-dim{opacity:.62}
.comfy-async .ca-chip{border-radius:999px;padding:0 9px;font-weight:600;font-size:12px;
color:#fff;background:#64748b;align-self:flex-start}
.comfy-async .ca-running{background:#2563eb}
.comfy-async .ca-completed,.comfy-async .ca-hearing,.comfy-async .ca-ready{background:#15803d}
.comfy-async .ca-failed,.comfy-async .ca-error{background:#b91c1c}
.comfy-async .ca-cancelled,.comfy-async .ca-lost,.comfy-async .ca-warning{background:#b45309}
.comfy-async .ca-bar{height:6px;border-radius:3px;background:rgba(128,128,128,.22);margin:8px 0 6px;
overflow:hidden}
.comfy-async .ca-bar>div{height:100%;border-radius:3px;background:#2563eb}
.comfy-async .ca-bar>.ca-completed{background:#15803d}.comfy-async .ca-bar>.ca-failed{background:#b91c1c}
.comfy-async .ca-bar>.ca-warning{background:#b45309}
.comfy-async .ca-line{margin:3px 0;overflow-wrap:anywhere}
.comfy-async .ca-box{border-left:3px solid #b91c1c;background:rgba(185,28,28,.08);border-radius:0 6px 6px 0;
padding:7px 12px;margin:8px 0 2px;overflow-wrap:anywhere}
.comfy-async .ca-box.ca-note{border-color:#b45309;background:rgba(180,83,9,.08)}
.comfy-async pre{font:12px/1.45 ui-monospace,Menlo,Consolas,monospace;white-space:pre-wrap;margin:6px 0;
max-height:260px;overflow:auto;background:rgba(128,128,128,.10);border-radius:6px;padding:7px 9px}
.comfy-async .ca-grid{display:grid;gap:10px;margin-top:8px;
grid-template-columns:repeat(auto-fill,minmax(150px,1fr))}
.comfy-async .ca-shelf{display:flex;flex-wrap:wrap;gap:12px;margin-top:8px;align-items:flex-start}
.comfy-async figure{margin:0;min-width:0;max-width:100%}
.comfy-async figure img,.comfy-async figure video{display:block;max-width:100%;max-height:420px;
border-radius:6px}
.comfy-async .ca-grid figure img{width:100%;aspect-ratio:1;object-fit:cover}
.comfy-async .ca-tile{width:100%;aspect-ratio:1;border-radius:6px;padding:10px;
background:rgba(128,128,128,.12);display:flex;flex-direction:column;justify-content:flex-end;overflow:hidden;overflow-wrap:anywhere;font-size:12px}
.comfy-async .ca-tile>*{flex-shrink:0}
.comfy-async .ca-tile>.ca-clamp{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:6;
overflow:hidden;line-height:1.4}
.comfy-async .ca-tile.ca-bad{justify-content:flex-start;gap:4px;background:rgba(185,28,28,.10);
border:1px solid rgba(185,28,28,.4)}
.comfy-async figcaption{font-size:12px;opacity:.7;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.comfy-async .ca-wrap{overflow-x:auto}
.comfy-async table{border-collapse:collapse;margin:6px 0 0!important;font-size:12.5px;width:100%;
table-layout:auto!important;border:0!important}
.comfy-async tr{background:none!important}
.comfy-async th,.comfy-async td{text-align:left!important;padding:4px 16px 4px 0!important;
vertical-align:top!important;border:0!important;border-bottom:1px solid rgba(128,128,128,.18)!important;
overflow-wrap:anywhere;white-space:normal!important;max-width:none!important}
.comfy-async tr>:first-child{white-space:nowrap!important;padding-right:20px!important;width:1%}
.comfy-async code{font:12px ui-monospace,Menlo,Consolas,monospace;background:rgba(128,128,128,.16)!important;
color:inherit!important;border-radius:4px;padding:1px 4px}
.comfy-async tbody tr:last-child td{border-bottom:0!important}
.comfy-async th{font-weight:600;opacity:.62}
.comfy-async .ca-box ul{margin:4px 0 2px;padding-left:18px}
.comfy-async details>summary{cursor:pointer;opacity:.7;margin-top:4px}
</style>"""

_LONGEST_TEXT: Final = 20_000
_LINES: Final = 48


def text(value: object, *, limit: int = _LONGEST_TEXT) -> str:
    """Return anything as escaped text, shortened when it is very long."""
    found = str(value)
    return escape(found if len(found) <= limit else f"{found[: limit - 1]}…")


def prose(value: str) -> str:
    """Return a sentence as escaped text; what stands between backticks is code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", text(value))


def card(*parts: str) -> str:
    """Return one output: the style and a frame around the parts."""
    return f'{_STYLE}<div class="comfy-async">{"".join(parts)}</div>'


def chip(word: str, kind: str = "") -> str:
    """Return a word on the colour of a state."""
    return f'<span class="ca-chip ca-{text(kind or word)}">{text(word)}</span>'


def clamped(value: object) -> str:
    """Return a text for a tile: as many lines as fit, all of it for who points at it."""
    return f'<div class="ca-clamp" title="{text(value, limit=2000)}">{text(value, limit=400)}</div>'


def headline(state: str, title: str, *, detail: str = "", right: str = "") -> str:
    """Return the first line: a chip, a title, something smaller, and something at the right edge."""
    small = f'<span class="ca-dim">{text(detail)}</span>' if detail else ""
    end = f'<span class="ca-push">{text(right)}</span>' if right else ""
    words = f"<b>{text(title)}</b>" if title else ""
    return f'<div class="ca-head">{state}{words}{small}{end}</div>'


def bar(fraction: float, status: str = "running") -> str:
    """Return a bar, filled from 0.0 to 1.0."""
    percent = max(0.0, min(1.0, fraction)) * 100
    inner = f'<div class="ca-{text(status)}" style="width:{percent:.1f}%"></div>'
    return (
        '<div class="ca-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent:.0f}">{inner}</div>'
    )


def line(strong: str, rest: str = "") -> str:
    """Return a line: what matters, then the rest of it smaller."""
    small = f' <span class="ca-dim">{text(rest)}</span>' if rest else ""
    return f'<div class="ca-line">{f"<b>{text(strong)}</b>" if strong else ""}{small}</div>'


def advice(words: str) -> str:
    """Return a line that says what to do; what stands between backticks is code."""
    return f'<div class="ca-line ca-dim">{prose(words)}</div>'


def box(
    title: str,
    message: str,
    *,
    items: Iterable[str] = (),
    advice: str = "",
    more: str = "",
    note: bool = False,
) -> str:
    """Return a box for what went wrong: where, what, each finding, the way out, and something to unfold."""
    parts = [f"<b>{text(title)}</b>"] if title else []
    parts += [f"<div>{prose(message)}</div>"] if message else []
    listed = "".join(f"<li>{prose(item)}</li>" for item in items)
    parts += [f"<ul>{listed}</ul>"] if listed else []
    parts += [f'<div class="ca-dim">{prose(advice)}</div>'] if advice else []
    if more:
        parts.append(f"<details><summary>the server's traceback</summary><pre>{text(more)}</pre></details>")
    return f'<div class="ca-box{" ca-note" if note else ""}">{"".join(parts)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, what is too long of it folded; the cells are HTML already."""
    found = list(rows)
    names = "".join(f"<th>{text(name)}</th>" for name in head)
    top = f"<thead><tr>{names}</tr></thead>" if any(head) else ""
    shown = _fitting(found)
    body = f"<table>{top}{_body(found[:shown])}</table>"
    if found[shown:]:
        more = f"{len(found) - shown} more"
        body += f"<details><summary>{more}</summary><table>{_body(found[shown:])}</table></details>"
    return f'<div class="ca-wrap">{body}</div>'


def _body(rows: Iterable[Sequence[str]]) -> str:
    """Return the rows of a table."""
    return f"<tbody>{''.join(f'<tr>{_cells(row)}</tr>' for row in rows)}</tbody>"


def _cells(row: Sequence[str]) -> str:
    """Return the cells of a row."""
    return "".join(f"<td>{cell}</td>" for cell in row)


def _fitting(rows: Sequence[Sequence[str]]) -> int:
    """Return how many rows are shown at once: whole ones, since a window would cut the last in half."""
    lines = 0
    for count, row in enumerate(rows):
        lines += 1 + max(cell.count("<br>") for cell in row)
        if lines > _LINES and count:
            return count
    return len(rows)


def figure(content: str, caption: str) -> str:
    """Return something to look at, with a line below; the content is HTML already."""
    return f'<figure>{content}<figcaption title="{text(caption)}">{text(caption)}</figcaption></figure>'


def data_uri(mime: str, content: bytes) -> str:
    """Return bytes as an address that carries them."""
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
