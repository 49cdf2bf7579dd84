"""Records as an Arrow table: texts in one buffer, the rest beside them, nothing joined and nothing copied twice.

One row of the table is one record. `segments` holds its texts (field, role, text); `skeleton` is the record's
canonical JSON without its id and with every text emptied, so that id, skeleton and segments give the record back. The
stages that clean, measure and compare see the segments only, and what is written of records is made form by form (see
`didact.records.forms`), so no stage builds all records again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.records import ROLES, AnyRecord, Record
from didact.records.base import Role, Text

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

_STATED = ("kind", "group", "task", "language", "split", "header")
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_ROLE_CODE = {role: code for code, role in enumerate(ROLES)}


@dataclass(slots=True)
class Place:
    """Where a row stands: path relative to its source, index of the row in the file, physical line, byte offset."""

    path: str
    index: int
    line: int
    offset: int


def to_table(
    records: Sequence[Record], places: Sequence[Place], texts: Sequence[Sequence[Text]] | None = None
) -> pa.Table:
    """The table of records at their places. The records' texts may be moved out: use the table from here on.

    texts: those of each record, for callers that have them at hand.
    Raises RowError never: records are valid by construction.
    """
    given = [record.texts() for record in records] if texts is None else texts
    segments, layouts = _segments(given)
    columns: dict[str, list[object]] = {name: [*map(attrgetter(name), places)] for name in ("path", "index", "line")}
    columns |= {name: [*map(attrgetter(name), records)] for name in _STATED}
    columns["id"] = [bytes.fromhex(record.id) for record in records]
    columns["skeleton"] = [*_skeletons(records, layouts)]
    arrays = [
        segments if name == "segments" else _column(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _segments(texts: Sequence[Sequence[Text]]) -> tuple[pa.ListArray, list[int]]:
    """The column of texts, and a number for each record: those of one number have texts of the same fields and roles
    in the same order.
    """
    layouts: dict[tuple[tuple[str, ...], tuple[Role, ...]], int] = {}
    which: list[int] = []
    said: list[str] = []
    for own in texts:
        names, roles, words = zip(*own, strict=True) if own else ((), (), ())
        which.append(layouts.setdefault((names, roles), len(layouts)))
        said.extend(words)
    fields: dict[str, int] = {}
    field_codes = [fields.setdefault(name, len(fields)) for names, _ in layouts for name in names]
    role_codes = [_ROLE_CODE[role] for _, roles in layouts for role in roles]
    places, offsets = in_turn([len(names) for names, _ in layouts], which)
    codes = (pa.array(np.array(of, kind)[places]) for of, kind in ((field_codes, np.int16), (role_codes, np.int8)))
    named = (pa.array(list(fields), pa.string()), pa.array(ROLES, pa.string()))
    coded = [pa.DictionaryArray.from_arrays(*pair) for pair in zip(codes, named, strict=True)]
    values = pa.StructArray.from_arrays([*coded, pa.array(said, pa.string())], fields=list(SEGMENT))
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=SCHEMA.field("segments").type), which


def in_turn(
    sizes: Sequence[int], which: Sequence[int] | NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Lists of these sizes, one after another, taken in the order of `which`: the places of what they hold, and where
    each begins.
    """
    chosen = np.asarray(which, np.int64)
    starts, counts = np.cumsum([0, *sizes])[chosen], np.array(sizes, np.int64)[chosen]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts), offsets.astype(np.int32)


def _skeletons(records: Sequence[Record], layouts: Sequence[int]) -> Iterator[bytes]:
    """The skeleton of each record; written once for all that share layout and outline."""
    known: dict[object, bytes] = {}
    for record, layout in zip(records, layouts, strict=True):
        outline = record.outline()
        found = known.get((layout, outline)) if outline is not None else None
        if found is None:
            record.put_texts([""] * len(record.texts()))
            record.assign(id="")
            found = record.canonical()
            if outline is not None:
                known[layout, outline] = found
        yield found


def _column(values: list[object], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode().cast(kind)
    return pa.array(values, kind)


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


def fixed_bytes(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """The bytes of a column of fixed-size binary without nulls, one row for each value."""
    array = column.combine_chunks()
    width = array.type.byte_width
    there = np.frombuffer(array.buffers()[1] or b"", np.uint8).reshape(-1, width)
    return there[array.offset : array.offset + len(array)]


def hexadecimal(values: NDArray[np.uint8]) -> pa.StringArray:
    """Rows of bytes as hexadecimal digits."""
    count, width = values.shape
    digits = np.stack([_DIGITS[values >> 4], _DIGITS[values & 15]], axis=2)
    bounds = 2 * width * np.arange(count + 1, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(bounds), pa.py_buffer(digits))


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables one after the other, their dictionaries made one."""
    return pa.concat_tables(tables).unify_dictionaries() if tables else SCHEMA.empty_table()
