"""Records taken from several tables in a wanted order are those records, with their texts and their ids."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.text.slots import Room, Slots, Taken

RECORD = st.tuples(st.binary(min_size=16, max_size=16), st.lists(st.text(max_size=20), max_size=3))
RECORDS = st.lists(RECORD, min_size=1, max_size=4)


def slots_with(records: list[tuple[bytes, list[str]]]) -> Slots:
    """Slots that hold records of an id and texts."""
    texts = [text.encode() for _, own in records for text in own]
    return Slots(
        np.frombuffer(b"".join(texts), np.uint8),
        np.cumsum([0, *map(len, texts)]).astype(np.int32),
        np.cumsum([0, *(len(own) for _, own in records)]).astype(np.int32),
        np.frombuffer(b"".join(one for one, _ in records), np.uint8).reshape(-1, 16),
    )


def records_in(slots: Slots) -> list[tuple[bytes, list[str]]]:
    """The records that slots hold."""
    bounds = slots.text_offsets.tolist()
    texts = [slots.data[start:end].tobytes().decode() for start, end in pairwise(bounds)]
    ends = slots.record_offsets.tolist()
    return [(one.tobytes(), texts[start:end]) for one, (start, end) in zip(slots.ids, pairwise(ends), strict=True)]


@given(tables=st.lists(RECORDS, min_size=1, max_size=3), data=st.data())
def test_records_are_gathered_from_their_tables(
    tables: list[list[tuple[bytes, list[str]]]], data: st.DataObject
) -> None:
    """Every record stands in its place, also one that is taken twice or not at all."""
    all_of = [(table, row) for table, records in enumerate(tables) for row in range(len(records))]
    wanted = data.draw(st.lists(st.sampled_from(all_of), max_size=8))
    places = [[place for place, (table, _) in enumerate(wanted) if table == number] for number in range(len(tables))]
    parts = [
        Taken(slots_with(records), np.array([wanted[place][1] for place in own], np.int64), np.array(own, np.int64))
        for records, own in zip(tables, places, strict=True)
    ]
    room = Room.of(parts, len(wanted))
    for part in parts:
        room.put(part)
    assert records_in(room.slots()) == [tables[table][row] for table, row in wanted]


def test_more_text_than_a_column_holds_is_refused() -> None:
    """Texts that 32-bit offsets cannot tell apart are an error, never other texts."""
    vast = Slots(
        np.zeros(0, np.uint8), np.array([0, 2**30], np.int32), np.array([0, 1], np.int32), np.zeros((1, 16), np.uint8)
    )
    with pytest.raises(pa.ArrowInvalid, match="2 records have 2147483648 bytes of text"):
        Room.of([Taken(vast, np.zeros(2, np.int64), np.arange(2))], 2)
