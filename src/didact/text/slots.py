"""Texts and ids of records over Arrow buffers, as kernels read them; taken from several tables in a wanted order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.text.compiled import inlined, kernel
from didact.text.views import all_read_only


class Slots(NamedTuple):
    """What patterns of n records are filled with: their texts and their ids.

    data, text_offsets: UTF-8 of all texts and their bounds.  record_offsets: (n + 1,), which texts are a record's.
    ids: (n, 16) bytes.
    """

    data: NDArray[np.uint8]
    text_offsets: NDArray[np.int32]
    record_offsets: NDArray[np.int32]
    ids: NDArray[np.uint8]


class Taken(NamedTuple):
    """Some records of one table and where they go: record `rows[j]` becomes record `places[j]`."""

    slots: Slots
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Room:
    """Room for records of several tables, which are put in one table after the other; each byte is copied once.

    starts, at: the first text of each record, and the byte where it begins.
    """

    starts: NDArray[np.int64]
    at: NDArray[np.int64]
    data: NDArray[np.uint8]
    text_offsets: NDArray[np.int32]
    ids: NDArray[np.uint8]

    @classmethod
    def of(cls, parts: Sequence[Taken], count: int) -> Self:
        """Room for `count` records, of each of whose places one part has the record.

        Raises pyarrow.ArrowInvalid when their texts are more than 2 GiB.
        """
        numbers, sizes = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
        for slots, rows, places in parts:
            first, last = slots.record_offsets[rows], slots.record_offsets[rows + 1]
            numbers[places + 1] = last - first
            sizes[places + 1] = slots.text_offsets[last] - slots.text_offsets[first]
        starts, at = np.cumsum(numbers), np.cumsum(sizes)
        if at[-1] > np.iinfo(np.int32).max:
            raise pa.ArrowInvalid(f"{count} records have {at[-1]} bytes of text, more than a column holds")
        data = np.frombuffer(pa.allocate_buffer(int(at[-1])), np.uint8)
        return cls(starts, at, data, np.zeros(int(starts[-1]) + 1, np.int32), np.empty((count, 16), np.uint8))

    def put(self, part: Taken) -> None:
        """Copy the records of a part to their places."""
        slots, rows, places = part
        own = slots.data, slots.text_offsets, slots.record_offsets
        _take(*own, rows, places, self.starts, self.at, self.text_offsets, self.data)
        self.ids[places] = slots.ids[rows]

    def slots(self) -> Slots:
        """The records, when all parts are put in."""
        return all_read_only(Slots(self.data, self.text_offsets, self.starts.astype(np.int32), self.ids))


@kernel
def _take(data, text_offsets, record_offsets, rows, places, starts, bytes_at, offsets, out):  # type: ignore[no-untyped-def]
    """Copy the texts of records `rows` to where those of records `places` stand; offsets[0] is 0 already."""
    for j in range(len(rows)):
        first, last = record_offsets[rows[j]], record_offsets[rows[j] + 1]
        at = bytes_at[places[j]]
        moved, text = at - text_offsets[first], starts[places[j]]
        for t in range(first + 1, last + 1):
            text += 1
            offsets[text] = text_offsets[t] + moved
        copied(data, text_offsets[first], text_offsets[last], out, at)


@inlined
def copied(data, start, end, out, at):  # type: ignore[no-untyped-def]
    """Copy bytes to `at`; where the next ones go."""
    source, target = np.uint64(start), np.uint64(at)
    for k in range(np.uint64(end - start)):
        out[target + k] = data[source + k]
    return at + (end - start)
