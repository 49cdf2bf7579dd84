"""Blocks: stretches of a file that a worker can read on its own, cut where rows end.

The coordinator cuts, so cutting must be cheap: it finds where rows are and leaves what they mean, and whether they
are valid, to the worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from didact.plugins import Plugin
from didact.recipe.sources import Unit
from didact.records.findings import Finding
from didact.sources.containers import Container
from didact.sources.files import ByteStream

ROW_LIMIT = 32 << 20
"""Bytes of the longest row that is read."""

BLOCK_BYTES = 16 << 20

Numbers = NDArray[np.int64]


def _no_numbers() -> Numbers:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source, and how it is to be read."""

    source: str
    path: Path
    relative: str
    """Path relative to the source's root; it names the file in findings and records."""
    container: Container
    format: str
    sha256: str = ""
    """Of the file's bytes as stored."""
    unit: Unit = "paragraphs"
    names: tuple[str, ...] = ()
    """Of the columns of a CSV or TSV file that does not begin with them."""
    plugin: Plugin | None = None
    """The user's file that holds the adapter of `format`, when one does."""
    split: str | None = None
    """The split that its name or folder says it belongs to."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one file, on their own: `data[starts[i]:ends[i]]` is the row with index `first + i`.

    Rows of columnar files are not carried: `file`, `piece` and `starts[0]` say where the worker finds them.
    """

    source: str
    path: str
    container: Container
    first: int
    """Index of the first row in its file, counted from 0."""
    data: bytes = field(default=b"", repr=False)
    starts: Numbers = field(default_factory=_no_numbers, repr=False)
    ends: Numbers = field(default_factory=_no_numbers, repr=False)
    lines: Numbers = field(default_factory=_no_numbers, repr=False)
    """Physical line at which each row begins, from 1."""
    offset: int = 0
    """Place of `data` in the decompressed file, in bytes."""
    head: bytes = field(default=b"", repr=False)
    """What the file says once: the header row of a CSV file, an object without its list."""
    quoted: bool = True
    """Whether quotes in CSV and TSV cells protect separators."""
    file: str = ""
    piece: int = 0
    """Row group or record batch."""
    carried: bytes = field(default=b"", repr=False)
    """The rows of a columnar file as an Arrow stream, for a worker on a machine that may not see the file."""
    broken: str = ""
    """Why the rows after those carried cannot be read."""
    stored: int = 0
    """How far into the file, in bytes as stored, reading was when the block was cut."""

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, place: int) -> bytes:
        """The bytes of one row."""
        return self.data[self.starts[place] : self.ends[place]]

    def place_of(self, row: int) -> tuple[int, int, int]:
        """Of a row, by its number in the block: its index in the file, its physical line, and the byte where it begins
        in the decompressed file, which is 0 for columnar files.
        """
        offset = self.offset + int(self.starts[row]) if self.data else 0
        return self.first + row, int(self.lines[row]), offset

    def only(self, rows: int) -> Block:
        """The block with its first rows only."""
        return replace(self, starts=self.starts[:rows], ends=self.ends[:rows], lines=self.lines[:rows])


@dataclass(slots=True)
class Cursor:
    """Where the next row of a file stands; cutters move it on."""

    file: SourceFile
    index: int = 0
    line: int = 1
    offset: int = 0
    stream: ByteStream | None = None
    """What the file is read from; none for columnar files."""

    def finding(
        self, code: str, message: str, *, line: int | None = None, offset: int | None = None, ahead: int = 0
    ) -> Finding:
        """A finding at a place of the file, by default the cursor's; `ahead`: so many rows after the cursor's.

        One about a row takes an index of its own.
        """
        place = (self.line if line is None else line, self.offset if offset is None else offset)
        return Finding(code, self.file.relative, self.index + ahead, *place, "", message)

    def lost_row(self, code: str, message: str, *, line: int | None = None, offset: int | None = None) -> Finding:
        """A finding that stands for a row that cannot be handed to a worker."""
        found = self.finding(code, message, line=line, offset=offset)
        self.index += 1
        return found

    def block(
        self, data: bytes, starts: Numbers, ends: Numbers, lines: Numbers, *, head: bytes = b"", quoted: bool = True
    ) -> Block:
        """The rows in `data`, which stands at the cursor; the cursor moves past them and past `data`."""
        made = Block(
            self.file.source,
            self.file.relative,
            self.file.container,
            self.index,
            data,
            starts,
            ends,
            lines,
            self.offset,
            head,
            quoted,
            stored=self.stream.position if self.stream is not None else 0,
        )
        self.index += len(starts)
        self.line += data.count(b"\n")
        self.offset += len(data)
        return made

    def skip(self, data: bytes) -> None:
        """Move past bytes that hold no row."""
        self.line += data.count(b"\n")
        self.offset += len(data)


Cut = Iterator[Block | Finding]
"""What a cutter yields: blocks, and findings about the file or about rows that no worker will see."""


def newline_places(data: bytes) -> Numbers:
    """Where the line ends stand."""
    return np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))


def lines_at(data: bytes, places: Numbers, first: int) -> Numbers:
    """The physical line of each place, when `data` begins in line `first`."""
    return np.searchsorted(newline_places(data), places) + first
