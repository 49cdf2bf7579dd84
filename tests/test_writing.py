"""Writing rows: an unchanged record leaves its row alone, a changed one changes it just there, losses are told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from writable_rows import CASES, rows_of

from didact.errors import NoPlace
from didact.formats.json_edit import same_json
from didact.formats.registry import adapters, get
from didact.formats.writing import convert_record, losses, row_pointer, same_content, write_row
from didact.records import Chat, Message, Origin, Record, Task, TextPart

WRITABLE = sorted(name for name, adapter in adapters().items() if adapter.write is not None and name in CASES)


def test_every_format_that_can_write_is_tried() -> None:
    """The laws below are checked for each format with a `write`, not for a list that someone forgot to extend."""
    assert sorted(name for name, adapter in adapters().items() if adapter.write is not None) == WRITABLE


@pytest.mark.parametrize("name", WRITABLE)
@given(data=st.data())
def test_reading_and_writing_gives_the_row(name: str, data: st.DataObject) -> None:
    """Unknown keys, absent, null and empty values, key order and odd spellings survive reading and writing."""
    row, header = data.draw(rows_of(name))
    before = copy.deepcopy(row)
    record = get(name).read(row, header).record
    written = write_row(get(name), record, header, row)
    assert same_json(written, before)
    assert list(written) == list(before)


@pytest.mark.parametrize("name", WRITABLE)
@given(data=st.data())
def test_an_edited_text_reads_back(name: str, data: st.DataObject) -> None:
    """After one text of a record is edited, the row reads as the edited record, and the author's row is untouched."""
    row, header = data.draw(rows_of(name))
    before = copy.deepcopy(row)
    edited = _edited(get(name).read(row, header).record, data)
    if edited is None:
        return
    try:
        written = write_row(get(name), edited, header, row)
    except NoPlace:
        return  # told, not lost: such as a right answer that is no longer among its choices
    assert same_content(get(name).read(written, header).record, edited)
    assert same_json(row, before)
    # A text that joins two fields may move into one of them; a prompt may stand in its row three times.
    assert _changed_leaves(before, written) <= 3


@pytest.mark.parametrize("name", WRITABLE)
@given(data=st.data())
def test_a_row_made_from_the_record_alone_reads_as_it(name: str, data: st.DataObject) -> None:
    """A record without its author's row is written as a row that reads as it, with the keys its author added; those
    that stood where the new row has no place are told.
    """
    row, header = data.draw(rows_of(name))
    record = get(name).read(row, header).record
    written = write_row(get(name), record, header)
    again = get(name).read(written, header).record
    assert same_content(again, record)
    told = {loss.pointer for loss in losses(get(name), record, written, header, header)}
    assert record.origin is not None and again.origin is not None
    for key, value in record.origin.extra.items():
        assert again.origin.extra.get(key, ...) == value or row_pointer(key) in told
    assert not told or any("/" in key for key in record.origin.extra)


def _edited(record: Record, data: st.DataObject) -> Record | None:
    """The record with one of its texts changed; an empty one may stand for a field that the format does not have."""
    texts = [text.text for text in record.texts()]
    filled = [place for place, text in enumerate(texts) if text]
    if not filled:
        return None
    place = data.draw(st.sampled_from(filled))
    return record.with_texts([*texts[:place], f"{texts[place]} edited", *texts[place + 1 :]])


def _changed_leaves(before: Any, after: Any) -> int:
    """How many scalar values differ between two rows."""
    if isinstance(before, dict) and isinstance(after, dict):
        return sum(_changed_leaves(before.get(key), after.get(key)) for key in before.keys() | after.keys())
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return sum(map(_changed_leaves, before, after))
    return int(not same_json(before, after))


def _conversation(*texts: str) -> Chat:
    roles = ("user", "assistant")
    return Chat(
        messages=[
            Message.model_validate({"role": roles[i % 2], "parts": [TextPart(text=text)]})
            for i, text in enumerate(texts)
        ]
    )


def test_a_conversation_becomes_history() -> None:
    """Earlier turns become alpaca's history; nothing is lost."""
    chat = _conversation("a", "b", "c", "d")
    row = write_row(get("alpaca"), chat)
    assert row["history"] == [["a", "b"]]
    assert losses(get("alpaca"), chat, row, None, None) == []


def test_what_has_no_place_is_named() -> None:
    """A second accepted output cannot be written as dolly; the refusal names its pointer."""
    task = Task(definition="Say one.", outputs=["1", "one"])
    with pytest.raises(NoPlace) as refusal:
        write_row(get("dolly"), task)
    assert refusal.value.pointer == "/outputs/1"


def test_joined_texts_are_a_loss() -> None:
    """Instruction and input joined into one prompt cannot be told apart again, and that is said."""
    task = Task(definition="Sort.", input="3 1 2", outputs=["1 2 3"])
    row = write_row(get("prompt_completion"), task)
    assert row == {"prompt": "Sort.\n\n3 1 2", "completion": "1 2 3"}
    assert {loss.pointer for loss in losses(get("prompt_completion"), task, row, None, None)} == {
        "/definition",
        "/input",
    }


def test_a_key_that_would_change_the_record_is_left_out_and_told() -> None:
    """An author's key that the new format takes for a field of its own does not get into the record."""
    task = Task(
        definition="Say one.", outputs=["1"], origin=Origin(format="dolly", extra={"system": "Be kind.", "n": 1})
    )
    row, lost = convert_record(get("alpaca"), task, None, None, None)
    assert row == {"instruction": "Say one.", "input": "", "output": "1", "n": 1}
    assert [loss.pointer for loss in lost] == ["/system"]
