"""Cuts CSV and TSV files: rows end where the standard library's reader says, so a cell may hold line ends."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from didact.sources.blocks import Block, Cursor, Cut, newline_places
from didact.sources.files import ByteStream
from didact.sources.lines import past_line

DELIMITERS = {"csv": ",", "tsv": "\t"}
PEEK = 1 << 16
"""Bytes at the start of a file that tell whether its cells are quoted."""

_CELL_WITH_QUOTE = re.compile(rb'(?:\A|[\t\n])("(?:[^"]|"")*"(?=[\t\r\n])|")')

_CLOSED = re.compile(rb'"[\t\r\n]')


def cells_of(text: str, delimiter: str, quoted: bool, limit: int) -> list[str]:
    """The cells of one row, which may hold line ends inside quotes. Raises csv.Error when a quote is not closed.

    The limit of a cell is a setting of the whole process, so it is only ever raised.
    """
    if csv.field_size_limit() < limit:
        csv.field_size_limit(limit)
    reader = csv.reader([text, ""], delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    cells = next(reader, [])
    if reader.line_num > 1:
        raise csv.Error("a quote is not closed")
    return cells


def header_fault(head: bytes, delimiter: str, quoted: bool, limit: int) -> str:
    """Why a header row cannot be read as cells; empty when it can."""
    try:
        cells_of(_line(head), delimiter, quoted, limit)
    except csv.Error as error:
        return str(error)
    return ""


def column_names(head: bytes, delimiter: str, quoted: bool, limit: int) -> list[str]:
    """The names in a header row; a name given twice gets a number, so that no cell is lost. A row with a fault is cut
    at each delimiter.
    """
    names: dict[str, None] = {}
    counts: dict[str, int] = {}
    line = _line(head)
    try:
        cells = cells_of(line, delimiter, quoted, limit)
    except csv.Error:
        cells = line.split(delimiter)
    for name in cells:
        count, told = counts.get(name, 1), name
        while told in names:
            count += 1
            told = f"{name}#{count}"
        counts[name] = count
        names[told] = None
    return list(names)


def _line(head: bytes) -> str:
    return head.decode("utf-8", "replace").rstrip("\r\n")


def named_head(names: Sequence[str], delimiter: str) -> bytes | None:
    """The header row that a file without one should have had; None without names. Names hold no quotes and no tabs."""
    if not names:
        return None
    cells = [f'"{name}"' if delimiter in name else name for name in names]
    return f"{delimiter.join(cells)}\n".encode()


def uses_quotes(start: bytes, delimiter: bytes) -> bool:
    """Whether cells are quoted: CSV always; TSV when some cells are, and each that begins with a quote ends with one.

    Tab-separated files are mostly written without quoting, so that a cell which begins with a quotation is just that.
    """
    if delimiter == b",":
        return True
    lines = start[: start.rfind(b"\n") + 1]
    cells = list(_CELL_WITH_QUOTE.finditer(lines))
    opened = next((cell.end() for cell in cells if cell[1] == b'"'), None)
    cut = opened is not None and len(start) >= PEEK and _CLOSED.search(lines, opened) is None and cells[0][1] != b'"'
    return bool(cells) and (opened is None or cut)


def cut_delimited(stream: ByteStream, cursor: Cursor, block_bytes: int, row_limit: int) -> Cut:
    """Blocks of whole rows; the header row, or the one made of the names given, is each block's head and no row."""
    rest, last = _more(stream, b"", max(block_bytes, PEEK))
    blank = len(rest) - len(rest.lstrip(b"\r\n"))
    cursor.skip(rest[:blank])
    rows = _Rows(cursor, DELIMITERS[cursor.file.container], row_limit)
    rows.quoted = uses_quotes(rest[:PEEK], rows.delimiter.encode())
    rows.head = named_head(cursor.file.names, rows.delimiter)
    rest = rest[blank:]
    while True:
        block, rest = rows.block(rest, final=last and not stream.damage)
        if block is not None:
            yield block
        if last:
            break
        if len(rest) > row_limit:
            yield cursor.lost_row(
                "JS007",
                f"the row does not end within {row_limit} bytes; a quote may be open. Reading goes on at the next line",
            )
            rest = past_line(stream, cursor, rest, block_bytes)
        rest, last = _more(stream, rest, max(block_bytes, len(rest)))
    if stream.damage:
        yield cursor.lost_row("IO004", f"{stream.damage}; what follows is lost")


def _more(stream: ByteStream, rest: bytes, size: int) -> tuple[bytes, bool]:
    """What is left with more read behind it, and whether that was the end."""
    piece = stream.read(size)
    return rest + piece, len(piece) < size


@dataclass(slots=True)
class _Rows:
    """Cuts rows off the front of data; the first row it sees is the header, unless it has one."""

    cursor: Cursor
    delimiter: str
    limit: int
    quoted: bool = True
    head: bytes | None = None

    def block(self, data: bytes, *, final: bool) -> tuple[Block | None, bytes]:
        """The whole rows in data as a block, if there are any, and what is left."""
        bounds = _row_bounds(data, self.delimiter, self.quoted, self.limit, final)
        if self.head is None and len(bounds) > 1:
            self.head = data[: bounds[1]]
            self.cursor.skip(self.head)
            data, bounds = data[bounds[1] :], [bound - bounds[1] for bound in bounds[1:]]
        if self.head is None or len(bounds) < 2:
            return None, data
        return _block(data[: bounds[-1]], bounds, self.cursor, self.head, self.quoted), data[bounds[-1] :]


def _row_bounds(data: bytes, delimiter: str, quoted: bool, limit: int, final: bool) -> list[int]:
    """Where rows begin, and where the last whole one ends.

    A quote that is never closed swallows the rest of a file, or more than the limit; then only its first line is taken
    as a row, and what follows is read again.
    """
    ends = (newline_places(data) + 1).tolist()
    if final and data and (not ends or ends[-1] < len(data)):
        ends.append(len(data))
    bounds, line = [0], 0
    while line < len(ends):
        closed = _Lines(data, ends, line)
        for count in _lines_per_row(closed, delimiter, quoted, limit):
            if ends[line + count - 1] - bounds[-1] > limit and count > 1:
                break
            line += count
            bounds.append(ends[line - 1])
        else:
            if line == len(ends) or not final:
                break
        line += 1
        bounds.append(ends[line - 1])
    return bounds


def _lines_per_row(closed: _Lines, delimiter: str, quoted: bool, limit: int) -> Iterator[int]:
    """How many physical lines each row takes, until one is not closed. One cell above the limit ends its row."""
    if csv.field_size_limit() < limit:
        csv.field_size_limit(limit)
    reader = csv.reader(closed, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    before = 0
    while True:
        try:
            next(reader)
        except StopIteration:
            return
        except csv.Error:
            if closed.ended:
                return
        if closed.ended:
            return
        yield reader.line_num - before
        before = reader.line_num


class _Lines:
    """The lines of data as latin-1 text, so that every byte is one character; `ended` once more were asked for."""

    def __init__(self, data: bytes, ends: list[int], first: int) -> None:
        self.ended = False
        self._data, self._ends, self._next = data, ends, first

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._next == len(self._ends):
            self.ended = True
            raise StopIteration
        start = self._ends[self._next - 1] if self._next else 0
        line = self._data[start : self._ends[self._next]]
        self._next += 1
        return line.decode("latin-1")


def _block(data: bytes, bounds: list[int], cursor: Cursor, head: bytes, quoted: bool) -> Block:
    """The rows between bounds that are not blank, without their line ends."""
    spans = np.array(bounds, np.int64)
    starts, ends = spans[:-1], spans[1:]
    lengths = [len(data[start:end].rstrip(b"\r\n")) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    kept = np.array(lengths, np.int64) > 0
    starts = starts[kept]
    lines = np.searchsorted(newline_places(data), starts) + cursor.line
    return cursor.block(data, starts, starts + np.array(lengths, np.int64)[kept], lines, head=head, quoted=quoted)
