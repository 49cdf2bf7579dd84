"""Changes cells of a CSV or TSV row; the other cells, quotes and separators keep their bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence


def edited_cells(raw: bytes, delimiter: str, quoted: bool, was: Sequence[str], cells: Sequence[str]) -> bytes:
    """A row with other cells. It stays as it is when its cells cannot be told apart, or cannot be written there.

    >>> edited_cells(b'a,"b, c",d', ",", True, ["a", "b, c", "d"], ["a", "b, e", "d"])
    b'a,"b, e",d'
    """
    text = raw.decode("utf-8")
    parts = list(_parts(text, delimiter, quoted))
    if [_meaning(part, quoted) for part in parts] != list(was):
        return raw
    new = [
        part if cell == before else _spelled(part, cell, delimiter, quoted)
        for part, before, cell in zip(parts, was, cells, strict=True)
    ]
    return raw if None in new else delimiter.join(part for part in new if part is not None).encode("utf-8")


def _parts(text: str, delimiter: str, quoted: bool) -> Iterator[str]:
    """The cells as they are written."""
    if not quoted:
        yield from text.split(delimiter)
        return
    cell = re.compile(rf'(?:"(?:[^"]|"")*"[^{re.escape(delimiter)}]*|[^{re.escape(delimiter)}]*)')
    place = 0
    while True:
        match = cell.match(text, place)
        end = match.end() if match else place
        yield text[place:end]
        if end == len(text):
            return
        place = end + len(delimiter)


def _meaning(part: str, quoted: bool) -> str:
    if not (quoted and part.startswith('"') and part.endswith('"') and len(part) > 1):
        return part
    return part[1:-1].replace('""', '"')


def _spelled(part: str, cell: str, delimiter: str, quoted: bool) -> str | None:
    """A cell written as the one in its place was; None when the file has no quotes to protect it."""
    special = any(symbol in cell for symbol in (delimiter, "\r", "\n"))
    if not quoted:
        return None if special else cell
    if special or '"' in cell or part.startswith('"'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
