"""Cuts Parquet and Arrow files by row group and record batch, and reads their rows as JSON values."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from didact.sources.blocks import Block, Cursor, Cut

_BATCH = 1024


def cut_parquet(cursor: Cursor, block_bytes: int) -> Cut:
    """One block for each row group, or several when the row group is larger than a block."""
    try:
        with pq.ParquetFile(cursor.file.path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        yield cursor.lost_row("IO004", f"not a whole Parquet file: {_one_line(error)}")
        return
    size, rows, done = cursor.file.path.stat().st_size, max(1, sum(group.num_rows for group in groups)), 0
    for piece, group in enumerate(groups):
        parts = max(1, -(-group.total_byte_size // max(1, block_bytes)))
        done += group.num_rows
        yield from _stretches(cursor, piece, group.num_rows, -(-group.num_rows // parts), size * done // rows)


def cut_arrow(cursor: Cursor, block_bytes: int) -> Cut:
    """One block for each record batch of an Arrow file or stream, or several when the batch is larger than a block."""
    try:
        with pa.memory_map(str(cursor.file.path)) as mapped:
            size, done = mapped.size(), 0
            for piece, batch in enumerate(_batches(mapped)):
                parts = max(1, -(-batch.nbytes // max(1, block_bytes)))
                done = min(size, done + batch.nbytes)
                yield from _stretches(cursor, piece, batch.num_rows, -(-batch.num_rows // parts), done)
    except (pa.ArrowException, OSError) as error:
        yield cursor.lost_row("IO004", f"not a whole Arrow file: {_one_line(error)}")


def _stretches(cursor: Cursor, piece: int, rows: int, size: int, stored: int) -> Iterator[Block]:
    """Blocks of at most `size` rows. stored: about how far into the file the piece reaches, in bytes."""
    file = cursor.file
    for start in range(0, rows, max(1, size)):
        places = np.arange(start, min(rows, start + size), dtype=np.int64)
        lines = np.arange(cursor.index + 1, cursor.index + 1 + len(places), dtype=np.int64)
        yield Block(
            file.source,
            file.relative,
            file.container,
            cursor.index,
            starts=places,
            ends=places,
            lines=lines,
            file=str(file.path),
            piece=piece,
            stored=stored,
        )
        cursor.index += len(places)


def _batches(mapped: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    """The record batches of an Arrow file or, as `datasets` writes them, an Arrow stream."""
    start = mapped.read(6)
    mapped.seek(0)
    if start == b"ARROW1":
        file = pa.ipc.open_file(mapped)
        yield from (file.get_batch(i) for i in range(file.num_record_batches))
    else:
        yield from pa.ipc.open_stream(mapped)


def columnar_rows(block: Block) -> Iterator[dict[str, Any]]:
    """The rows of a block, in order. Raises pyarrow.ArrowException or OSError when the file cannot be decoded."""
    for batch in columnar_batches(block):
        yield from as_json(batch)


def columnar_batches(block: Block) -> Iterator[pa.RecordBatch]:
    """The rows of a block as record batches, in order. Raises as `columnar_rows` does."""
    if not len(block):
        return
    if block.carried or block.broken:
        if block.carried:
            yield from pa.ipc.open_stream(block.carried)
        if block.broken:
            raise pa.ArrowInvalid(block.broken)
        return
    first, last = int(block.starts[0]), int(block.starts[-1]) + 1
    read = _parquet_batches if block.container == "parquet" else _arrow_batch
    before = 0
    for batch in read(block):
        if before >= last:
            return
        if before + batch.num_rows > first:
            yield batch.slice(max(0, first - before), min(batch.num_rows, last - before) - max(0, first - before))
        before += batch.num_rows


def with_rows(block: Block) -> Block:
    """A block of a columnar file with its rows in it, and with what keeps the rest of them from being read."""
    batches: list[pa.RecordBatch] = []
    broken = ""
    try:
        batches += columnar_batches(block)
    except ARROW_ERRORS as error:
        broken = str(error) or type(error).__name__
    sink = pa.BufferOutputStream()
    if batches:
        with pa.ipc.new_stream(sink, batches[0].schema) as stream:
            for batch in batches:
                stream.write_batch(batch)
    return replace(block, carried=sink.getvalue().to_pybytes(), broken=broken)


def _parquet_batches(block: Block) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(block.file) as file:
        yield from file.iter_batches(_BATCH, row_groups=[block.piece])


def _arrow_batch(block: Block) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(block.file) as mapped:
        for piece, batch in enumerate(_batches(mapped)):
            if piece == block.piece:
                yield batch
                return


def as_json(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows as JSON has them: times and decimals by their spelling, bytes in base 64, not-a-number as null.

    Arrow gives every object of a list the keys of all of them, so a null inside an object most often stands for a key
    that its author did not write; such keys are left out. Null cells stay null. Values that Arrow carries as JSON text
    are what the text spells.
    """
    convert = _identity if all(_is_plain(kind) for kind in batch.schema.types) else _through_json
    written = {field.name: restore for field in batch.schema if (restore := _restorer(field.type)) is not None}
    for row in map(convert, batch.to_pylist()):
        for name, restore in written.items():
            row[name] = restore(row[name])
        yield row


def with_absent_keys(value: Any) -> Any:
    """A value without the keys whose value is null, in all objects inside it."""
    if isinstance(value, dict):
        return {key: with_absent_keys(inner) for key, inner in value.items() if inner is not None}
    return [with_absent_keys(item) for item in value] if isinstance(value, list) else value


def _restorer(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What makes the author's value of Arrow's; None when they are the same."""
    types = pa.types
    if _is_json(kind):
        return _parsed
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _restorer(kind.value_type)
        return None if inner is None else partial(_each, inner)
    if types.is_struct(kind):
        return partial(_present, {field.name: _restorer(field.type) for field in kind})
    return None


def _each(restore: Callable[[Any], Any], items: list[Any] | None) -> list[Any] | None:
    return None if items is None else [restore(item) for item in items]


def _present(restorers: dict[str, Callable[[Any], Any] | None], value: dict[str, Any] | None) -> dict[str, Any] | None:
    if value is None:
        return None
    present = ((key, restorers[key], inner) for key, inner in value.items() if inner is not None)
    return {key: inner if restore is None else restore(inner) for key, restore, inner in present}


def _is_json(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.json"


def _parsed(text: Any) -> Any:
    try:
        return orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        return text


def _is_plain(kind: pa.DataType) -> bool:
    """Whether values of a type come out of Arrow as JSON values."""
    types = pa.types
    if types.is_struct(kind):
        return all(_is_plain(field.type) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_plain(kind.value_type)
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_null(kind)
        or _is_json(kind)
    )


def _identity(row: dict[str, Any]) -> dict[str, Any]:
    return row


def _through_json(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(row, default=_spelt, option=orjson.OPT_NON_STR_KEYS))
    return found


def _spelt(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


ARROW_ERRORS: tuple[type[Exception], ...] = (pa.ArrowException, OSError)
"""What decoding a columnar file may raise."""
