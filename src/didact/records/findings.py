"""Findings: coded, located statements about rows and files."""

from __future__ import annotations

from dataclasses import dataclass

from didact.records.codes import CODES, Code, Level, Severity

__all__ = ["CODES", "Code", "Finding", "Level", "Problem", "Severity"]

Problem = tuple[str, str, str]
"""What a check or an adapter says of a row before its place is known: code, JSON pointer, message."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A code at a place: file, row index, physical line (1-based), byte offset in the decompressed file, JSON pointer
    in the row.
    """

    code: str
    path: str
    index: int
    line: int
    offset: int
    pointer: str
    message: str
    excerpt: str = ""
    """What stands there, shortened and without control characters; only findings that a report keeps have it."""

    @property
    def severity(self) -> Severity:
        """Error or warning, as the catalogue says."""
        return CODES[self.code].severity

    def __str__(self) -> str:
        where = f" at {self.pointer}" if self.pointer else ""
        return f"{self.path}:{self.line}: {self.code} {self.severity}{where}: {self.message}"
