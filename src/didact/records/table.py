"""Records as an Arrow table: texts in one buffer, the rest beside them, nothing joined and nothing copied twice.

One row of the table is one record. `segments` holds its texts (field, role, text); `skeleton` is the record's
canonical JSON without its id and with every text emptied, so that id, skeleton and segments give the record back. The
stages that clean, measure and compare see the segments only, and what is written of records is made form by form (see
`didact.records.forms`), so no stage builds all records again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.records import AnyRecord, Record

SEGMENT = pa.struct(
    [
        pa.field("field", pa.dictionary(pa.int16(), pa.string()), nullable=False),
        pa.field("role", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("path", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("kind", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("group", pa.string()),
        pa.field("task", pa.string()),
        pa.field("language", pa.string()),
        pa.field("split", pa.string()),
        pa.field("header", pa.string()),
        pa.field("segments", pa.list_(pa.field("item", SEGMENT, nullable=False)), nullable=False),
        pa.field("skeleton", pa.binary(), nullable=False),
    ]
)
"""The columns of a chunk's records; lines are 1-based, `index` counts the rows of one file from 0."""

_PAIRS = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)
"""The two hexadecimal digits of each byte, side by side in memory."""


def texts_column(segments: pa.ListArray) -> pa.StringArray:
    """All texts of a segments column in order, as the array that holds them."""
    return segments.flatten().field("text")


def with_texts_column(segments: pa.ListArray, texts: pa.StringArray) -> pa.ListArray:
    """The same segments with other texts, one for each."""
    values = segments.flatten()
    renewed = pa.StructArray.from_arrays([values.field("field"), values.field("role"), texts], fields=list(SEGMENT))
    return pa.ListArray.from_arrays(zeroed_offsets(segments), renewed, type=segments.type)


def zeroed_offsets(column: pa.ListArray) -> pa.Array:
    """Offsets of a list column into its flattened values; a slice of a longer column starts at 0 again."""
    offsets = column.offsets
    first = offsets[0].as_py()
    return offsets if first == 0 else pa.array(offsets.to_numpy() - first, pa.int32())


def from_table(table: pa.Table) -> Iterator[Record]:
    """Build the records of a table again: skeleton and texts together."""
    for batch in table.to_batches():
        segments = batch.column("segments")
        offsets = zeroed_offsets(segments).to_pylist()
        texts = texts_column(segments).to_pylist()
        bare = zip(batch.column("id").to_pylist(), batch.column("skeleton").to_pylist(), strict=True)
        for (own, skeleton), (start, end) in zip(bare, pairwise(offsets), strict=True):
            record = AnyRecord.validate_json(skeleton)
            record.put_texts(texts[start:end])
            record.assign(id=own.hex())
            yield record


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; a column that is one already is not copied, as `combine_chunks` does."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def fixed_bytes(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """The bytes of a column of fixed-size binary without nulls, one row for each value."""
    array = in_one_piece(column)
    width = array.type.byte_width
    there = np.frombuffer(array.buffers()[1] or b"", np.uint8).reshape(-1, width)
    there.setflags(write=False)
    return there[array.offset : array.offset + len(array)]


def hexadecimal(values: NDArray[np.uint8]) -> pa.StringArray:
    """Rows of bytes as hexadecimal digits."""
    count, width = values.shape
    bounds = 2 * width * np.arange(count + 1, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(bounds), pa.py_buffer(_PAIRS[values]))
