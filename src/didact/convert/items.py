"""The rows of a block as records beside the rows they were read from.

Conversion reads without judging: a record that `validate` finds fault with can still be written, so only rows that
cannot be read as records at all are left over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from didact.errors import RowError
from didact.formats.detect import renamed
from didact.formats.registry import Adapter
from didact.records import Header, Record
from didact.records.findings import Finding
from didact.sources.blocks import Block
from didact.sources.reading import reading_of
from didact.sources.rows import rows


class Item(NamedTuple):
    """One row and its record."""

    line: int
    inside: str
    """JSON pointer of the row in its element, for nested files."""
    row: Any
    """As its author names its keys."""
    record: Record | None
    code: str = ""
    """Why there is no record."""


class Element(NamedTuple):
    """What stands at one place of a block: a row, or in nested files an element with several."""

    place: int
    value: Any
    items: list[Item]


def elements(
    block: Block, adapter: Adapter, columns: Mapping[str, str], header: Header | RowError | None
) -> Iterator[Element]:
    """Everything in a block, in order; every place of it is one element."""
    for row in rows(block):
        place = row.index - block.first
        if isinstance(row, Finding):
            if row.severity == "error":
                yield Element(place, None, [Item(row.line, "", None, None, row.code)])
            continue
        try:
            if isinstance(header, RowError):
                raise header
            inner = [("", row.value)] if adapter.unfold is None else adapter.unfold(row.value)
        except RowError as error:
            yield Element(place, row.value, [Item(row.line, "", row.value, None, error.code)])
            continue
        items = [read_item(adapter, value, columns, row.line, inside, header) for inside, value in inner]
        yield Element(place, row.value, items)


def read_item(
    adapter: Adapter,
    row: Any,
    columns: Mapping[str, str] | None = None,
    line: int = 0,
    inside: str = "",
    header: Header | None = None,
) -> Item:
    """A row and its record, or why it has none."""
    try:
        return Item(line, inside, row, reading_of(renamed(row, columns or {}, adapter), adapter, header).record)
    except RowError as error:
        return Item(line, inside, row, None, error.code)
