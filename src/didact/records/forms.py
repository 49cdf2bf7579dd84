"""What records have in common that differ only in what their texts say: their form, worked out once for all of them.

Whatever is made of a record and holds its texts as they are (its canonical JSON, its dialogue) is the same for all
records of a form but for those texts. So it is made once, of a record with a mark in the place of each text, and cut at
the marks into a pattern; a kernel fills the pattern for every record. Real data has few forms: 52,002 records of Alpaca
have 32.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from didact.canonical import canonical_json
from didact.records import AnyRecord, Record
from didact.records.table import fixed_bytes, in_one_piece
from didact.text.filling import ID, Pattern, fill
from didact.text.slots import Slots
from didact.text.views import Segments

Made = TypeVar("Made")

_BIT_PLACES = 62
"""Texts whose emptiness fits a signed 64-bit word; a record with an empty text beyond them is a form of its own."""
_REMEMBERED = 4_000
"""Forms kept for further records: Python objects of about 6 kB each."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form, as a record of it: marks stand for its texts, or the texts themselves where marks will not do."""

    record: Record
    mark: re.Pattern[str] | None = None

    def pattern(self, made: str) -> Pattern:
        """What was made of the record, cut at the marks."""
        return Pattern((made,)) if self.mark is None else Pattern.cut(made, self.mark)


@dataclass(frozen=True, slots=True)
class Forms:
    """The records of a table by their forms. which: (n,), the form of each."""

    forms: tuple[Form, ...]
    which: NDArray[np.int64]
    slots: Slots

    def __len__(self) -> int:
        return len(self.which)

    def each(self, make: Callable[[Record], Made]) -> list[Made]:
        """Something made of each form."""
        return [make(form.record) for form in self.forms]

    def column(self, make: Callable[[Record], str | None]) -> pa.DictionaryArray:
        """For every record what `make` gives, which must not look at the texts; each value once, and its places."""
        return pa.array(self.each(make), pa.string()).dictionary_encode().take(pa.array(self.which))

    def filled(self, make: Callable[[Record], str], *, in_json: bool = False) -> pa.StringArray:
        """For every record what `make` gives, which must hold texts as they are, or as JSON spells them."""
        patterns = [form.pattern(make(form.record)) for form in self.forms]
        return self.fill(patterns, self.which, np.arange(len(self), dtype=np.int64), in_json=in_json)

    def canonical(self) -> pa.StringArray:
        """The canonical JSON of every record."""
        return self.filled(lambda record: record.canonical().decode(), in_json=True)

    def content_ids(self) -> list[bytes]:
        """The id of every record's content, 16 bytes each, whatever id the record bears."""
        contents = self.filled(lambda record: canonical_json(record.content()).decode(), in_json=True)
        return [xxhash.xxh3_128_digest(content) for content in contents.cast(pa.binary()).to_pylist()]

    def fill(
        self,
        patterns: Sequence[Pattern],
        which: NDArray[np.int64],
        records: NDArray[np.int64],
        *,
        in_json: bool = False,
    ) -> pa.StringArray:
        """Patterns of forms filled from their records. which, records: the pattern and the record of each item."""
        return fill(patterns, which, records, self.slots, in_json=in_json)


@dataclass(frozen=True, slots=True)
class StandIns:
    """Forms as records with marks for texts, each made when it is first met: groups of rows of one file share most.

    beside: text that may get into what is made of them, such as headers, so that no mark occurs in it.
    """

    beside: str = ""
    met: dict[tuple[bytes, bytes], Form | None] = field(default_factory=dict)

    def of(self, skeleton: bytes, filled: NDArray[np.bool_]) -> Form | None:
        """The form of records with this skeleton; None where marks would not hold texts as they are. filled: which of
        its texts are not empty.
        """
        key = skeleton, filled.tobytes()
        if key in self.met:
            return self.met[key]
        form = self._made(skeleton, filled)
        if len(self.met) < _REMEMBERED:
            self.met[key] = form
        return form

    def _made(self, skeleton: bytes, filled: NDArray[np.bool_]) -> Form | None:
        record = AnyRecord.validate_json(skeleton)
        if not record.holds_texts_verbatim():
            return None
        mark = unused_mark(skeleton.decode() + self.beside)
        record.put_texts([mark.format(place) if there else "" for place, there in enumerate(filled.tolist())])
        record.assign(id=mark.format(ID))
        return Form(record, re.compile(mark.format(r"(-?\d+)")))


def slots_of(table: pa.Table) -> Slots:
    """The texts and ids of a table's records; nothing is copied of a table that is in one piece."""
    segments = Segments.from_arrow(in_one_piece(table["segments"]))
    return Slots(segments.data, segments.text_offsets, segments.record_offsets, fixed_bytes(table["id"]))


def forms_of(table: pa.Table, stand_ins: StandIns | None = None) -> Forms:
    """The forms of a table's records. stand_ins: those met before, where there are any."""
    return forms_with(table["skeleton"], slots_of(table), stand_ins)


def forms_with(skeletons: pa.ChunkedArray, slots: Slots, stand_ins: StandIns | None = None) -> Forms:
    """The forms of records with these skeletons, texts and ids, as `forms_of`."""
    coded = in_one_piece(skeletons).dictionary_encode()
    shared, first = _grouped(coded.indices.to_numpy().astype(np.int64), slots)
    rows = _Rows(coded.dictionary.to_pylist(), coded.indices.to_numpy(), slots)
    known = stand_ins or StandIns()
    stood = [known.of(rows.skeleton(row), np.array(rows.sizes(row), np.bool_)) for row in first.tolist()]
    forms = [form for form in stood if form is not None]
    place = np.cumsum([form is not None for form in stood]) - 1
    alone = np.flatnonzero(np.array([form is None for form in stood], np.bool_)[shared])
    which = place[shared].astype(np.int64)
    which[alone] = len(forms) + np.arange(len(alone))
    return Forms((*forms, *(rows.itself(row) for row in alone.tolist())), which, slots)


def _grouped(skeletons: NDArray[np.int64], slots: Slots) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each record its group; for each group its first record. Records of a group share their skeleton and have the
    same texts empty.
    """
    bounds = slots.record_offsets.astype(np.int64)
    empty = np.flatnonzero(np.diff(slots.text_offsets) == 0)
    record = np.searchsorted(bounds, empty, side="right") - 1
    place = empty - bounds[record]
    masks = np.zeros(len(skeletons), np.int64)
    near = place < _BIT_PLACES
    np.bitwise_or.at(masks, record[near], np.int64(1) << place[near])
    far = np.unique(record[~near])
    masks[far] = -1 - far
    mask = _numbered(masks)
    group = _numbered(skeletons * (int(mask.max(initial=0)) + 1) + mask)
    first = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return group, first


def _numbered(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each value's number among the distinct ones, in the order in which they come first; a sort would take longer."""
    numbers: NDArray[np.int64] = pa.array(values).dictionary_encode().indices.to_numpy().astype(np.int64)
    return numbers


@dataclass(frozen=True, slots=True)
class _Rows:
    """Records as rows. which: the skeleton of each."""

    skeletons: list[bytes]
    which: NDArray[np.int32]
    slots: Slots

    def skeleton(self, row: int) -> bytes:
        """The skeleton of a row."""
        return self.skeletons[self.which[row]]

    def sizes(self, row: int) -> NDArray[np.int32]:
        """Bytes of each text of a row."""
        return np.diff(self._bounds(row))

    def itself(self, row: int) -> Form:
        """The record of a row as a form."""
        record = AnyRecord.validate_json(self.skeleton(row))
        bounds = self._bounds(row).tolist()
        record.put_texts([self.slots.data[start:end].tobytes().decode() for start, end in pairwise(bounds)])
        record.assign(id=self.slots.ids[row].tobytes().hex())
        return Form(record)

    def _bounds(self, row: int) -> NDArray[np.int32]:
        first, last = self.slots.record_offsets[row : row + 2].tolist()
        return self.slots.text_offsets[first : last + 1]


def unused_mark(said: str) -> str:
    """A mark that does not occur in some text, with {} where a place is written: characters for private use (Unicode,
    U+E000 to U+F8FF), which JSON spells as they are.
    """
    number = 0
    while f"\ue000{number}:" in said:
        number += 1
    return f"\ue000{number}:{{}}\ue001"
