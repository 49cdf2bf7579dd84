"""What validation found, for a terminal: files, findings by code with examples, totals, what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from didact.records.findings import CODES, Code, Finding
from didact.report.summary import plain_console, table
from didact.text.shown import visible

if TYPE_CHECKING:
    from didact.validate import FileVerdict, Report

_Cell = TypeVar("_Cell")

FILES = 20
"""Files that are listed; of more, those with the most rejected rows."""

_NARROW = 80
"""Columns below which a table has no place for formats and numbers of findings."""

_STYLES = {"error": "bold red", "warning": "yellow"}


def print_verdicts(report: Report, console: Console | None = None, *, examples: int = 2) -> None:
    """Print a validation report on stdout, with so many examples of each code."""
    out = console or plain_console()
    out.print(verdicts(report, examples=examples, narrow=out.width < _NARROW))


def verdicts(report: Report, *, examples: int = 2, narrow: bool = False) -> RenderableType:
    """The whole report: its length does not depend on the number of files, nor on that of the findings."""
    found = (_found(report, code, examples) for code in by_weight(report.findings))
    return Group(_files(report.files, narrow), *found, Text(totals_line(report)), Text(_next_line(report)))


def by_weight(findings: Counter[str]) -> list[str]:
    """Codes in the order in which they deserve attention: errors first, then by count."""
    return sorted(findings, key=lambda code: (CODES[code].severity != "error", -findings[code], code))


def worst(files: Sequence[FileVerdict], most: int) -> list[FileVerdict]:
    """All files in their order or, when they are too many, those with the most rejected rows and findings."""
    if len(files) <= most:
        return list(files)
    return sorted(files, key=lambda file: (-file.rejected, -file.findings.total(), file.path))[:most]


def chosen(located: Iterable[Finding], most: int) -> list[Finding]:
    """Examples among the findings of one code: the first of each file, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, Finding]] = []
    for finding in located:
        ranked.append((seen[finding.path], finding))
        seen[finding.path] += 1
    return [finding for _, finding in sorted(ranked, key=lambda pair: pair[0])[:most]]


def share(part: int, whole: int) -> str:
    """A part as a percentage with two digits that count; more than all as a multiple."""
    if not whole or part > whole:
        return f"{part / max(whole, 1):.1f} per"
    percent = 100 * part / whole
    return "< 0.01 % of" if 0 < percent < 0.01 else f"{percent:.{1 if percent >= 1 else 2}f} % of"


def told_share(entry: Code, count: int, report: Report) -> str:
    """How common a code is among the records, or among the files when it speaks about files."""
    if entry.row:
        return f"{share(count, sum(file.records for file in report.files))} records"
    return f"{share(count, len(report.files))} files"


def totals_line(report: Report) -> str:
    """Records and findings of all files in one line."""
    records, valid, rejected = (
        sum(getattr(file, name) for file in report.files) for name in ("records", "valid", "rejected")
    )
    severe = Counter({"error": 0, "warning": 0})
    for code, count in report.findings.items():
        severe[CODES[code].severity] += count
    lost = f" ({share(rejected, records)} them)" if rejected else ""
    return (
        f"{_counted(records, 'record')} in {_counted(len(report.files), 'file')}: {valid:,} valid, "
        f"{rejected:,} rejected{lost}; {_counted(severe['error'], 'error')}, {_counted(severe['warning'], 'warning')}."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _files(files: Sequence[FileVerdict], narrow: bool) -> RenderableType:
    shown = worst(files, FILES)
    columns = ["file", "format", "records", "valid", "rejected", "findings"]
    rows: list[list[object]] = [
        [visible(file.path), file.format, file.records, file.valid, file.rejected, file.findings.total()]
        for file in shown
    ]
    if narrow:
        columns, rows = _without_extras(columns), [_without_extras(row) for row in rows]
    listed = table("Files: records = valid + rejected", columns, rows, left=1 if narrow else 2)
    left = len(files) - len(shown)
    if not left:
        return listed
    rejected = sum(file.rejected for file in files) - sum(file.rejected for file in shown)
    return Group(listed, Text(f"and {left:,} more, with {rejected:,} rejected rows among them\n"))


def _without_extras(row: list[_Cell]) -> list[_Cell]:
    return [row[0], *row[2:5]]


def _found(report: Report, code: str, examples: int) -> RenderableType:
    """A code, how often it was found, and where the first stand."""
    entry, count = CODES[code], report.findings[code]
    files = sum(code in file.findings for file in report.files)
    head = Text.assemble(
        (f"{entry.severity} {code}", _STYLES[entry.severity]),
        f" {entry.title}: {count:,}, {told_share(entry, count, report)}, in {_counted(files, 'file')}",
    )
    located = chosen((finding for finding in report.located if finding.code == code), examples)
    return Group(head, *(part for finding in located for part in _example(finding)), Text())


def _example(finding: Finding) -> list[RenderableType]:
    pointer = f" {visible(finding.pointer)}" if finding.pointer else ""
    where = (f"{visible(finding.path)}:{finding.line}", "bold")
    lines = [Padding(Text.assemble(where, f"{pointer}: {visible(finding.message)}"), (0, 0, 0, 2), expand=False)]
    if finding.excerpt:
        lines.append(Padding(Text(f"> {finding.excerpt}", style="dim"), (0, 0, 0, 4), expand=False))
    return [*lines]


def _next_line(report: Report) -> str:
    """What to do now."""
    if not report.findings:
        return "Nothing is wrong."
    fixable = [code for code in by_weight(report.findings) if CODES[code].fix is not None]
    fix = f" `--fix OUT` mends {', '.join(fixable)}." if fixable else ""
    return (
        f"Next: `didact codes {by_weight(report.findings)[0]}` explains a code; "
        f"`--report FILE.html`, `.json` or `.sarif` keeps the findings.{fix}"
    )
