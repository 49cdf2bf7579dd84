"""What a conversion wrote and what it lost, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from didact.report.summary import plain_console, table
from didact.text.shown import visible

if TYPE_CHECKING:
    from didact.convert.losses import Conversion

_SHOWN = 30


def print_conversion(report: Conversion, console: Console | None = None, *, refused: bool = False) -> None:
    """Print the report of a conversion on stdout, the commonest losses first; refused: nothing of it was written."""
    out = console or plain_console()
    shown = sorted(report.losses, key=lambda kind: -kind.records)[:_SHOWN]
    if shown:
        rows = [
            [
                visible(kind.pointer) or "the record",
                ("left out: " if kind.left_out else "") + visible(kind.why),
                visible(kind.first),
                kind.records,
            ]
            for kind in shown
        ]
        out.print(table(f"Lost in format '{report.to}'", ["what", "why", "first at", "records"], rows, left=3))
    if len(report.losses) > _SHOWN:
        out.print(f"and {len(report.losses) - _SHOWN:,} more kinds; --losses FILE.json has all of them")
    done = "would be written" if refused else "written"
    told = f"{report.records:,} records: {report.written:,} {done}, {report.left_out:,} left out"
    changed = f", {report.changed:,} edited" if report.changed else ""
    out.print(Text(f"{told}, {report.losing:,} losing something{changed}"))
