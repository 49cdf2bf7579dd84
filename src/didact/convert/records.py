"""Records as rows of the target format: the author's rows where it is their own format, new ones elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from didact.convert.items import Element, Item
from didact.convert.losses import Ledger
from didact.errors import DataError, NoPlace
from didact.formats.detect import renamed, restored
from didact.formats.json_edit import edited
from didact.formats.registry import Adapter
from didact.formats.writing import Loss, convert_record, row_pointer, write_row
from didact.records import Header, Record
from didact.sources.gathering import FileHeaders, NewRow, compact
from didact.sources.rewriting import Several

Edit = Callable[[Record], Record]

_EXACT = 2.0**63
_LONG = re.compile(rb"[0-9]{19}")
"""What a number that does not fit into 64 bits has."""
_BETWEEN = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]*\n[ \t\r\n]*')


@dataclass(slots=True)
class Given:
    """An element as it was read, and what belongs to it."""

    element: Element
    file: str
    format: str
    header: Header | None = None
    raw: bytes = b""
    """Its JSON text, where it has one; of a record in memory, that of the row it remembers."""

    def place(self, item: Item) -> str:
        """Where an item stands, for a person."""
        return f"{self.file}:{item.line}{item.inside}"


def one_line(raw: bytes) -> bytes:
    """JSON text without line ends; nothing but white space between values goes.

    >>> one_line(b'{"a": 1.0,\\n  "b": "x"\\n}')
    b'{"a": 1.0,"b": "x"}'
    """
    return _BETWEEN.sub(lambda match: match[1] or b"", raw) if b"\n" in raw or b"\r" in raw else raw


def _rounded(record: Record) -> Iterator[Loss]:
    """Numbers of the author's row with more digits than their reading kept: those that do not fit into 64 bits."""
    origin = record.origin
    for key, value in [*origin.extra.items(), *origin.spelt.items()] if origin is not None else ():
        if any(abs(number) >= _EXACT for number in _floats(value)):
            yield Loss(row_pointer(key), "a whole number of more than 64 bits is rounded")


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _floats(inner)


def _edited(edit: Edit, record: Record) -> Record:
    """The record that the caller makes of a record. Raises DataError when it makes none of the same kind."""
    new = edit(record)
    if not isinstance(new, type(record)):
        raise DataError(f"edit gave {type(new).__name__} for a {record.kind} record; give one of the same kind")
    return new


@dataclass(slots=True)
class Rewriter:
    """Gives elements of a file in its own format their new values."""

    adapter: Adapter
    columns: Mapping[str, str]
    edit: Edit | None
    ledger: Ledger

    def value(self, given: Given) -> Any:
        """An element's value after `edit`; the very same object when nothing in it changed."""
        element = given.element
        rows = [(item.inside, self._row(item, given)) for item in element.items]
        if all(new is item.row for (_, new), item in zip(rows, element.items, strict=True)):
            return element.value
        if self.adapter.fold is None:
            return rows[0][1]
        folded = self.adapter.fold(element.value, rows)
        return folded[0] if len(folded) == 1 else Several(folded)

    def _row(self, item: Item, given: Given) -> Any:
        if item.record is None or self.edit is None:
            return item.row
        own = renamed(item.row, self.columns, self.adapter)
        try:
            new = write_row(self.adapter, _edited(self.edit, item.record), given.header, own)
        except NoPlace as error:
            raise NoPlace(f"{given.place(item)}: {error.message}", error.pointer) from error
        if new is own:
            return item.row
        self.ledger.report.changed += 1
        return restored(new, item.row, self.columns, self.adapter)

    def rows(self, given: Given) -> Iterator[NewRow]:
        """An element as rows for another container. Unreadable rows are left out, others keep their spelling."""
        for item in given.element.items:
            self.ledger.report.records += 1
            self.ledger.report.written += 1
            if item.record is None:
                if item.row is None:
                    self.ledger.unread(given.place(item), item.code)
                else:
                    self.ledger.report.copied[item.code] += 1
        if given.element.value is None:
            return
        value = self.value(given)
        unread = given.element.items[0].code if len(given.element.items) == 1 else ""
        place = given.place(given.element.items[0]) if given.element.items else given.file
        for i, new in enumerate(value.values if isinstance(value, Several) else [value]):
            yield NewRow(place, self._text(given, new, first=i == 0), given.header, whole=True, code=unread)

    def _text(self, given: Given, value: Any, *, first: bool) -> bytes:
        if given.raw and first:
            return one_line(given.raw if value is given.element.value else edited(given.raw, value))
        return compact({"text": value} if isinstance(value, str) else value)


@dataclass(slots=True)
class Writer:
    """Makes new rows of another format."""

    adapter: Adapter
    edit: Edit | None
    ledger: Ledger
    headers: FileHeaders

    def rows(self, given: Given) -> Iterator[NewRow]:
        """An element's records as rows; what they lose goes into the ledger."""
        for item in given.element.items:
            self.ledger.report.records += 1
            self.ledger.report.written += 1
            place = given.place(item)
            if item.record is None:
                self.ledger.unread(place, item.code)
                continue
            record = item.record
            if self.edit is not None:
                before = record.canonical()
                record = _edited(self.edit, record)
                self.ledger.report.changed += record.canonical() != before
            header = self.headers.of(record, given.header)
            try:
                own = item.row if given.format == self.adapter.name else None
                row, lost = convert_record(
                    self.adapter, record, given.header, header, self.headers.read_back(header), own
                )
            except NoPlace as error:
                self.ledger.lost(place, [Loss(error.pointer, error.message)], left_out=True)
                continue
            if record.header is not None and given.header is None:
                lost.append(Loss("/header", "said once for the whole file, which records in memory do not carry"))
            if own is None and given.raw and _LONG.search(given.raw):
                lost += _rounded(record)
            if lost:
                self.ledger.lost(place, lost)
            text = compact(row) if own is None else one_line(edited(given.raw, row))
            yield NewRow(place, text, header, losing=bool(lost))
