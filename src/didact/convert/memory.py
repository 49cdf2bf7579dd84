"""Rows in memory as elements: dicts, records, a pandas data frame, a `datasets` data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import orjson

from didact.convert.items import Element, Item, read_item
from didact.convert.records import Given
from didact.errors import CallError, DataError, RowError
from didact.formats.detect import SAMPLE_ROWS, named_or_detected
from didact.formats.fields import kind_of
from didact.formats.registry import Adapter
from didact.records import KINDS, Record

_PLACE = "<rows>"


def memory_elements(given: Any, format: str, columns: Mapping[str, str]) -> tuple[str, Iterator[Given]]:
    """The format of rows in memory, and the rows; records have a format each, and give an empty one.

    Raises CallError when the format cannot be told, or what is given holds no rows.
    """
    stream = iter(_rows_of(given))
    sample = list(islice(stream, SAMPLE_ROWS))
    whole = chain(sample, stream)
    if sample and isinstance(sample[0], tuple(KINDS.values())):
        return "", _of_records(whole)
    adapter = named_or_detected(format, sample, _PLACE, columns)
    if adapter.list_key is not None:
        raise CallError(f"format '{adapter.name}' is one JSON object; write it to a file and convert that")
    return adapter.name, _of_values(whole, adapter, columns)


def _rows_of(given: Any) -> Iterable[Any]:
    """The rows of whatever holds some. Raises CallError."""
    if hasattr(given, "to_dict") and hasattr(given, "iterrows"):
        return _rows_of_frame(given)
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise CallError(f"{kind_of(given)} holds no rows; give paths, a list of dicts, records, or a data frame")
    return given


def _rows_of_frame(frame: Any) -> Iterator[dict[str, Any]]:
    """Rows of a pandas data frame; what it counts as missing is null."""
    for row in frame.to_dict("records"):
        yield {str(key): None if value is None or value != value else value for key, value in row.items()}


def _of_values(rows: Iterable[Any], adapter: Adapter, columns: Mapping[str, str]) -> Iterator[Given]:
    for line, row in enumerate(rows, 1):
        value = _as_json(row, line)
        try:
            inner = [("", value)] if adapter.unfold is None else adapter.unfold(value)
            items = [read_item(adapter, one, columns, line, inside) for inside, one in inner]
        except RowError as error:
            items = [Item(line, "", value, None, error.code)]
        yield Given(Element(line - 1, value, items), _PLACE, adapter.name)


def _as_json(row: Any, line: int) -> Any:
    """A row as JSON holds it: numbers of numpy as numbers, its arrays as lists. Raises DataError."""
    try:
        return orjson.loads(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise DataError(f"{_PLACE}:{line}: a row holds what JSON cannot: {error}") from error


def _plain(value: Any) -> Any:
    """Arrays of objects and scalars as numpy and pandas have them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _of_records(records: Iterable[Record]) -> Iterator[Given]:
    """Records with the rows that they remember, each as an element of its own."""
    for line, record in enumerate(records, 1):
        origin = record.origin
        raw = origin.row.encode("utf-8") if origin is not None and origin.row is not None else b""
        item = Item(line, "", orjson.loads(raw) if raw else None, record)
        yield Given(Element(line - 1, item.row, [item]), _PLACE, origin.format if origin is not None else "", None, raw)
