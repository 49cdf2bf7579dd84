"""Files that nest rows: what is said once stands in every row, and goes back to where it stood."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import TEXT

from didact.errors import RowError
from didact.formats.json_edit import same_json
from didact.formats.registry import Adapter, adapters, get
from didact.formats.writing import write_row
from didact.records import QA, Task
from didact.records.findings import Finding
from didact.sources.read import read

ANSWER = st.fixed_dictionaries({"text": TEXT, "answer_start": st.integers(0, 9)})
QUESTION = st.fixed_dictionaries(
    {"question": TEXT, "answers": st.lists(ANSWER, max_size=2)},
    optional={"id": TEXT, "is_impossible": st.booleans(), "plausible_answers": st.lists(ANSWER, max_size=1)},
)
PARAGRAPH = st.fixed_dictionaries(
    {"context": TEXT, "qas": st.lists(QUESTION, max_size=3)}, optional={"id": TEXT, "title": TEXT}
)
ARTICLE = st.fixed_dictionaries(
    {"paragraphs": st.lists(PARAGRAPH, max_size=3)}, optional={"title": TEXT, "extra": TEXT}
)
INSTANCE = st.fixed_dictionaries({"input": TEXT, "output": TEXT}, optional={"note": TEXT})
SEED_TASK = st.fixed_dictionaries(
    {"instruction": TEXT, "instances": st.lists(INSTANCE, min_size=1, max_size=3)},
    optional={"id": TEXT, "name": TEXT, "is_classification": st.booleans()},
)
ELEMENTS = {"squad": ARTICLE, "squad_articles": ARTICLE | PARAGRAPH, "self_instruct": SEED_TASK}


def test_every_nested_format_is_tried() -> None:
    """The laws below are checked for each format that nests."""
    assert sorted(name for name, adapter in adapters().items() if adapter.unfold is not None) == sorted(ELEMENTS)


def rows_of(adapter: Adapter, element: Any) -> list[tuple[str, Any]]:
    """The rows inside an element."""
    assert adapter.unfold is not None
    return adapter.unfold(element)


def folded(adapter: Adapter, element: Any, rows: list[tuple[str, Any]]) -> list[Any]:
    """The element with other rows."""
    assert adapter.fold is not None
    return adapter.fold(element, rows)


@pytest.mark.parametrize("name", ELEMENTS)
@given(data=st.data())
def test_unchanged_rows_leave_their_element(name: str, data: st.DataObject) -> None:
    """Taking an element apart, reading and writing its rows, and putting it together gives the element."""
    element = data.draw(ELEMENTS[name])
    adapter, before = get(name), copy.deepcopy(element)
    rows = [
        (place, write_row(adapter, adapter.read(row, None).record, None, row))
        for place, row in rows_of(adapter, element)
    ]
    assert same_json(folded(adapter, element, rows), [before])
    assert same_json(element, before)


@pytest.mark.parametrize("name", ELEMENTS)
@given(data=st.data())
def test_an_edited_row_changes_no_other(name: str, data: st.DataObject) -> None:
    """After one row is edited, the new elements hold that row as edited and every other row as it was, in order."""
    element = data.draw(ELEMENTS[name])
    adapter = get(name)
    rows = rows_of(adapter, element)
    if not rows:
        return
    place = data.draw(st.integers(0, len(rows) - 1))
    record = adapter.read(rows[place][1], None).record
    texts = [text.text for text in record.texts()]
    which = data.draw(st.integers(0, len(texts) - 1))
    edited = record.with_texts([*texts[:which], texts[which] + "!", *texts[which + 1 :]])
    new = [row for _, row in rows]
    new[place] = write_row(adapter, edited, None, new[place])
    pairs = [(pointer, row) for (pointer, _), row in zip(rows, new, strict=True)]
    again = [row for one in folded(adapter, element, pairs) for _, row in rows_of(adapter, one)]
    assert same_json(again, new)


def test_new_rows_share_what_they_say_once() -> None:
    """Neighbouring questions on one passage are written into one paragraph, and each instance into its task."""
    row = {"title": "T", "context": "It is red.", "question": "Colour?", "answers": []}
    gather = get("squad").gather
    assert gather is not None
    articles = gather([row, row | {"question": "Is it?"}, row | {"context": "Else."}])
    assert [[len(paragraph["qas"]) for paragraph in article["paragraphs"]] for article in articles] == [[2, 1]]
    gather = get("self_instruct").gather
    assert gather is not None
    tasks = gather([{"instruction": "Sort.", "input": "2 1", "output": "1 2"}] * 2)
    assert [len(task["instances"]) for task in tasks] == [2]


def test_questions_are_counted_and_located_inside_their_article(tmp_path: Path) -> None:
    """A file's records are its questions; what is wrong with one is told with its place in the article."""
    good = {"id": "q1", "question": "Colour?", "answers": [{"text": "red", "answer_start": 6}]}
    bad = {"id": "q2", "answers": []}
    paragraph = {"context": "It is red.", "qas": [good, bad]}
    file = tmp_path / "squad.json"
    file.write_bytes(orjson.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": [paragraph]}]}))
    findings: list[Finding] = []
    records = list(read(file, findings=findings))
    assert [type(record) for record in records] == [QA]
    assert records[0].origin is not None
    assert records[0].origin.key == "q1"
    assert [(finding.code, finding.pointer) for finding in findings] == [("SC001", "/paragraphs/0/qas/1/question")]


def test_an_unanswerable_question_is_no_fault() -> None:
    """An empty list of answers says that the passage does not answer; the plausible ones are kept, not trained on."""
    row = {"context": "It is red.", "question": "Size?", "answers": [], "plausible_answers": [{"text": "red"}]}
    record = get("squad").read(row, None).record
    assert isinstance(record, QA)
    assert (record.answers, record.answerable) == ([], False)
    assert record.origin is not None
    assert record.origin.extra == {"plausible_answers": [{"text": "red"}]}


def test_a_seed_task_is_one_record_per_instance() -> None:
    """Instances share instruction and name; a task without one is told."""
    element = {"id": "s1", "name": "sort", "instruction": "Sort.", "instances": [{"input": "2 1", "output": "1 2"}] * 2}
    adapter = get("self_instruct")
    records = [adapter.read(row, None).record for _, row in rows_of(adapter, element)]
    assert [(r.definition, r.input, r.task) for r in records if isinstance(r, Task)] == [("Sort.", "2 1", "sort")] * 2
    with pytest.raises(RowError, match="TK001"):
        rows_of(adapter, element | {"instances": []})
