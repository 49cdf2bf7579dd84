"""Rows that are each read for themselves: as a record that is checked, or as the finding that rejects it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any

import orjson

from didact.errors import RowError
from didact.formats.detect import renamed
from didact.formats.pointers import value_at
from didact.recipe.sources import Source
from didact.records.checks import check
from didact.records.columns import Columns, Place
from didact.records.findings import Finding
from didact.records.screening import doubts_of
from didact.sources.block_read import BlockRead, finding_of
from didact.sources.blocks import Block
from didact.sources.containers import JSON
from didact.sources.row_reader import Made, RowReader
from didact.sources.rows import Row

_TOGETHER = 1024
"""Records that are screened for problems at once: few enough to stay in the processor's cache from step to step."""


def read_alone(
    read: BlockRead,
    reader: RowReader,
    found: Iterator[Row | Finding],
    into: Columns | None = None,
    *,
    keep_rows: bool = False,
    takes: Callable[[Row], bool] | None = None,
) -> None:
    """Read rows of a block, check their records, and account for each. takes: takes those that need not be read."""
    made = _made(read, reader, found, takes)
    while few := list(islice(made, _TOGETHER)):
        doubts = iter(doubts_of([one.texts for one in few if isinstance(one, Made)]))
        for one in few:
            if isinstance(one, Finding):
                read.reject(reader.block, one)
            elif _accepted(read, reader.block, one, next(doubts), into) and keep_rows:
                _keep_row(one, reader)


def _made(
    read: BlockRead, reader: RowReader, found: Iterator[Row | Finding], takes: Callable[[Row], bool] | None
) -> Iterator[Made | Finding]:
    """The rows of a block, nested ones unfolded, as records or as the findings that reject them. Counts them all."""
    block, unfold, where = reader.block, reader.adapter.unfold, reader.source.where
    for row, inside in zip(found, repeat("")) if unfold is None else _unfolded(found, unfold, block):
        if isinstance(row, Finding):
            read.rows += 1
            yield row
        elif where and not _selected(row.value, reader.source):
            read.rows += 1
            read.unselected += 1
        elif takes is None or not takes(row):
            read.rows += 1
            yield reader.record(row, inside)


def _keep_row(made: Made, reader: RowReader) -> None:
    """Put the row into the record that was made of it, as its author spelt it where it is JSON."""
    row, block, origin = made.row, reader.block, made.record.origin
    if origin is None:
        return
    own = renamed(row.value, reader.source.columns, reader.adapter)
    as_written = block.container in JSON and not made.inside and own is row.value
    raw = block.row(row.index - block.first) if as_written else orjson.dumps(own)
    origin.row = raw.decode("utf-8")


def _unfolded(
    found: Iterator[Row | Finding], unfold: Callable[[Any], Sequence[tuple[str, Any]]], block: Block
) -> Iterator[tuple[Row | Finding, str]]:
    """The rows inside each element of a nested file, with their JSON pointers; the first has the element's notes."""
    for row in found:
        if isinstance(row, Finding):
            yield row, ""
            continue
        try:
            inner = unfold(row.value)
        except RowError as error:
            yield finding_of(block, row, (error.code, error.pointer, error.message)), ""
            continue
        for place, (pointer, value) in enumerate(inner):
            yield Row(row.index, row.line, row.offset, value, () if place else row.notes), pointer


def _accepted(read: BlockRead, block: Block, made: Made, doubts: int, into: Columns | None) -> bool:
    """Whether a record's problems leave it one; if so it is put into what was read. doubts: see `check`."""
    row, inside, record, texts, identity, notes = made
    if not read.admit(block, row, [*notes, *check(record, texts, doubts)], inside):
        return False
    record.assign(source=block.source, id=identity)
    place = Place(block.path, row.index, row.line, row.offset)
    if into is not None:
        into.put_record(record, texts, place)
        return True
    read.records.append(record)
    read.texts.append(texts)
    read.places.append(place)
    return True


def _selected(value: Any, source: Source) -> bool:
    """Whether a row has the values that `where` asks for; a text equals the value it spells."""
    if not isinstance(value, dict):
        return False
    return all(_equals(value_at(value, key), wanted) for key, wanted in source.where.items())


def _equals(found: Any, wanted: Any) -> bool:
    if isinstance(found, str) and not isinstance(wanted, str):
        return found.strip() == orjson.dumps(wanted).decode()
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)
