"""Writes a Parquet or Arrow file again with some of its rows changed: same schema, same values everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from didact.errors import DataError, NoPlace
from didact.formats.fields import pointer
from didact.formats.json_edit import same_json
from didact.sources.blocks import Block, Cursor, SourceFile
from didact.sources.columnar import as_json, columnar_batches, cut_arrow, cut_parquet, with_absent_keys

if TYPE_CHECKING:
    from didact.sources.rewriting import Changes

Write = Callable[[pa.RecordBatch], None]


def rewrite_columnar(file: SourceFile, target: Path, changes: Changes, block_bytes: int) -> None:
    """Write a file again under `target`, in stretches of about `block_bytes` bytes.

    Raises NoPlace when a column cannot hold a row's new value, DataError when the file is damaged.
    """
    try:
        _rewrite(file, target, changes, block_bytes)
    except pa.ArrowException as error:
        raise DataError(f"{file.relative}: cannot be written again: {str(error).partition(chr(10))[0]}") from error


def _rewrite(file: SourceFile, target: Path, changes: Changes, block_bytes: int) -> None:
    cut = cut_parquet if file.container == "parquet" else cut_arrow
    with (_parquet_copy if file.container == "parquet" else _arrow_copy)(file.path, target) as write:
        for block in cut(Cursor(file), block_bytes):
            if not isinstance(block, Block):
                raise DataError(str(block))
            changed = dict(changes(block))
            done = 0
            for batch in columnar_batches(block):
                here = {place - done: row for place, row in changed.items() if done <= place < done + batch.num_rows}
                write(_patched(batch, here, block, done) if here else batch)
                done += batch.num_rows


@contextmanager
def _parquet_copy(path: Path, target: Path) -> Iterator[Write]:
    """Writes batches into row groups of the size that the original's first one has, compressed alike."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        first = file.metadata.row_group(0) if file.metadata.num_row_groups else None
    rows = max(1, first.num_rows) if first else None
    compression = first.column(0).compression.lower() if first and first.num_columns else "snappy"
    with pq.ParquetWriter(
        target, schema, compression="none" if compression == "uncompressed" else compression
    ) as writer:
        yield lambda batch: writer.write_batch(batch, row_group_size=rows)


@contextmanager
def _arrow_copy(path: Path, target: Path) -> Iterator[Write]:
    """Writes batches into an Arrow file or stream, whichever the original is."""
    with pa.memory_map(str(path)) as mapped:
        is_file = mapped.read(6) == b"ARROW1"
        mapped.seek(0)
        schema = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(mapped).schema
    # A file, unlike a stream, has one dictionary for a column; batches with others can only be written together.
    together = is_file and any(pa.types.is_dictionary(kind) for kind in schema.types)
    options = pa.ipc.IpcWriteOptions(unify_dictionaries=together)
    held: list[pa.RecordBatch] = []
    with (pa.ipc.new_file if is_file else pa.ipc.new_stream)(str(target), schema, options=options) as writer:
        yield held.append if together else writer.write_batch
        if held:
            writer.write_table(pa.Table.from_batches(held, schema))


def _patched(batch: pa.RecordBatch, changes: dict[int, Any], block: Block, before: int) -> pa.RecordBatch:
    """A batch that stands behind `before` rows of a block with some rows replaced. Raises NoPlace."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for place, row in changes.items():
        old = next(as_json(batch.slice(place, 1)))
        try:
            for name in _changed_names(old, row):
                columns[name] = _with(columns, name, batch.schema, place, row.get(name))
        except NoPlace as error:
            where = f"{block.path}:{block.lines[before + place]}"
            raise NoPlace(f"{where}: {error.message}", error.pointer) from error
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)


def _changed_names(old: dict[str, Any], row: dict[str, Any]) -> list[str]:
    return [name for name in {**old, **row} if not same_json(old.get(name), row.get(name))]


def _with(columns: dict[str, pa.Array], name: str, schema: pa.Schema, place: int, value: Any) -> pa.Array:
    """A column with one value replaced; all others are those of the column, bit by bit."""
    if name not in columns:
        raise NoPlace("the file has no such column", pointer(name))
    kind, column = schema.field(name).type, columns[name]
    try:
        coded = pa.types.is_dictionary(kind)
        one = pa.array([value], kind.value_type).dictionary_encode().cast(kind) if coded else pa.array([value], kind)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise NoPlace(f"the column is of type {kind}: {error}", pointer(name)) from error
    back = next(as_json(pa.RecordBatch.from_arrays([one], names=[name])))[name]
    if not same_json(with_absent_keys(back), with_absent_keys(value)):
        raise NoPlace(f"the column is of type {kind}, which holds less than the new value", pointer(name))
    return pa.concat_arrays([column.slice(0, place), one, column.slice(place + 1)])
