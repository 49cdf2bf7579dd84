"""A validation report as one self-contained web page: nothing is fetched, everything from outside is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from didact.records.findings import CODES, Finding
from didact.report.verdicts import by_weight, chosen, told_share, totals_line, worst
from didact.text.shown import visible

if TYPE_CHECKING:
    from didact.validate import FileVerdict, Report

FILES = 2000
"""Rows of the table of files; of more files, those with the most rejected rows."""

EXAMPLES = 50
"""Findings shown of one code."""

_STYLE = """
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

_SCRIPT = """
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


def validation_page(report: Report) -> str:
    """The page: totals, a table of files, every code with its explanation and examples."""
    codes = by_weight(report.findings)
    parts = [
        "<h1>Validation report</h1>",
        f"<p>{_text(totals_line(report))}</p>",
        _totals_bar(report),
        _files(report.files),
        _codes(report, codes),
        *(_code(report, code) for code in codes),
    ]
    return _page("\n".join(part for part in parts if part))


def _page(body: str) -> str:
    """A document that may run only its own script and use only its own style."""
    policy = (
        f"default-src 'none'; style-src '{_digest(_STYLE)}'; script-src '{_digest(_SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Validation report</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _digest(content: str) -> str:
    """How a content security policy names an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _text(text: str) -> str:
    """Text from outside as HTML text or attribute."""
    return escape(visible(text), quote=True)


def _totals_bar(report: Report) -> str:
    valid = sum(file.valid for file in report.files)
    rejected = sum(file.rejected for file in report.files)
    return _bar([(valid, "good"), (rejected, "bad")], valid + rejected, 960, 12, "valid and rejected records")


def _bar(parts: Sequence[tuple[int, str]], whole: int, width: int, height: int, label: str) -> str:
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


def _files(files: Sequence[FileVerdict]) -> str:
    shown = worst(files, FILES)
    heads = [
        ("file", ""),
        ("format", ""),
        ("records", "number"),
        ("valid", "number"),
        ("rejected", "number"),
        ("errors", "number"),
        ("warnings", "number"),
        ("valid and rejected", "bar"),
    ]
    left = len(files) - len(shown)
    more = f'<p class="soft">and {left:,} more files with fewer rejected rows</p>' if left else ""
    return f"<h2>Files</h2>\n{_table(heads, map(_file_row, shown))}{more}"


def _file_row(file: FileVerdict) -> str:
    errors = sum(count for code, count in file.findings.items() if CODES[code].severity == "error")
    numbers = [file.records, file.valid, file.rejected, errors, file.findings.total() - errors]
    bar = _bar([(file.valid, "good"), (file.rejected, "bad")], file.records, 120, 10, "valid, rejected")
    return (
        f'<tr><td class="path">{_text(file.path)}</td><td>{_text(file.format)}</td>'
        f"{''.join(map(_number, numbers))}<td>{bar}</td></tr>"
    )


def _number(count: int) -> str:
    return f'<td class="number" data-key="{count}">{count:,}</td>'


def _table(heads: Sequence[tuple[str, str]], rows: Iterable[str]) -> str:
    """A table that is sorted by a click on a head; without a script it stays in its order."""
    cells = (
        f'<th scope="col" class="{kind}">{name if kind == "bar" else f"<button>{name}</button>"}</th>'
        for name, kind in heads
    )
    return (
        f'<div class="wide"><table><thead><tr>{"".join(cells)}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _codes(report: Report, codes: Sequence[str]) -> str:
    if not codes:
        return "<p>Nothing is wrong.</p>"
    most = max(report.findings.values())
    heads = [
        ("code", ""), ("severity", ""), ("title", ""), ("count", "number"), ("files", "number"), ("share", ""),
        ("count", "bar"),
    ]  # fmt: skip
    return f"<h2>Findings</h2>\n{_table(heads, (_code_row(report, code, most) for code in codes))}"


def _code_row(report: Report, code: str, most: int) -> str:
    entry, count = CODES[code], report.findings[code]
    kind = "bad" if entry.severity == "error" else "odd"
    files = sum(code in file.findings for file in report.files)
    return (
        f'<tr><td><a href="#{code}">{code}</a></td><td class="{entry.severity}">{entry.severity}</td>'
        f"<td>{_text(entry.title)}</td>{_number(count)}{_number(files)}"
        f"<td>{told_share(entry, count, report)}</td><td>{_bar([(count, kind)], most, 120, 10, 'count')}</td></tr>"
    )


def _code(report: Report, code: str) -> str:
    """A code explained, with the places where it was found first."""
    entry, count = CODES[code], report.findings[code]
    located = [finding for finding in report.located if finding.code == code]
    shown = chosen(located, EXAMPLES)
    left = count - len(shown)
    more = f'<p class="soft">and {left:,} more</p>' if left else ""
    return (
        f'<details open id="{code}"><summary><span class="{entry.severity}">{code}</span> {_text(entry.title)}: '
        f"{count:,}</summary>\n<p>{_text(entry.about)}</p>\n"
        f'<p class="soft">An example: <code>{_text(entry.example)}</code></p>\n'
        f"<ul>\n{chr(10).join(map(_example, shown))}\n</ul>{more}</details>"
    )


def _example(finding: Finding) -> str:
    pointer = f" <code>{_text(finding.pointer)}</code>" if finding.pointer else ""
    excerpt = f"<br><code>{_text(finding.excerpt)}</code>" if finding.excerpt else ""
    where = f'<span class="path">{_text(finding.path)}:{finding.line}</span>'
    return f"<li>{where}{pointer} {_text(finding.message)}{excerpt}</li>"
