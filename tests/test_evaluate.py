"""Evaluation asks the right prompts, scores them, and reports honest baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tokenizer import small_tokenizer

from didact.errors import EmptySplit, UnknownName
from didact.evaluate.baselines import NearestPrompt, constant_answer, features
from didact.evaluate.items import Item, item_from_record, items_from_split, limited
from didact.evaluate.tasks import answer_items, score_item, score_tasks
from didact.records import QA, Answer, Chat, Choice, PlainText, Record, Task
from didact.render.renderer import render_prompt


def item(question: str, *references: str, task: str = "sums", choices: int = 0) -> Item:
    """A question with its accepted answers."""
    return Item(task, question, ({"role": "user", "content": question},), references, choices)


class Echo:
    """A generator that answers with the question, or with the ids it is given; it keeps what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []

    def generate(self, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        """The text of the user's turn."""
        self.batches.append(prompts)
        tokenizer = small_tokenizer()
        return [tokenizer.encode(tokenizer.decode(prompt))[:max_tokens] for prompt in prompts]


def test_answers_come_back_in_order() -> None:
    """Prompts are asked as rendered, similar lengths together, and each answer returns to its item."""
    items = [item("abc" * n) for n in (5, 1, 4, 2, 3)]
    echo = Echo()
    answers = answer_items(items, echo, small_tokenizer(), 100, batch=2)
    assert answers == [one.question for one in items]
    asked = [prompt for batch in echo.batches for prompt in batch]
    assert [len(batch) for batch in echo.batches] == [2, 2, 1]
    assert sorted(asked) == sorted(render_prompt(one.prompt, small_tokenizer()) for one in items)
    assert [len(prompt) for prompt in asked] == sorted(len(prompt) for prompt in asked)


def test_prompts_without_room_are_counted() -> None:
    """A prompt that fills the context is not asked; it scores 0 and is counted."""
    items = [item("2"), item("2" * 50)]
    answers = answer_items(items, Echo(), small_tokenizer(), 10, context=20)
    assert answers == ["2", None]
    [result] = score_tasks(items, answers, "exact_match")
    assert result.over_long == 1 and result.score.mean == 0.0


def test_tasks_are_scored_apart() -> None:
    """Each task has its own mean, interval, size and answers; baselines need training items."""
    items = [item("a", "x", task="one"), item("b", "y", "z", task="two"), item("c", "w", task="two")]
    results = score_tasks(items, ["x", "z", "no"], "exact_match")
    assert [(result.task, result.score.mean, result.score.n) for result in results] == [
        ("one", 1.0, 1),
        ("two", 0.5, 2),
    ]
    assert results[0].chance is None and results[0].neighbour is None
    assert results[1].to_json(samples=1)["answers"][0]["answer"] == "z"
    with pytest.raises(UnknownName, match="metric"):
        score_tasks(items, ["x", "z", "no"], "accuracy")


def test_baselines_are_scores_on_the_same_items() -> None:
    """The constant answer is training's most frequent; the neighbour copies the answer of the most similar prompt."""
    training = [
        item("add 1 and 2", "3"),
        item("add 4 and 4", "8"),
        item("add 6 and 2", "8"),
        item("say hi", "hi", task="talk"),
    ]
    items = [item("add 1 and 2 now", "3"), item("add 5 and 3", "8"), item("say hi", "ho")]
    [result] = score_tasks(items, ["", "", ""], "exact_match", training)
    assert result.chance == pytest.approx(1 / 3)
    assert result.neighbour == pytest.approx(2 / 3)


def test_chance_among_choices() -> None:
    """Where every item has choices, chance is at least a blind pick."""
    [result] = score_tasks([item("a", "x", choices=4), item("b", "y", choices=2)], ["", ""], "exact_match")
    assert result.chance == pytest.approx((1 / 4 + 1 / 2) / 2)


@given(st.lists(st.text("ab 1", max_size=8), min_size=1, max_size=8), st.text("ab 1", max_size=8))
def test_the_nearest_prompt_by_brute_force(prompts: list[str], wanted: str) -> None:
    """The index finds the first of the most similar prompts, as comparing all pairs does."""
    similarity = [
        len(features(prompt) & features(wanted)) / max(1, len(features(prompt) | features(wanted)))
        for prompt in prompts
    ]
    best = max(similarity)
    assert NearestPrompt(prompts).nearest(wanted) == (similarity.index(best) if best > 0 else None)


def test_the_constant_answer() -> None:
    """Frequency decides, then order; nothing gives the empty answer."""
    assert constant_answer(["b", "a", "b"]) == "b"
    assert constant_answer([]) == ""


RECORDS: list[tuple[Record, tuple[str, ...], int, bool]] = [
    (Task(input="2 1", outputs=["1 2", "one two"], choices=["1 2", "2 1", "1"]), ("1 2", "one two"), 3, False),
    (QA(question="q", answers=[Answer(text="so 1\n#### 1")], final_answer="1"), ("1",), 0, True),
    (QA(question="q", answers=[Answer(text="A")], choices=[Choice(label="A", text="x")]), ("A",), 1, False),
    (QA(question="q", answers=[Answer(text="A")], rationale="since"), ("since\nA",), 0, False),
]


@pytest.mark.parametrize(("record", "references", "choices", "worked"), RECORDS)
def test_records_say_what_is_right(record: Record, references: tuple[str, ...], choices: int, worked: bool) -> None:
    """All accepted answers of a record count, and its prompt ends before the answer."""
    found = item_from_record(record, "named")
    assert found is not None
    assert (found.task, found.references, found.choices, found.worked) == ("named", references, choices, worked)
    assert [message["role"] for message in found.prompt] == ["user"]


def test_records_without_answers_are_no_items() -> None:
    """Plain text and unanswered questions cannot be scored."""
    assert item_from_record(PlainText(text="x"), "t") is None
    assert item_from_record(QA(question="q", answerable=False), "t") is None


def test_worked_answers_are_compared_by_their_end() -> None:
    """A worked answer is right when its final answer is, however either is spelt."""
    found = Item("t", "i", ({"role": "user", "content": "q"},), ("1,200",), worked=True)
    assert score_item(found, "3 times 400 is 1200.", "exact_match") == 1.0
    assert score_item(found, "3 times 400", "exact_match") == 0.0


def write_version(folder: Path, records: list[Record]) -> None:
    """A finetune mix's test split with the columns an evaluation reads."""
    turns = [[dict(turn) | {"weight": None} for turn in record.dialogue()] for record in records]
    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.float32())])
    columns: dict[str, Any] = {
        "id": [f"{n:032x}" for n in range(len(records))],
        "source": ["file"] * len(records),
        "task": [record.task for record in records],
        "messages": pa.array(turns, pa.list_(message)),
        "record": [record.canonical().decode() for record in records],
    }
    (folder / "data" / "finetune").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "data" / "finetune" / "test-00000-of-00001.parquet")


def test_a_split_gives_its_items(tmp_path: Path) -> None:
    """Items are named after the record's task, else its source; their prompts are the split's messages."""
    chat = Chat.model_validate(
        {
            "messages": [
                {"role": "user", "parts": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "parts": [{"type": "text", "text": "ho"}]},
            ]
        }
    )
    write_version(tmp_path, [Task(input="2 1", outputs=["1 2"], task="sort"), chat, PlainText(text="x")])
    items = items_from_split(tmp_path, "finetune", "test")
    assert [(one.task, one.question, one.references) for one in items] == [
        ("sort", "2 1", ("1 2",)),
        ("file", "hi", ("ho",)),
    ]
    assert dict(items[1].prompt[0]) == {"role": "user", "content": "hi"}
    with pytest.raises(EmptySplit, match="split 'validation'"):
        items_from_split(tmp_path, "finetune", "validation")


@given(st.integers(0, 6), st.integers(0, 3))
def test_a_limit_takes_the_same_items(limit: int, seed: int) -> None:
    """At most so many items of each task are taken, the same in any order, and fewer are a part of more."""
    items = [item(f"{task}{n}", task=task) for n in range(5) for task in ("a", "b")]
    kept = limited(items, limit, seed)
    assert [sum(one.task == task for one in kept) for task in ("a", "b")] == [min(limit, 5)] * 2
    assert set(kept_ids := [one.id for one in kept]) == {one.id for one in limited(items[::-1], limit, seed)}
    assert set(kept_ids) <= {one.id for one in limited(items, limit + 1, seed)}
    assert limited(items, None, seed) == items
