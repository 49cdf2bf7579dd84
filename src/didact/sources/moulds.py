"""Rows that differ only in what their texts say become records that do too: one of them is read for all.

Which texts an adapter puts into the record without looking at them, it says itself (`Adapter.moves`). That they do
arrive there, each at one place and nowhere else, is seen from the record of a row whose texts are marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from didact.canonical import canonical_json
from didact.records.base import ROLES
from didact.records.checks import always_checked
from didact.records.columns import Mould, in_turn, mould_of
from didact.records.doubts import EMPTY
from didact.records.forms import unused_mark
from didact.records.screening import doubts_about
from didact.sources.row_reader import RowReader
from didact.text.filling import Pattern, fill
from didact.text.slots import Slots
from didact.text.views import all_read_only


class Alike(NamedTuple):
    """What all records of some rows are, but for what their texts say."""

    mould: Mould
    texts: tuple[Pattern, ...]
    """Each text of the record: one of the row's, or what it says in all these records."""
    content: Pattern
    """What the record's id is a hash of, see `Common.content`."""


def alike(row: dict[str, Any], moved: Sequence[str], reader: RowReader) -> Alike | None:
    """What rows like this one become, seen from the record of one whose texts, under the keys `moved`, are marks.

    None where not each mark arrives at one place, or where the record is looked at whatever its texts say.
    """
    try:
        mark = unused_mark(reader.beside + orjson.dumps(row).decode())
    except orjson.JSONEncodeError:
        return None
    marks = [mark.format(at) if row[key] else "" for at, key in enumerate(moved)]
    record = reader.named_alone(row | dict(zip(moved, marks, strict=True)))
    if record is None or always_checked(record):
        return None
    own = record.texts()
    if any(doubt & EMPTY for doubt in doubts_about([one.text for one in own], [one.role for one in own], [len(own)])):
        return None
    found = re.compile(mark.format(r"(\d+)"))
    places = [int(match[1]) if (match := found.fullmatch(one.text)) else None for one in own]
    if sorted(place for place in places if place is not None) != [at for at, given in enumerate(marks) if given]:
        return None
    content = record.content(own)
    record.assign(source=reader.block.source)
    mould = mould_of(record, own)
    said = [one.text for one, place in zip(own, places, strict=True) if place is None]
    elsewhere = (mould.skeleton.decode(), *filter(None, mould.stated), *said, canonical_json(content[2:]).decode())
    if any(map(found.search, elsewhere)):
        return None
    texts = [Pattern.cut(one.text, found) for one in own]
    return Alike(mould, tuple(texts), Pattern.cut(canonical_json(content).decode(), found))


@dataclass(frozen=True)
class CastRows:
    """Rows of a block that are cast: for each its place in the block, which of `kinds` it is, and its texts.

    places: ascending.  slots: the texts that are moved; there are no ids yet.
    """

    places: NDArray[np.int64]
    kinds: Sequence[Alike]
    which: NDArray[np.int64]
    slots: Slots

    @cached_property
    def _in_turn(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Of each text of the records its number among the texts of all kinds; and where those of a record begin."""
        return in_turn([len(kind.texts) for kind in self.kinds], self.which)

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Where the texts of each record begin, (records + 1,)."""
        return self._in_turn[1].astype(np.int64)

    def texts(self) -> pa.StringArray:
        """All texts of the records, one record after the other."""
        patterns = [text for kind in self.kinds for text in kind.texts]
        which, offsets = self._in_turn
        return fill(patterns, which, np.repeat(np.arange(len(self.which)), np.diff(offsets)), self.slots)

    def roles(self) -> NDArray[np.int8]:
        """The role of each of those texts, by its place in `ROLES`."""
        roles = [ROLES.index(role) for kind in self.kinds for role in kind.mould.roles]
        return np.array(roles, np.int8)[self._in_turn[0]]

    def identities(self) -> list[bytes]:
        """The id of every record."""
        patterns = [kind.content for kind in self.kinds]
        contents = fill(patterns, self.which, np.arange(len(self.which)), self.slots, in_json=True)
        return [xxhash.xxh3_128_digest(content) for content in contents.cast(pa.binary()).to_pylist()]


def slots(data: NDArray[np.uint8], text_offsets: NDArray[np.int32], record_offsets: NDArray[np.int32]) -> Slots:
    """Texts to be moved, as kernels take them; there are no ids yet."""
    return all_read_only(Slots(data, text_offsets, record_offsets, np.zeros((0, 16), np.uint8)))
