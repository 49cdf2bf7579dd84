"""Records: texts out and in, identity, canonical form, the table."""

from __future__ import annotations

import jsonschema
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from strategies import RECORDS, TEXT

from didact.records import KINDS, AnyRecord, Header, Message, Origin, PlainText, Record, Task, TextPart
from didact.records.columns import Place, to_table
from didact.records.table import from_table, texts_column, with_texts_column


@given(RECORDS, st.data())
def test_texts_out_texts_in(record: Record, data: st.DataObject) -> None:
    """Every kind hands out its texts in order and takes the same number back, and nothing else changes."""
    texts = record.texts()
    renewed = [data.draw(TEXT) for _ in texts]
    copy = record.with_texts(renewed)
    assert [text.text for text in copy.texts()] == renewed
    assert [text[:2] for text in copy.texts()] == [text[:2] for text in texts]
    assert copy.with_texts([text.text for text in texts]) == record


@given(RECORDS)
def test_wrong_number_of_texts_is_refused(record: Record) -> None:
    """A record never takes another number of texts than it gave."""
    with pytest.raises(ValueError, match="texts, got"):
        record.with_texts(["x"] * (len(record.texts()) + 1))


@given(RECORDS)
def test_canonical_json_is_the_record(record: Record) -> None:
    """The canonical JSON of a record reads back as an equal record and spells the same bytes again."""
    again = AnyRecord.validate_json(record.canonical())
    assert again == record
    assert again.canonical() == record.canonical()


def same(one: BaseModel, other: BaseModel) -> bool:
    """Whether two models are alike in every way that pydantic looks at, the order of their fields included."""
    return (
        one == other
        and list(vars(one)) == list(vars(other))
        and one.model_fields_set == other.model_fields_set
        and one.model_dump_json(exclude_unset=True) == other.model_dump_json(exclude_unset=True)
    )


@given(RECORDS)
def test_a_record_made_of_valid_values_is_the_validated_one(record: Record) -> None:
    """What is made without validation is what validation makes, and holds no list that another one holds."""
    given_ = {name: getattr(record, name) for name in record.model_fields_set}
    made, again = type(record).made(**given_), type(record).made(**given_)
    assert same(made, type(record)(**given_))
    assert "tags" in given_ or made.tags is not again.tags


@given(TEXT)
def test_a_bare_origin_names_the_format_alone(name: str) -> None:
    """It is the validated one of no other value, and each has lists of its own."""
    bare = Origin.bare(name)
    assert same(bare, Origin(format=name))
    assert bare.extra is not Origin.bare(name).extra


@given(RECORDS)
def test_published_schema_accepts_every_record(record: Record) -> None:
    """A JSON Schema validator that knows nothing of pydantic accepts what the models accept."""
    schema = KINDS[record.kind].model_json_schema()
    jsonschema.Draft202012Validator(schema).validate(orjson.loads(record.canonical()))


@given(RECORDS, TEXT)
def test_id_is_content_not_metadata(record: Record, note: str) -> None:
    """Metadata does not change a record's id; a changed text does."""
    other = record.model_copy(deep=True, update={"source": "elsewhere", "license": "MIT", "tags": [note], "group": "g"})
    assert other.content_id() == record.content_id()
    texts = [text.text for text in record.texts()]
    if texts:
        assert record.with_texts([texts[0] + "!", *texts[1:]]).content_id() != record.content_id()


@given(st.lists(RECORDS, max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_table_gives_the_records_back(records: list[Record], start: int, length: int) -> None:
    """A table of records, whole, sliced or joined, gives equal records back."""
    expected = [record.model_copy(deep=True) for record in records]
    places = [Place(f"f{i % 2}.jsonl", i, i + 1, 10 * i) for i in range(len(records))]
    table = to_table(records, places)
    assert list(from_table(table)) == expected
    assert list(from_table(table.slice(start, length))) == expected[start : start + length]
    assert (
        list(from_table(pa.concat_tables([table.slice(start), table.slice(0, start)])))
        == expected[start:] + expected[:start]
    )


@given(RECORDS, RECORDS)
def test_a_field_is_never_taken_from_another_record(record: Record, other: Record) -> None:
    """Records with the same texts that differ in any single field are told apart by the table."""
    origin = Origin(format="alpaca", absent=["input"], null=["output"])
    metadata = {"source": "s", "license": "MIT", "tags": ["t"], "header": "0" * 32, "origin": origin}
    metadata |= {"group": "g", "task": "t", "language": "zh", "split": "test"}
    own = {name: getattr(other, name) for name in type(record).model_fields if type(other) is type(record)}
    own |= {"answerable": False, "final_answer": "4"} if record.kind == "qa" else {}
    changed = [record.model_copy(deep=True, update={name: value}) for name, value in (metadata | own).items()]
    origins: list[dict[str, object]] = [
        {"key": "k"},
        {"extra": {"a": 1}},
        {"spelt": {"input": 1}},
        {"absent": []},
        {"null": ["input"]},
    ]
    changed += [record.model_copy(update={"origin": origin.model_copy(update=part)}) for part in origins]
    records = [record, *changed, record]
    table = to_table([one.model_copy(deep=True) for one in records], [Place("f", 0, 1, 0)] * len(records))
    assert list(from_table(table)) == records


@given(st.lists(RECORDS, min_size=1, max_size=4), st.integers(0, 3))
def test_texts_column_is_the_texts(records: list[Record], start: int) -> None:
    """The texts column of a table, or of a slice, is the records' texts in order, and other texts can take its
    place.
    """
    texts = [text.text for record in records[start:] for text in record.texts()]
    table = to_table(
        [record.model_copy(deep=True) for record in records], [Place("f", i, i, i) for i in range(len(records))]
    ).slice(start)
    segments = table["segments"].combine_chunks()
    assert texts_column(segments).to_pylist() == texts
    renewed = with_texts_column(segments, texts_column(segments))
    assert renewed.to_pylist() == segments.to_pylist()


def test_dialogue_of_a_task_shows_its_shared_definition() -> None:
    """A task whose definition stands in the file's header is rendered with it."""
    header = Header(definition=["Sort the digits."]).with_id()
    record = Task(input="3 1 2", outputs=["1 2 3"], header=header.id)
    assert record.dialogue(header) == [
        {"role": "user", "content": "Sort the digits.\n\n3 1 2"},
        {"role": "assistant", "content": "1 2 3"},
    ]


def test_reasoning_is_rendered_in_think_tags_and_developer_as_system() -> None:
    """A message's turn has one content string, whatever its parts."""
    message = Message.model_validate(
        {"role": "assistant", "parts": [{"type": "reasoning", "text": "6*7"}, {"type": "text", "text": "42"}]}
    )
    assert message.turn() == {"role": "assistant", "content": "<think>\n6*7\n</think>\n\n42"}
    assert Message(role="developer", parts=[TextPart(text="Be brief.")]).turn()["role"] == "system"


def test_plain_text_is_no_dialogue() -> None:
    """Plain text has no turns."""
    assert PlainText(text="It was a dark night.").dialogue() == []
