"""What validation found, for a terminal: files, findings by code, and where the first of each stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from didact.records.findings import CODES
from didact.report.summary import plain_console, table

if TYPE_CHECKING:
    from didact.validate import Report


def print_verdicts(report: Report, console: Console | None = None) -> None:
    """Print a validation report on stdout."""
    out = console or plain_console()
    rows = [[file.path, file.format, file.records, file.valid, file.rejected] for file in report.files]
    out.print(
        table("Files: records = valid + rejected", ["file", "format", "records", "valid", "rejected"], rows, left=2)
    )
    found = [[code, CODES[code].severity, CODES[code].title, count] for code, count in report.findings.most_common()]
    if found:
        out.print(
            table("Findings (didact codes CODE explains one)", ["code", "severity", "title", "count"], found, left=3)
        )
    for finding in report.located:
        out.print(Text(visible(str(finding))), soft_wrap=True)


def visible(text: str) -> str:
    """Text from outside with its control characters escaped, so that it cannot move the cursor or hide anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
