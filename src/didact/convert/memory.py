"""Rows in memory as elements: dicts, records, a pandas data frame, a `datasets` data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import orjson

from didact.convert.items import Element, Item, read_item
from didact.convert.records import Given
from didact.errors import CallError, RowError
from didact.formats.detect import SAMPLE_ROWS, named_or_detected
from didact.formats.registry import Adapter
from didact.records import KINDS, Record
from didact.sources.memory import ROWS, rows_of
from didact.sources.spool import spelt_row


def memory_elements(given: Any, format: str, columns: Mapping[str, str]) -> tuple[str, Iterator[Given]]:
    """The format of rows in memory, and the rows; records have a format each, and give an empty one.

    Raises CallError when the format cannot be told, or what is given holds no rows.
    """
    named = rows_of(given) or []
    stream = chain.from_iterable(one.rows for one in named)
    sample = list(islice(stream, SAMPLE_ROWS))
    whole = chain(sample, stream)
    if sample and isinstance(sample[0], tuple(KINDS.values())):
        return "", _of_records(whole)
    adapter = named_or_detected(format, [_as_json(row, ROWS) for row in sample], ROWS, columns)
    if adapter.list_key is not None:
        raise CallError(f"format '{adapter.name}' is one JSON object; write it to a file and convert that")
    return adapter.name, _of_values(whole, adapter, columns)


def _of_values(rows: Iterable[Any], adapter: Adapter, columns: Mapping[str, str]) -> Iterator[Given]:
    for line, row in enumerate(rows, 1):
        value = _as_json(row, f"{ROWS}:{line}")
        try:
            inner = [("", value)] if adapter.unfold is None else adapter.unfold(value)
            items = [read_item(adapter, one, columns, line, inside) for inside, one in inner]
        except RowError as error:
            items = [Item(line, "", value, None, error.code)]
        yield Given(Element(line - 1, value, items), ROWS, adapter.name)


def _as_json(row: Any, where: str) -> Any:
    return orjson.loads(spelt_row(row, where))


def _of_records(records: Iterable[Record]) -> Iterator[Given]:
    """Records with the rows that they remember, each as an element of its own."""
    for line, record in enumerate(records, 1):
        origin = record.origin
        raw = origin.row.encode("utf-8") if origin is not None and origin.row is not None else b""
        item = Item(line, "", orjson.loads(raw) if raw else None, record)
        yield Given(Element(line - 1, item.row, [item]), ROWS, origin.format if origin is not None else "", None, raw)
