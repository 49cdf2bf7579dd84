"""Types of columns that hold JSON values, found by going over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from didact.errors import DataError
from didact.sources.endings import bare_suffix

Kind = dict[str, Any] | list[Any] | str | None
"""Of a JSON value: `text`, `whole`, `number`, `truth`; a list with the kind of its items, an object with the
kinds of its keys; None for nothing but null."""

_SCALARS: dict[type, str] = {str: "text", bool: "truth", int: "whole", float: "number"}
_NUMBERS = ("whole", "number")
_TYPES = {"text": pa.string(), "truth": pa.bool_(), "whole": pa.int64(), "number": pa.float64()}


def kind_of_row(kind: Kind, row: dict[str, Any], place: str) -> Kind:
    """The kind that takes one more row. Raises DataError naming the first column that cannot."""
    try:
        return _joined(kind, row, place, "")
    except RecursionError as error:
        raise DataError(f"{place}: a row that is nested too deeply for a column; write .jsonl") from error


def _joined(kind: Kind, value: Any, place: str, where: str) -> Kind:
    if value is None:
        return kind
    if isinstance(value, dict) and (kind is None or isinstance(kind, dict)):
        members = kind if isinstance(kind, dict) else {}
        for key, inner in value.items():
            members[key] = _joined(members.get(key), inner, place, f"{where}/{key}")
        return members
    if isinstance(value, list) and (kind is None or isinstance(kind, list)):
        items: Kind = kind[0] if isinstance(kind, list) else None
        for inner in value:
            items = _joined(items, inner, place, f"{where}/*")
        return [items]
    name = _SCALARS.get(type(value))
    if name is not None and (kind is None or kind == name):
        return name
    if name in _NUMBERS and kind in _NUMBERS:
        return "number"
    raise DataError(
        f"{place}: '{where}' holds another type than in rows before, and a column has one type; write .jsonl"
    )


def _arrow(kind: Kind) -> pa.DataType:
    if isinstance(kind, dict):
        members = [(key, _arrow(inner)) for key, inner in kind.items()]
        return pa.struct(members) if members else pa.null()
    if isinstance(kind, list):
        return pa.list_(_arrow(kind[0]))
    return _TYPES[kind] if kind else pa.null()


def batch_of(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as a batch. Raises DataError for a number that no column holds."""
    try:
        columns = [pa.array([_fitted(row.get(field.name), field.type) for row in rows], field.type) for field in schema]
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"a value has no place in its column: {error}; write .jsonl") from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fitted(value: Any, kind: pa.DataType) -> Any:
    """A value without what its type has no place for: an object without keys, which no column holds."""
    if pa.types.is_null(kind) or value is None:
        return None
    if pa.types.is_list(kind):
        return [_fitted(inner, kind.value_type) for inner in value]
    if pa.types.is_struct(kind):
        return {field.name: _fitted(value.get(field.name), field.type) for field in kind}
    return value


@contextmanager
def column_writer(path: Path, kind: Kind) -> Iterator[tuple[pa.Schema, Callable[[pa.RecordBatch], None]]]:
    """A Parquet file, or for `.arrow` an Arrow file, to write batches into."""
    schema = pa.schema([(key, _arrow(inner)) for key, inner in (kind if isinstance(kind, dict) else {}).items()])
    if bare_suffix(path) == ".parquet":
        with pq.ParquetWriter(path, schema) as writer:
            yield schema, writer.write_batch
    else:
        with pa.ipc.new_file(str(path), schema) as writer:
            yield schema, writer.write_batch
