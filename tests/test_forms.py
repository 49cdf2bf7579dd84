"""What is written of many records at once is what each of them says alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import RECORDS, TEXT, identified

from didact.build.wording import OPTIONAL, dialogue, messages_column, plain_text, plain_texts, stand_ins, tools_json
from didact.records import Chat, Header, Message, Record, Task, TextPart
from didact.records.columns import Place, to_table
from didact.records.forms import forms_of
from didact.records.table import from_table
from didact.text.eight import first_place
from didact.text.filling import ID, Pattern, escaped, fill
from didact.text.slots import Slots

HEADER = Header(definition=["Say \ue0000:1\ue001 it."]).with_id()
HEADERS = {HEADER.id: HEADER}


def alike(record: Record, texts: list[str], headed: bool) -> Record:
    """A record with the same structure and other texts."""
    number = len(record.texts())
    other = record.with_texts([(texts * number)[place] if texts else "" for place in range(number)])
    other.header = HEADER.id if headed else None
    return identified(other)


FAMILIES = st.builds(
    lambda record, others: [record, *(alike(record, texts, headed) for texts, headed in others)],
    RECORDS,
    st.lists(st.tuples(st.lists(TEXT, max_size=3), st.booleans()), max_size=4),
)
MANY = st.lists(FAMILIES, max_size=4).map(lambda families: [record for family in families for record in family])
"""Records, among which many differ in their texts alone."""


def tabled(records: list[Record]) -> pa.Table:
    """The records as a table; they stay as they are."""
    return to_table([record.model_copy(deep=True) for record in records], [Place("p", 0, 1, 0)] * len(records))


@settings(max_examples=150, deadline=None)
@given(records=MANY)
def test_each_record_is_written_as_it_writes_itself(records: list[Record]) -> None:
    """JSON, messages, plain text and tools of many records at once are what each record gives by itself."""
    forms = forms_of(tabled(records), stand_ins(HEADERS))
    assert forms.canonical().to_pylist() == [record.canonical().decode() for record in records]
    assert [own.hex() for own in forms.content_ids()] == [record.content_id() for record in records]
    assert plain_texts(forms, HEADERS).to_pylist() == [plain_text(record, HEADERS) for record in records]
    assert forms.column(tools_json).to_pylist() == [tools_json(record) for record in records]
    spoken = messages_column(forms, partial(dialogue, headers=HEADERS), tuple(OPTIONAL)).to_pylist()
    said = [[{name: value for name, value in turn.items() if value is not None} for turn in turns] for turns in spoken]
    assert said == [dialogue(record, HEADERS) for record in records]


@settings(max_examples=60, deadline=None)
@given(records=MANY)
def test_a_slice_is_written_like_the_whole(records: list[Record]) -> None:
    """Rows taken from a table, in any order and in several pieces, are written as they are in the table."""
    table = tabled(records)
    half = len(records) // 2
    turned = pa.concat_tables([table.slice(half), table.slice(0, half)])
    assert forms_of(turned).canonical().to_pylist() == [record.canonical().decode() for record in from_table(turned)]


@settings(max_examples=60, deadline=None)
@given(records=MANY)
def test_forms_met_before_change_nothing(records: list[Record]) -> None:
    """Tables one after the other are written the same, whether or not their forms were met in an earlier one."""
    known = stand_ins(HEADERS)
    for table in (tabled(records[::2]), tabled(records), tabled(records[::-1])):
        assert forms_of(table, known).canonical().to_pylist() == forms_of(table).canonical().to_pylist()


def test_records_that_share_their_form_are_worked_out_once() -> None:
    """A thousand tasks that differ in their texts have two forms: with an input, and without."""
    tasks = [Task(definition=f"Do {n}.", input="x" * (n % 2), outputs=["Done."]) for n in range(1000)]
    assert len(forms_of(tabled([identified(task) for task in tasks])).forms) == 2


def test_judged_steps_end_their_lines_whatever_they_say() -> None:
    """An answer judged in steps reads as its own record reads, where steps end with a line end and where not."""
    steps = [["One", "two\n", "three"], ["Four\n", "five", "six"]]
    chats = [
        identified(Chat(messages=[Message(role="assistant", parts=[TextPart(text=text, label=True) for text in said])]))
        for said in steps
    ]
    column = messages_column(forms_of(tabled(chats)), partial(dialogue, headers={}))
    assert [turns[0]["content"] for turns in column.to_pylist()] == ["One\ntwo\nthree", "Four\nfive\nsix"]


def test_an_empty_text_beyond_the_sixtieth_is_still_told_apart() -> None:
    """A record with very many texts is written whole, whichever of them are empty."""
    outputs = [[*["x"] * 80, *[""] * n, *["y"] * (3 - n)] for n in (1, 1, 2)]
    tasks = [identified(Task(outputs=own, input="i")) for own in outputs]
    written = [orjson.loads(text) for text in forms_of(tabled(tasks)).canonical().to_pylist()]
    assert [record["outputs"] for record in written] == outputs


SPELT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text('ab"\\\n\x01é', max_size=40)
"""Texts of which much or nothing is escaped in JSON."""
PATTERNS = st.lists(st.tuples(TEXT, st.none() | st.integers(-1, 2)), max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    patterns=st.lists(PATTERNS, min_size=1, max_size=3),
    texts=st.lists(st.tuples(*[SPELT] * 3), max_size=4),
    in_json=st.booleans(),
)
def test_the_kernel_fills_patterns(
    patterns: list[list[tuple[str, int | None]]], texts: list[tuple[str, str, str]], in_json: bool
) -> None:
    """A filled pattern is its pieces and its record's texts one after the other, spelt by orjson inside JSON."""
    made = [
        Pattern(
            (*_joined_pieces(parts), ""),
            tuple(place for _, place in parts if place is not None),
        )
        for parts in patterns
    ]
    data = b"".join(text.encode() for own in texts for text in own)
    offsets = np.cumsum([0, *(len(text.encode()) for own in texts for text in own)]).astype(np.int32)
    ids = np.arange(16 * len(texts), dtype=np.uint8).reshape(-1, 16)
    slots = Slots(np.frombuffer(data, np.uint8), offsets, 3 * np.arange(len(texts) + 1, dtype=np.int32), ids)
    items = [(which, record) for which in range(len(made)) for record in range(len(texts))]
    which, records = np.array(items, np.int64).reshape(-1, 2).T
    filled = fill(made, which.copy(), records.copy(), slots, in_json=in_json).to_pylist()
    assert filled == [
        _filled(made[which], texts[record], ids[record].tobytes().hex(), in_json) for which, record in items
    ]


def _joined_pieces(parts: list[tuple[str, int | None]]) -> list[str]:
    """The pieces before each place."""
    pieces, held = [], ""
    for piece, place in parts:
        held += piece
        if place is not None:
            pieces.append(held)
            held = ""
    return pieces


def _filled(pattern: Pattern, texts: tuple[str, ...], own: str, in_json: bool) -> str:
    out = pattern.pieces[0]
    for place, piece in zip(pattern.places, pattern.pieces[1:], strict=True):
        text = own if place == ID else texts[place]
        out += (orjson.dumps(text).decode()[1:-1] if in_json else text) + piece
    return out


EIGHT = st.binary(min_size=8, max_size=8) | st.lists(
    st.sampled_from([0, 10, 0x1F, *b' !"#[\\]a', 0x7F, 0x80, 0xA2, 0xDC, 0xFF]), min_size=8, max_size=8
).map(bytes)


@given(EIGHT)
def test_the_first_byte_to_escape_is_found(content: bytes) -> None:
    """Of eight bytes the first is marked that JSON escapes, and none when none is escaped."""
    marked = escaped(np.uint64(int.from_bytes(content, "little")))
    places = [place for place, byte in enumerate(content) if byte < 0x20 or byte in b'"\\']
    assert first_place(np.uint64(marked)) == (places[0] if places else 8)


@pytest.mark.parametrize("byte", range(128))
def test_every_ascii_character_is_spelt_as_in_json(byte: int) -> None:
    """Quotes, backslashes and control codes inside a record's texts are read back by a JSON parser."""
    task = identified(Task(outputs=[f"a{chr(byte)}b"]))
    (written,) = forms_of(tabled([task] * 2)).canonical().unique().to_pylist()
    assert written.encode() == task.canonical()
