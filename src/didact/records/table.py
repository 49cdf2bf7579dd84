"""Records as an Arrow table: texts in one buffer, the rest beside them, nothing joined and nothing copied twice.

One row of the table is one record. `segments` holds its texts (field, role, text); `skeleton` is the record's
canonical JSON without its id and with every text emptied, so that id, skeleton and segments give the record back. The
stages that clean, measure and compare see the segments only, and what is written of records is made form by form (see
`didact.records.forms`), so no stage builds all records again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.records import ROLES, AnyRecord, Record
from didact.records.base import Text

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

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_ROLE_CODE = {role: code for code, role in enumerate(ROLES)}


@dataclass(slots=True)
class Place:
    """Where a row stands: path relative to its source, index of the row in the file, physical line, byte offset."""

    path: str
    index: int
    line: int
    offset: int


@dataclass
class _Columns:
    """The columns of a table under construction, as Python lists."""

    plain: dict[str, list[object]] = field(
        default_factory=lambda: {name: [] for name in SCHEMA.names if name not in ("segments",)}
    )
    counts: list[int] = field(default_factory=list)
    fields: dict[str, int] = field(default_factory=dict)
    field_codes: list[int] = field(default_factory=list)
    role_codes: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, record: Record, place: Place) -> None:
        texts = record.texts()
        plain = self.plain
        for name, value in (("path", place.path), ("index", place.index), ("line", place.line), ("kind", record.kind)):
            plain[name].append(value)
        for name in ("group", "task", "language", "split", "header"):
            plain[name].append(getattr(record, name))
        plain["id"].append(bytes.fromhex(record.id))
        self._add_texts(texts)
        record.put_texts([""] * len(texts))
        record.assign(id="")
        plain["skeleton"].append(record.canonical())

    def _add_texts(self, texts: Sequence[Text]) -> None:
        self.counts.append(len(texts))
        for name, role, text in texts:
            self.field_codes.append(self.fields.setdefault(name, len(self.fields)))
            self.role_codes.append(_ROLE_CODE[role])
            self.texts.append(text)

    def segments(self) -> pa.ListArray:
        names = pa.array(list(self.fields), pa.string())
        fields = pa.DictionaryArray.from_arrays(pa.array(self.field_codes, pa.int16()), names)
        roles = pa.DictionaryArray.from_arrays(pa.array(self.role_codes, pa.int8()), pa.array(ROLES, pa.string()))
        values = pa.StructArray.from_arrays([fields, roles, pa.array(self.texts, pa.string())], fields=list(SEGMENT))
        offsets = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), values, type=SCHEMA.field("segments").type)


def to_table(records: Sequence[Record], places: Sequence[Place]) -> pa.Table:
    """The table of records at their places. The records' texts are moved out: use the table from here on.

    Raises RowError never: records are valid by construction.
    """
    columns = _Columns()
    for record, place in zip(records, places, strict=True):
        columns.add(record, place)
    arrays = [
        columns.segments() if name == "segments" else _column(columns.plain[name], SCHEMA.field(name).type)
        for name in SCHEMA.names
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


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
