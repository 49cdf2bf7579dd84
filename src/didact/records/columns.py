"""Records on their way into a table: each as its texts, and as the number of the mould that all else about it fits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.records import ROLES, Record
from didact.records.base import Role, Text
from didact.records.table import SCHEMA, SEGMENT

_STATED = ("kind", "group", "task", "language", "split", "header")
_of_record = attrgetter(*_STATED)
_ROLE_CODE = {role: code for code, role in enumerate(ROLES)}


@dataclass(slots=True)
class Place:
    """Where a row stands: path relative to its source, index of the row in the file, physical line, byte offset."""

    path: str
    index: int
    line: int
    offset: int


class Mould(NamedTuple):
    """All about a record beside its id, its place and what its texts say."""

    fields: tuple[str, ...]
    """Of each text the field it stands in."""
    roles: tuple[Role, ...]
    """Of each text who speaks it."""
    stated: tuple[str | None, ...]
    """Kind, group, task, language, split and header."""
    skeleton: bytes
    """Canonical JSON without the id and with every text emptied."""


def mould_of(record: Record, texts: Sequence[Text]) -> Mould:
    """A record's mould. texts: the record's, which are emptied in it, as is its id."""
    fields, roles, _ = zip(*texts, strict=True) if texts else ((), (), ())
    record.put_texts([""] * len(texts))
    record.assign(id="")
    return Mould(fields, roles, _of_record(record), record.canonical())


class _Part(NamedTuple):
    """The columns of some records that follow each other. which: the number of each one's mould."""

    which: NDArray[np.int64]
    texts: pa.StringArray
    ids: pa.FixedSizeBinaryArray
    path: NDArray[np.int64]
    row: NDArray[np.int64]
    line: NDArray[np.int64]


class Columns:
    """The columns of the records put in so far, in their order."""

    def __init__(self) -> None:
        self._moulds: dict[Mould, int] = {}
        self._known: dict[Hashable, int] = {}
        """Of records whose outline is told at a glance, the mould by it and by fields and roles of the texts."""
        self._paths: dict[str, int] = {}
        self._parts: list[_Part] = []
        self._sorted: list[tuple[int, int]] = []
        """Records from one to another that are to be brought into the order of their rows."""
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        """Begin another part, of records that come one at a time."""
        self._which: list[int] = []
        self._texts: list[str] = []
        self._ids: list[bytes] = []
        self._path: list[int] = []
        self._index: list[int] = []
        self._line: list[int] = []

    def __len__(self) -> int:
        return self._count

    def number(self, mould: Mould) -> int:
        """The number of a mould."""
        return self._moulds.setdefault(mould, len(self._moulds))

    def put_record(self, record: Record, texts: Sequence[Text], place: Place) -> None:
        """Put in a record with an id; its texts, which are given, may be moved out of it."""
        identity, outline = bytes.fromhex(record.id), record.outline()
        known = None if outline is None else (tuple([text[:2] for text in texts]), outline)
        number = None if known is None else self._known.get(known)
        if number is None:
            number = self.number(mould_of(record, texts))
            if known is not None:
                self._known[known] = number
        self._which.append(number)
        self._texts.extend([text[2] for text in texts])
        self._ids.append(identity)
        self._path.append(self._paths.setdefault(place.path, len(self._paths)))
        self._index.append(place.index)
        self._line.append(place.line)
        self._count += 1

    def put_all(
        self,
        which: NDArray[np.int64],
        texts: pa.StringArray,
        ids: pa.FixedSizeBinaryArray,
        path: str,
        index: NDArray[np.int64],
        line: NDArray[np.int64],
    ) -> None:
        """Put in records of one file by their moulds' numbers, their texts one record after the other, their ids, and
        the index and the line of each one's row.
        """
        self._end()
        paths = np.full(len(which), self._paths.setdefault(path, len(self._paths)), np.int64)
        self._parts.append(_Part(which, texts, ids, paths, index, line))
        self._count += len(which)

    def in_row_order(self, start: int) -> None:
        """Bring the records from number `start` on, which are of one file, into the order of their rows."""
        self._sorted.append((start, self._count))

    def table(self) -> pa.Table:
        """The table of all records."""
        self._end()
        which, texts, ids, path, index, line = map(_joined, zip(*self._parts, strict=True))
        moulds = list(self._moulds)
        columns = {
            name: _taken([mould.stated[at] for mould in moulds], which, SCHEMA.field(name).type)
            for at, name in enumerate(_STATED)
        }
        columns |= {
            "id": ids,
            "path": pa.DictionaryArray.from_arrays(
                pa.array(path).cast(pa.int32()), pa.array(list(self._paths), pa.string())
            ),
            "index": pa.array(index),
            "line": pa.array(line),
            "segments": _segments(moulds, which, texts),
            "skeleton": _taken([mould.skeleton for mould in moulds], which, pa.binary()),
        }
        table = pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)
        order = np.arange(len(index))
        for start, end in self._sorted:
            order[start:end] = start + np.argsort(index[start:end], kind="stable")
        return table if (order[:-1] < order[1:]).all() else table.take(pa.array(order))

    def _end(self) -> None:
        """End the part of records that came one at a time."""
        if self._which or not self._parts:
            numbers = (np.array(of, np.int64) for of in (self._which, self._path, self._index, self._line))
            which, path, index, line = numbers
            texts, ids = pa.array(self._texts, pa.string()), pa.array(self._ids, pa.binary(16))
            self._parts.append(_Part(which, texts, ids, path, index, line))
            self._begin()


def _joined(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else pa.concat_arrays(parts)


def to_table(
    records: Sequence[Record], places: Sequence[Place], texts: Sequence[Sequence[Text]] | None = None
) -> pa.Table:
    """The table of records at their places. The records' texts may be moved out: use the table from here on.

    texts: those of each record, for callers that have them at hand.
    """
    columns = Columns()
    given = [record.texts() for record in records] if texts is None else texts
    for record, own, place in zip(records, given, places, strict=True):
        columns.put_record(record, own, place)
    return columns.table()


def _taken(values: Sequence[str | bytes | None], which: NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    """The column of what each record's mould says."""
    if not pa.types.is_dictionary(kind):
        return pa.array(values, kind).take(pa.array(which))
    distinct = dict.fromkeys(values)
    place = {value: at for at, value in enumerate(distinct)}
    codes = np.array([place[value] for value in values], np.int64)[which]
    return pa.DictionaryArray.from_arrays(
        pa.array(codes).cast(kind.index_type), pa.array(list(distinct), kind.value_type)
    )


def _segments(moulds: Sequence[Mould], which: NDArray[np.int64], texts: pa.StringArray) -> pa.ListArray:
    """The column of texts."""
    fields: dict[str, int] = {}
    field_codes = [fields.setdefault(name, len(fields)) for mould in moulds for name in mould.fields]
    role_codes = [_ROLE_CODE[role] for mould in moulds for role in mould.roles]
    places, offsets = in_turn([len(mould.fields) for mould in moulds], which)
    codes = (pa.array(np.array(of, kind)[places]) for of, kind in ((field_codes, np.int16), (role_codes, np.int8)))
    named = (pa.array(list(fields), pa.string()), pa.array(ROLES, pa.string()))
    coded = [pa.DictionaryArray.from_arrays(*pair) for pair in zip(codes, named, strict=True)]
    values = pa.StructArray.from_arrays([*coded, texts], fields=list(SEGMENT))
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=SCHEMA.field("segments").type)


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
