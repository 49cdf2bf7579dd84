"""What a block of rows became: every row is a record, a rejected row or one that was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from didact.records import Header, Record
from didact.records.base import Text
from didact.records.columns import Place
from didact.records.findings import Finding, Problem
from didact.sources.blocks import Block
from didact.sources.rows import Row

EXCERPT = 16 << 10
"""Most bytes of a rejected row that are kept beside its finding."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that became no record: the error that decided it, and the row's first bytes."""

    finding: Finding
    raw: bytes = b""


@dataclass(slots=True)
class BlockRead:
    """What a block of rows became: `rows` = records + rejected + `unselected`."""

    rows: int = 0
    """Rows looked at; in nested files those inside the elements."""
    records: list[Record] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    """Of the records, in the same order."""
    texts: list[list[Text]] = field(default_factory=list)
    """Of each record, as it hands them out."""
    headers: dict[str, Header] = field(default_factory=dict)
    """What the file says once, by id; records refer to it."""
    findings: list[Finding] = field(default_factory=list)
    """Errors and warnings, in the order of the rows."""
    rejected: list[Rejected] = field(default_factory=list)
    unselected: int = 0
    """Rows that `where` leaves out."""

    def admit(self, block: Block, row: Row, problems: Sequence[Problem], inside: str = "") -> bool:
        """Whether what is odd about a row and the problems of its record leave it one; both are put in. inside: the
        row's pointer in a nested file's element.
        """
        if not problems and not row.notes:
            return True
        found = [finding_of(block, row, problem) for problem in row.notes]
        found += [finding_of(block, row, problem, inside) for problem in problems]
        self.findings += found
        decisive = next((finding for finding in found if finding.severity == "error"), None)
        if decisive is not None:
            self.rejected.append(Rejected(decisive, excerpt(block, row.index)))
        return decisive is None

    def reject(self, block: Block, finding: Finding) -> None:
        """Put in a row that is rejected for this finding."""
        self.findings.append(finding)
        self.rejected.append(Rejected(finding, excerpt(block, finding.index)))

    def in_row_order(self) -> None:
        """Bring what was put in of one block into the order of its rows."""
        self.findings.sort(key=lambda finding: finding.index)
        self.rejected.sort(key=lambda rejected: rejected.finding.index)


def finding_of(block: Block, row: Row, problem: tuple[str, str, str], inside: str = "") -> Finding:
    """A problem of a row of a block, at its place."""
    code, pointer, message = problem
    return Finding(code, block.path, row.index, row.line, row.offset, inside + pointer, message)


def excerpt(block: Block, index: int) -> bytes:
    """The first bytes of a row as they stand in its file; none for columnar files."""
    return block.row(index - block.first)[:EXCERPT] if block.data else b""
