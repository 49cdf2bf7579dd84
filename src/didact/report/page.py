"""What all pages have in common: one self-contained document, nothing fetched, everything from outside escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from didact.text.shown import shortened, visible

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --back: #fcfcfd; --good: #2b9a66;
  --bad: #ce2c31; --odd: #b07d00; --code: #f0f0f3; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #363a3f; --back: #111113;
  --good: #3dd68c; --bad: #ff9592; --odd: #ffca16; --code: #212225; } }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0 .75rem; } .soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } td.number, th.number { text-align: right; }
th button { background: none; border: 0; color: inherit; cursor: pointer; font: inherit; padding: 0; }
th button:focus-visible { outline: 2px solid currentColor; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
td.path, code { overflow-wrap: anywhere; } code { font: 13px/1.45 ui-monospace, monospace; background: var(--code);
  border-radius: 3px; padding: .05rem .3rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .5rem .75rem; }
summary { cursor: pointer; } .error { color: var(--bad); font-weight: 600; } .warning { color: var(--odd);
  font-weight: 600; }
li { margin: .4rem 0; } svg { display: block; max-width: 100%; } .good { fill: var(--good); } .bad { fill: var(--bad); }
.odd { fill: var(--odd); } .rest { fill: var(--line); }
"""

SORTING = """
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending" && head.classList.contains("number")
      || head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[place].dataset.key ?? row.cells[place].textContent;
    const order = (a, b) => key(a).localeCompare(key(b), undefined, {numeric: true}) * (down ? -1 : 1);
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
  }));
}
"""
"""Sorts a table by the column whose head is clicked."""


def page(title: str, body: str, style: str = "", script: str = SORTING) -> str:
    """A document that may run only its own script and use only its own style. title: text, body: HTML."""
    style = STYLE + style
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _digest(content: str) -> str:
    """How a content security policy names an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def text(content: str) -> str:
    """Text from outside as HTML text or attribute."""
    return escape(visible(content), quote=True)


def excerpt(content: str, most: int) -> str:
    """The beginning of a text from outside, as HTML text."""
    return escape(shortened(content, most), quote=True)


def bar(parts: Sequence[tuple[int, str]], whole: int, width: int, height: int, label: str) -> str:
    """Parts of a whole side by side; a part that is there is seen, however small."""
    boxes, left = [], 0.0
    for count, kind in parts:
        if count:
            wide = max(2.0, width * count / max(whole, 1))
            left = min(left, width - wide)
            boxes.append(f'<rect class="{kind}" x="{left:.1f}" width="{wide:.1f}" height="{height}"/>')
            left += wide
    told = ", ".join(f"{count:,}" for count, _ in parts)
    size = f'width="{width}" height="{height}"'
    return (
        f'<svg role="img" aria-label="{label}: {told}" {size} viewBox="0 0 {width} {height}">'
        f'<rect class="rest" {size}/>{"".join(boxes)}</svg>'
    )


def number(count: int) -> str:
    """A cell of a number, which sorts by its value."""
    return f'<td class="number" data-key="{count}">{count:,}</td>'


def table(heads: Sequence[tuple[str, str]], rows: Iterable[str]) -> str:
    """A table that is sorted by a click on a head; without a script it stays in its order."""
    cells = (
        f'<th scope="col" class="{kind}">{name if kind == "bar" else f"<button>{name}</button>"}</th>'
        for name, kind in heads
    )
    return (
        f'<div class="wide"><table><thead><tr>{"".join(cells)}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def cell(content: str, kind: str = "") -> str:
    """A cell of text from outside."""
    return f'<td class="{kind}">{text(content)}</td>' if kind else f"<td>{text(content)}</td>"
