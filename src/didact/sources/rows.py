"""Turns the rows of a block into values: parsed JSON, CSV cells by name, or text. Runs in the workers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import orjson

from didact.errors import RowError
from didact.records.checks import Problem
from didact.records.findings import Finding
from didact.sources.blocks import ROW_LIMIT, Block, Numbers
from didact.sources.containers import JSON, ROW_VALUES, Container, is_dense
from didact.sources.delimited import DELIMITERS, cells_of, column_names
from didact.sources.keys import TooDeep, key_colons, repeated_keys


@dataclass(slots=True)
class Row:
    """One row as its file holds it, and where it stands."""

    index: int
    line: int
    offset: int
    value: Any
    """A JSON value; for CSV a dict of strings; for plain text a string."""
    notes: tuple[Problem, ...] = ()
    """What is odd about how the value is written."""


class _Unreadable(Exception):
    """Why the bytes of a row are no value: a code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def rows(block: Block, row_limit: int = ROW_LIMIT, chosen: Numbers | None = None) -> Iterator[Row | Finding]:
    """Every row of a block in order, as a value or as the finding that rejects it.

    chosen: the numbers of those that are wanted, ascending, where not all are; columnar files give all.
    """
    if block.container in ("parquet", "arrow"):
        yield from _columnar_rows(block)
        return
    parse = _parser(block, row_limit)
    is_json = block.container in JSON
    data, base = block.data, block.offset
    numbers = np.arange(len(block)) if chosen is None else chosen
    starts, ends = block.starts[numbers], block.ends[numbers]
    colons = key_colons(data, starts, ends) if is_json else repeat(0)
    places = zip(numbers.tolist(), starts.tolist(), ends.tolist(), block.lines[numbers].tolist(), strict=True)
    for (number, start, end, line), keys in zip(places, colons, strict=False):
        index = block.first + number
        try:
            if end - start > row_limit:
                raise _Unreadable("JS007", f"the row has {end - start} bytes, more than {row_limit}")
            raw = data[start:end]
            value = parse(raw)
            yield Row(index, line, base + start, value, repeated_keys(raw, value, keys) if is_json else ())
        except TooDeep as error:
            yield Finding("JS001", block.path, index, line, base + start, "", str(error))
        except _Unreadable as error:
            yield Finding(error.code, block.path, index, line, base + start, "", str(error))


def _parser(block: Block, row_limit: int) -> Callable[[bytes], Any]:
    """How the bytes of one row of the block become a value."""
    if block.container == "text":
        return _text
    if block.container in ("html", "warc"):
        return _from_the_web(block.container)
    if block.container not in DELIMITERS:
        return _json
    delimiter = DELIMITERS[block.container]
    names = column_names(block.head, delimiter, block.quoted, row_limit)
    return lambda raw: _named_cells(raw, names, delimiter, block.quoted, row_limit)


def _from_the_web(container: Container) -> Callable[[bytes], Any]:
    """How a page, or a record of an archive of pages, becomes a value."""
    from didact.sources.web import archive_row, page_row  # as in `cutting`: only those who need it load it

    read = page_row if container == "html" else archive_row

    def parse(raw: bytes) -> Any:
        try:
            return read(raw)
        except RowError as error:
            raise _Unreadable(error.code, error.message) from error

    return parse


def _json(raw: bytes) -> Any:
    if is_dense(raw, ROW_VALUES):
        raise _Unreadable("JS007", f"the row holds more than {ROW_VALUES} values")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _why_not_json(raw, error) from error


def _why_not_json(raw: bytes, error: orjson.JSONDecodeError) -> _Unreadable:
    """Tell bad encoding, half surrogates, words such as NaN and deep nesting from plain bad syntax."""
    text = _text(raw)
    if text.startswith("\ufeff"):
        return _Unreadable("JS001", "a byte order mark stands before the row, as where files were joined; remove it")
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_int=float)
    except _NoNumber as found:
        return _Unreadable("JS004", f"{found} is no JSON value; write null, or leave the key out")
    except ValueError as finer:
        return _Unreadable("JS001", str(finer))
    except RecursionError:
        return _Unreadable("JS001", str(TooDeep()))
    if "surrogate" in str(error) or "hex escape" in str(error):
        return _Unreadable("UN003", "a string holds half of a surrogate pair")
    return _Unreadable("JS001", str(error))


class _NoNumber(Exception):
    """NaN, Infinity or -Infinity stands where a value belongs."""


def _refuse_constant(name: str) -> None:
    raise _NoNumber(name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Unreadable("IO002", f"byte {error.start} of the row, 0x{raw[error.start]:02x}, is not UTF-8") from error


def _named_cells(raw: bytes, names: list[str], delimiter: str, quoted: bool, row_limit: int) -> dict[str, str]:
    try:
        cells = cells_of(_text(raw), delimiter, quoted, row_limit)
    except csv.Error as error:
        raise _Unreadable("CS001", f"not a row of cells: {error}") from error
    if len(cells) != len(names):
        raise _Unreadable("CS001", f"{len(cells)} cells where {len(names)} columns have a name")
    return dict(zip(names, cells, strict=True))


def _columnar_rows(block: Block) -> Iterator[Row | Finding]:
    """Rows of a Parquet or Arrow file; when it cannot be decoded, what is left of the block is rejected row by row."""
    from didact.sources.columnar import ARROW_ERRORS, columnar_rows  # as in `cutting`: only those who need it load it

    index, end = block.first, block.first + len(block)
    try:
        for value in columnar_rows(block):
            yield Row(index, index + 1, 0, value)
            index += 1
    except ARROW_ERRORS as error:
        message = f"the rows cannot be decoded: {str(error).partition(chr(10))[0]}"
        yield from (Finding("IO004", block.path, lost, lost + 1, 0, "", message) for lost in range(index, end))
