"""A validation report as one self-contained web page: nothing is fetched, everything from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from didact.records.findings import CODES, Finding
from didact.report.page import bar, number, page, table, text
from didact.report.verdicts import by_weight, chosen, told_share, totals_line, worst

if TYPE_CHECKING:
    from didact.validate import FileVerdict, Report

FILES = 2000
"""Rows of the table of files; of more files, those with the most rejected rows."""

EXAMPLES = 50
"""Findings shown of one code."""


def validation_page(report: Report) -> str:
    """The page: totals, a table of files, every code with its explanation and examples."""
    codes = by_weight(report.findings)
    parts = [
        "<h1>Validation report</h1>",
        f"<p>{text(totals_line(report))}</p>",
        _totals_bar(report),
        _files(report.files),
        _codes(report, codes),
        *(_code(report, code) for code in codes),
    ]
    return page("Validation report", "\n".join(part for part in parts if part))


def _totals_bar(report: Report) -> str:
    valid = sum(file.valid for file in report.files)
    rejected = sum(file.rejected for file in report.files)
    return bar([(valid, "good"), (rejected, "bad")], valid + rejected, 960, 12, "valid and rejected records")


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
    return f"<h2>Files</h2>\n{table(heads, map(_file_row, shown))}{more}"


def _file_row(file: FileVerdict) -> str:
    errors = sum(count for code, count in file.findings.items() if CODES[code].severity == "error")
    numbers = [file.records, file.valid, file.rejected, errors, file.findings.total() - errors]
    share = bar([(file.valid, "good"), (file.rejected, "bad")], file.records, 120, 10, "valid, rejected")
    return (
        f'<tr><td class="path">{text(file.path)}</td><td>{text(file.format)}</td>'
        f"{''.join(map(number, numbers))}<td>{share}</td></tr>"
    )


def _codes(report: Report, codes: Sequence[str]) -> str:
    if not codes:
        return "<p>Nothing is wrong.</p>"
    most = max(report.findings.values())
    heads = [
        ("code", ""), ("severity", ""), ("title", ""), ("count", "number"), ("files", "number"), ("share", ""),
        ("count", "bar"),
    ]  # fmt: skip
    return f"<h2>Findings</h2>\n{table(heads, (_code_row(report, code, most) for code in codes))}"


def _code_row(report: Report, code: str, most: int) -> str:
    entry, count = CODES[code], report.findings[code]
    kind = "bad" if entry.severity == "error" else "odd"
    files = sum(code in file.findings for file in report.files)
    return (
        f'<tr><td><a href="#{code}">{code}</a></td><td class="{entry.severity}">{entry.severity}</td>'
        f"<td>{text(entry.title)}</td>{number(count)}{number(files)}"
        f"<td>{told_share(entry, count, report)}</td><td>{bar([(count, kind)], most, 120, 10, 'count')}</td></tr>"
    )


def _code(report: Report, code: str) -> str:
    """A code explained, with the places where it was found first."""
    entry, count = CODES[code], report.findings[code]
    located = [finding for finding in report.located if finding.code == code]
    shown = chosen(located, EXAMPLES)
    left = count - len(shown)
    more = f'<p class="soft">and {left:,} more</p>' if left else ""
    return (
        f'<details open id="{code}"><summary><span class="{entry.severity}">{code}</span> {text(entry.title)}: '
        f"{count:,}</summary>\n<p>{text(entry.about)}</p>\n"
        f'<p class="soft">An example: <code>{text(entry.example)}</code></p>\n'
        f"<ul>\n{chr(10).join(map(_example, shown))}\n</ul>{more}</details>"
    )


def _example(finding: Finding) -> str:
    pointer = f" <code>{text(finding.pointer)}</code>" if finding.pointer else ""
    excerpt = f"<br><code>{text(finding.excerpt)}</code>" if finding.excerpt else ""
    where = f'<span class="path">{text(finding.path)}:{finding.line}</span>'
    return f"<li>{where}{pointer} {text(finding.message)}{excerpt}</li>"
