"""Every variant of a format that is in use is recognised from one row, and nothing is a tie."""

from __future__ import annotations

from typing import Any

import pytest

from didact.formats.detect import detect
from didact.formats.json_edit import same_json
from didact.formats.registry import adapters, get
from didact.formats.writing import same_content, write_row
from didact.records import QA, Task
from didact.records.checks import check

ROWS: list[tuple[str, str, dict[str, Any]]] = [
    ("mmlu", "qa", {"question": "2+2?", "subject": "maths", "choices": ["3", "4"], "answer": 1}),
    (
        "arc",
        "qa",
        {"id": "M1", "question": "Why?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"},
    ),
    (
        "hellaswag",
        "qa",
        {
            "ind": 1,
            "activity_label": "Cooking",
            "ctx_a": "A man",
            "ctx_b": "he",
            "ctx": "A man he",
            "endings": ["cooks.", "sits."],
            "label": "1",
            "split": "train",
        },
    ),
    ("lettered", "qa", {"question": "2+2?", "A": "3", "B": "4", "answer": "B"}),
    ("cmmlu", "qa", {"": "0", "Question": "2+2?", "A": "3", "B": "4", "C": "5", "D": "6", "Answer": "B"}),
    ("race", "qa", {"article": "Long.", "question": "Who?", "options": ["a", "b"], "answer": "B", "example_id": "h1"}),
    (
        "commonsenseqa",
        "qa",
        {
            "answerKey": "B",
            "id": "c",
            "question": {
                "question_concept": "x",
                "stem": "Why?",
                "choices": [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}],
            },
        },
    ),
    (
        "openbookqa",
        "qa",
        {"question_stem": "Why?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"},
    ),
    ("aqua", "qa", {"question": "2+2?", "options": ["A)3", "B)4"], "rationale": "Count.", "correct": "B"}),
    (
        "squad flat",
        "qa",
        {
            "id": "1",
            "title": "T",
            "context": "It is red.",
            "question": "Colour?",
            "answers": {"text": ["red"], "answer_start": [6]},
        },
    ),
    ("svamp", "qa", {"ID": "c1", "Body": "Two dolls.", "Question": "How many?", "Equation": "2", "Answer": 2.0}),
    ("gsm8k", "gsm8k", {"question": "2+2?", "answer": "It is 4.\n#### 4"}),
    ("gsm8k socratic", "gsm8k", {"question": "2+2?", "answer": "How many? ** It is 4.\n#### 4"}),
    (
        "flan",
        "prompt_completion",
        {"inputs": "2+2?", "targets": "4", "task_source": "CoT", "task_name": "cot_gsm8k", "template_type": "zs_noopt"},
    ),
    (
        "p3",
        "prompt_completion",
        {
            "inputs": [1, 2],
            "inputs_pretokenized": "2+2?",
            "targets": [3],
            "targets_pretokenized": "4",
            "answer_choices": ["4", "5"],
        },
    ),
    ("t0", "prompt_completion", {"prompt": "2+2?", "completion": "4<|endoftext|>"}),
    (
        "self-instruct seed",
        "self_instruct",
        {
            "id": "s0",
            "name": "add",
            "instruction": "Add.",
            "instances": [{"input": "2 2", "output": "4"}],
            "is_classification": False,
        },
    ),
    (
        "self-instruct generated",
        "alpaca",
        {"instruction": "Add.", "input": "2 2", "output": "4", "most_similar": {"x": 0.4}, "avg_similarity_score": 0.1},
    ),
    (
        "squad article",
        "squad_articles",
        {"title": "T", "paragraphs": [{"context": "c", "qas": [{"question": "q", "id": "1", "answers": []}]}]},
    ),
    ("squad paragraph", "squad_articles", {"context": "c", "qas": [{"question": "q", "id": "1", "answers": []}]}),
    ("sentiment", "classification", {"label": "1", "review": "Fine."}),
    ("news", "classification", {"text": "Shares fell.", "label": 2}),
    ("stack", "text", {"content": "x = 1", "text": "x = 1", "lang": "py"}),
]


@pytest.mark.parametrize(("variant", "name", "row"), ROWS, ids=[variant for variant, _, _ in ROWS])
def test_auto_names_the_format(variant: str, name: str, row: dict[str, Any]) -> None:
    """One row is enough to tell the format, and the format reads it."""
    assert detect([row], variant) == name
    adapter = get(name)
    read = adapter.unfold(row)[0][1] if adapter.unfold else row
    assert adapter.read(read, None).record.texts()


@pytest.mark.parametrize(
    ("variant", "name", "row"), [case for case in ROWS if case[1] == "qa" and case[0] not in ("squad flat", "svamp")]
)
def test_the_right_choice_is_found_whichever_way_it_is_named(variant: str, name: str, row: dict[str, Any]) -> None:
    """By index, label, letter or bracketed letter: the second choice is the answer in all of these rows."""
    record = get(name).read(row, None).record
    assert isinstance(record, QA)
    assert record.answers[0].text == record.choices[1].label, variant


def test_socratic_steps_stay_and_the_result_is_found() -> None:
    """GSM8K's socratic form keeps its sub-questions in the answer; the result is what stands after ####."""
    answer = "How many? ** 2 + 2 = <<2+2=4>>4\nAnd twice? ** 8\n#### 8"
    record = get("gsm8k").read({"question": "q", "answer": answer}, None).record
    assert isinstance(record, QA)
    assert (record.answers[0].text, record.final_answer) == (answer, "8")


def test_a_class_number_is_no_dirt() -> None:
    """Classes are numbers in most sets: read as their spelling, written back as the number, without a warning."""
    reading = get("classification").read({"text": "Fine.", "label": 1}, None)
    assert isinstance(reading.record, Task)
    assert (reading.record.outputs, reading.notes) == (["1"], [])


VARIANTS = [(adapter.name, variant) for adapter in adapters().values() for variant in adapter.variants]


@pytest.mark.parametrize(("name", "variant"), VARIANTS, ids=[": ".join(one) for one in VARIANTS])
def test_variants_on_the_formats_page_are_what_they_say(name: str, variant: str) -> None:
    """Each row that the page shows is recognised as its format, read without a finding, and written back as it is."""
    adapter = get(name)
    row = adapter.variants[variant]
    assert detect([row], variant) == name
    reading = adapter.read(row, None)
    codes = {code for code, _, _ in [*reading.notes, *check(reading.record)]}
    assert codes <= {"MM001", "JS005", "UN006"}
    assert same_json(write_row(adapter, reading.record, None, row), row)
    assert same_content(adapter.read(write_row(adapter, reading.record), None).record, reading.record)
