"""Changes cells of a CSV or TSV row and leaves the others as their author quoted them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from didact.errors import NoPlace
from didact.formats.fields import pointer

_QUOTED = re.compile(r'"((?:[^"]|"")*)"?')


def raw_cells(row: str, delimiter: str, quoted: bool) -> list[str]:
    """The cells of a row with their quotes, cut as the standard library's reader cuts them.

    >>> raw_cells('a,"b, c",', ",", True)
    ['a', '"b, c"', '']
    """
    if not quoted:
        return row.split(delimiter)
    cells, place = [], 0
    while True:
        opened = _QUOTED.match(row, place)
        end = row.find(delimiter, opened.end() if opened else place)
        cells.append(row[place:] if end < 0 else row[place:end])
        if end < 0:
            return cells
        place = end + 1


def cell_text(raw: str, quoted: bool) -> str:
    """What a cell says; what follows its closing quote belongs to it, as the standard library has it.

    >>> cell_text('"a, b"', True)
    'a, b'
    """
    opened = _QUOTED.match(raw) if quoted else None
    return opened[1].replace('""', '"') + raw[opened.end() :] if opened else raw


def spelled_cell(text: str, delimiter: str, quoted: bool, *, always: bool = False) -> str:
    """A text as a cell, in quotes where it needs them, or `always`. Raises NoPlace in a file that does not quote."""
    special = any(symbol in text for symbol in (delimiter, "\n", "\r"))
    if quoted:
        return '"' + text.replace('"', '""') + '"' if always or special or '"' in text else text
    if special:
        raise NoPlace("the file's cells are not quoted, so that none can hold a separator or a line end")
    return text


def edited_cells(raw: bytes, names: Sequence[str], texts: Sequence[str], delimiter: str, quoted: bool) -> bytes:
    """A row in which each cell says its text; a cell that says so already keeps its bytes.

    Raises NoPlace with the column's name for a text that cannot stand in such a file.
    """
    cells = raw_cells(raw.decode("utf-8"), delimiter, quoted)
    for i, (name, text) in enumerate(zip(names, texts, strict=True)):
        if cell_text(cells[i], quoted) != text:
            try:
                cells[i] = spelled_cell(text, delimiter, quoted, always=cells[i].startswith('"'))
            except NoPlace as error:
                raise NoPlace(error.message, pointer(name)) from error
    row = delimiter.join(cells)
    if row:
        return row.encode("utf-8")
    if quoted:
        return b'""'  # a line without anything would be no row
    raise NoPlace("a row without any text would be a blank line, which is no row", pointer(names[0]))
