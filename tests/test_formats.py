"""Adapters: what each format means as a record, what dirt costs, and that nothing of a row is lost."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from writable_rows import CASES, rows_of

from didact import formats
from didact.errors import CallError, RowError, UnknownName
from didact.formats.detect import detect, renamed, require_columns
from didact.formats.fields import pointer
from didact.formats.gsm8k import final_answer
from didact.formats.registry import Adapter, Reading, adapters, get, register
from didact.records import QA, AnyRecord, Chat, Header, PlainText, Preference, Record, Task
from didact.records.checks import check
from didact.records.findings import CODES


def read(format_name: str, row: Any, header: Header | None = None) -> Reading:
    """A row read by an adapter."""
    return get(format_name).read(row, header)


def task(format_name: str, row: Any, header: Header | None = None) -> Task:
    """A row that must become a task."""
    record = read(format_name, row, header).record
    assert isinstance(record, Task)
    return record


def qa(row: Any, format_name: str = "qa") -> QA:
    """A row that must become a question."""
    record = read(format_name, row).record
    assert isinstance(record, QA)
    return record


def turns(record: Record) -> list[tuple[str, str]]:
    """Roles and texts of a record's dialogue."""
    return [(turn["role"], turn["content"]) for turn in record.dialogue()]


def refusal(format_name: str, row: Any) -> tuple[str, str]:
    """Code and pointer of the error a row ends with."""
    with pytest.raises(RowError) as caught:
        read(format_name, row)
    return caught.value.code, caught.value.pointer


def note_codes(reading: Reading) -> list[str]:
    """Codes of the warnings."""
    return [code for code, _, _ in reading.notes]


@pytest.mark.parametrize("name", adapters())
def test_example_of_each_format_is_read_and_recognised(name: str) -> None:
    """The example an adapter shows fits it best, and reads without an error."""
    adapter = get(name)
    row = orjson.loads(adapter.example)
    header = None
    assert detect([row], "example", whole=adapter.list_key is not None) == name
    if adapter.list_key is not None and adapter.header is not None:
        file, row = row, row.pop(adapter.list_key)[0]
        header = adapter.header(file, "task.json")
    if adapter.unfold is not None:
        row = adapter.unfold(row)[0][1]
    record = adapter.read(row, header).record
    assert record.texts()
    assert not list(check(record))


# --- alpaca and dolly


def test_alpaca_row_is_a_task() -> None:
    """Instruction is the definition, input the input, output the one output; nothing is left over."""
    record = task("alpaca", {"instruction": "Sort.", "input": "3 1", "output": "1 3"})
    assert (record.definition, record.input, record.outputs) == ("Sort.", "3 1", ["1 3"])
    assert record.origin is not None
    assert record.origin.model_dump(exclude_defaults=True) == {"format": "alpaca"}


def test_absent_null_and_empty_stay_apart() -> None:
    """An absent input, a null one and an empty one read alike and are told apart in the origin."""
    origins = [
        task("alpaca", {"instruction": "a", "output": "b", **given}).origin
        for given in ({}, {"input": None}, {"input": ""})
    ]
    found = [(origin.absent, origin.null) for origin in origins if origin is not None]
    assert found == [(["input"], []), ([], ["input"]), ([], [])]


@pytest.mark.parametrize("key", ["output", "response", "completion"])
def test_alpaca_output_has_three_names(key: str) -> None:
    """The answer is found under each name in use."""
    assert task("alpaca", {"instruction": "a", "input": "", key: "b"}).outputs == ["b"]


@pytest.mark.parametrize("placeholder", ["<noinput>", "No input", "N/A", "None", " noinput "])
def test_placeholder_input_is_empty_with_a_warning(placeholder: str) -> None:
    """A spelling of `no input` is read as empty, reported, and kept beside the record."""
    reading = read("alpaca", {"instruction": "a", "input": placeholder, "output": "b"})
    assert isinstance(reading.record, Task)
    assert reading.record.input == ""
    assert note_codes(reading) == ["CO003"]
    assert reading.record.origin is not None
    assert reading.record.origin.spelt == {"input": placeholder}


def test_alpaca_with_system_or_history_is_a_conversation() -> None:
    """A system prompt and earlier turns come before the instruction, which is joined with its input."""
    row = {
        "instruction": "And",
        "input": "now?",
        "output": "Yes.",
        "system": "Be brief.",
        "history": [["Hi", "Hello."]],
    }
    record = read("alpaca", row).record
    assert turns(record) == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "And\n\nnow?"),
        ("assistant", "Yes."),
    ]
    assert refusal("alpaca", row | {"history": [["Hi"]]}) == ("SC002", "/history/0")


def test_dolly_rows_on_one_passage_share_a_group() -> None:
    """The context is the input and makes the group; the category becomes a tag."""
    rows = [
        {"instruction": f"{i}?", "context": context, "response": "x", "category": "closed_qa"}
        for i, context in enumerate(["p", "p", "q", ""])
    ]
    records = [task("dolly", row) for row in rows]
    assert [record.input for record in records] == ["p", "p", "q", ""]
    assert records[0].group == records[1].group != records[2].group
    assert records[3].group is None
    assert records[0].tags == ["closed_qa"]


# --- conversations


def test_sharegpt_roles_have_many_names() -> None:
    """Every name in use for a speaker is mapped to a role, whatever its case."""
    names = ["system", "human", "gpt", "user", "chatgpt", "Human", "bard", "human", "bing", "user", "assistant"]
    record = read("sharegpt", {"conversations": [{"from": name, "value": name} for name in names]}).record
    roles = [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert [role for role, _ in turns(record)] == roles
    assert not list(check(record))


def test_sharegpt_calls_and_observations() -> None:
    """A function call becomes a call part, an observation the tool's turn; tools are read from their JSON text."""
    row = {
        "conversations": [
            {"from": "human", "value": "Weather?"},
            {"from": "function_call", "value": '{"name": "get", "arguments": {"city": "Oslo"}}'},
            {"from": "observation", "value": '{"t": 3}'},
            {"from": "gpt", "value": "Cold."},
        ],
        "tools": '[{"name": "get", "parameters": {}}]',
        "system": "Help.",
    }
    record = read("sharegpt", row).record
    assert isinstance(record, Chat)
    assert [message.role for message in record.messages] == ["system", "user", "assistant", "tool", "assistant"]
    call = record.dialogue()[2]["tool_calls"]
    assert orjson.loads(call) == [{"type": "function", "function": {"name": "get", "arguments": '{"city":"Oslo"}'}}]
    assert record.tools == [{"name": "get", "parameters": {}}]
    assert not list(check(record))


@pytest.mark.parametrize(
    ("row", "code", "where"),
    [
        ({"conversations": [{"from": "alien", "value": "x"}]}, "RO001", "/conversations/0/from"),
        ({"conversations": [{"value": "x"}]}, "SC001", "/conversations/0"),
        ({"conversations": [{"from": "gpt"}]}, "SC001", "/conversations/0"),
        ({"conversations": [{"from": "gpt", "value": {"a": 1}}]}, "SC002", "/conversations/0/value"),
        ({"conversations": "text"}, "SC002", "/conversations"),
        ({"conversations": []}, "RO005", "/conversations"),
        ({"turns": []}, "SC001", "/conversations"),
        ({"conversations": [{"from": "gpt", "value": "x"}], "tools": "{"}, "SC002", "/tools"),
        ("words", "JS002", ""),
    ],
)
def test_sharegpt_dirt_is_located(row: Any, code: str, where: str) -> None:
    """What is wrong with a conversation is said with its code and place."""
    assert refusal("sharegpt", row) == (code, where)


def test_openai_messages_keep_all_they_say() -> None:
    """Names, weights, calls, results, null content and parts arrive in the record."""
    row = {
        "messages": [
            {"role": "developer", "content": "Be kind."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "What"}, {"type": "text", "value": " now?"}],
                "name": "Ann",
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "42", "tool_call_id": "c1"},
            {"role": "assistant", "content": "42.", "weight": 0, "refusal": None},
            {"role": "user", "content": "Sure?"},
            {"role": "assistant", "content": "Yes.", "reasoning_content": "Look again.", "loss_weight": 1.0},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "parallel_tool_calls": False,
    }
    reading = read("openai", row)
    record = reading.record
    assert isinstance(record, Chat)
    dialogue = record.dialogue()
    assert [turn["content"] for turn in dialogue] == [
        "Be kind.",
        "What now?",
        "",
        "42",
        "42.",
        "Sure?",
        "<think>\nLook again.\n</think>\n\nYes.",
    ]
    assert (dialogue[1]["name"], dialogue[3]["tool_call_id"]) == ("Ann", "c1")
    assert (dialogue[4]["weight"], dialogue[6]["weight"]) == (0.0, 1.0)
    assert orjson.loads(dialogue[2]["tool_calls"])[0]["id"] == "c1"
    assert record.origin is not None
    assert record.origin.extra == {"parallel_tool_calls": False, "messages/4/refusal": None}
    assert record.origin.null == ["messages/2/content"]
    assert not list(check(record))


def test_openai_older_call_and_media() -> None:
    """The older single call is read, and a picture is carried by reference with a warning."""
    row = {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "cat.png"}},
                    {"type": "text", "text": "What is it?"},
                ],
            },
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
            {"role": "function", "name": "look", "content": "cat"},
            {"role": "assistant", "content": "A cat."},
        ]
    }
    record = read("openai", row).record
    assert [turn["role"] for turn in record.dialogue()] == ["user", "assistant", "tool", "assistant"]
    assert [code for code, _, _ in check(record)] == ["MM001"]


@pytest.mark.parametrize(
    ("message", "code", "where"),
    [
        ({"role": "assistant", "content": 5}, None, ""),
        ({"role": "assistant", "content": "x", "weight": -1}, "SC002", "/messages/0/weight"),
        ({"role": "assistant", "content": "x", "weight": "1"}, "SC002", "/messages/0/weight"),
        ({"role": "assistant", "content": [{"type": "hologram"}]}, "SC002", "/messages/0/content/0"),
        ({"role": "assistant", "content": [5]}, "SC002", "/messages/0/content/0"),
        ({"role": "assistant", "tool_calls": [{"id": "x"}]}, "SC002", "/messages/0/tool_calls/0"),
        ({"role": 5, "content": "x"}, "RO001", "/messages/0/role"),
        (5, "SC002", "/messages/0"),
    ],
)
def test_openai_dirt_is_located(message: Any, code: str | None, where: str) -> None:
    """A bad message names its place; a number for text is read as its spelling with a warning."""
    if code is None:
        reading = read("openai", {"messages": [message]})
        assert note_codes(reading) == ["SC003"]
        assert turns(reading.record) == [("assistant", "5")]
    else:
        assert refusal("openai", {"messages": [message]}) == (code, where)


def test_messages_as_json_text_are_read() -> None:
    """A CSV or Parquet cell that holds the messages as JSON text reads like the messages."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert turns(read("openai", {"messages": orjson.dumps(messages).decode()}).record) == [
        ("user", "a"),
        ("assistant", "b"),
    ]


def test_prompt_completion_is_a_self_contained_task() -> None:
    """Prompt and completion are kept to the last blank; FLAN's names are known; a system prompt makes a chat."""
    record = task("prompt_completion", {"prompt": "Two and two? ", "completion": " Four.<|endoftext|>"})
    assert (record.definition, record.outputs) == ("Two and two? ", [" Four.<|endoftext|>"])
    assert task("prompt_completion", {"inputs": "a", "targets": "b", "task_name": "t"}).task == "t"
    assert turns(read("prompt_completion", {"prompt": "a", "response": "b", "system": "s"}).record) == [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
    ]


# --- questions


@pytest.mark.parametrize(
    ("answer", "final"),
    [("x\n#### 1,234", "1234"), ("####5", "5"), ("#### $9.50.", "9.50"), ("none", None), ("#### ", None)],
)
def test_gsm8k_final_answer(answer: str, final: str | None) -> None:
    """The result after #### loses commas, currency and closing dot; the answer itself stays as written."""
    assert final_answer(answer) == final
    record = qa({"question": "q", "answer": answer}, "gsm8k")
    assert (record.answers[0].text, record.final_answer) == (answer, final)


MULTIPLE = [
    ({"question": "q", "choices": ["x", "y"], "answer": 1}, "B"),
    ({"question": "q", "choices": ["x", "y"], "answer": "B"}, "B"),
    ({"question": "q", "choices": ["x", "y"], "answer": "y"}, "B"),
    ({"question": "q", "choices": ["x", "y"], "answer": "1"}, "B"),
    ({"Question": "q", "A": "x", "B": "y", "Answer": "B", "": "0"}, "B"),
    ({"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}, "2"),
    (
        {
            "question": {"stem": "q", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]},
            "answerKey": "B",
        },
        "B",
    ),
    ({"ctx": "q", "endings": ["x", "y"], "label": "1"}, "B"),
    ({"question": "q", "options": ["x", "y"], "answer": "(B)"}, "B"),
]


@pytest.mark.parametrize(("row", "label"), MULTIPLE, ids=range(len(MULTIPLE)))
def test_right_choice_is_a_label(row: Any, label: str) -> None:
    """Index, letter, text or column: the answer is the label of the right choice."""
    record = qa(row)
    assert (record.question, [choice.text for choice in record.choices]) == ("q", ["x", "y"])
    assert [answer.text for answer in record.answers] == [label]
    assert not list(check(record))


def test_answer_outside_the_choices_is_told() -> None:
    """An index or letter beyond the choices is kept as it is and found by the checks."""
    for answer in (7, "E"):
        assert [code for code, _, _ in check(qa({"question": "q", "choices": ["x", "y"], "answer": answer}))] == [
            "QA002"
        ]


@pytest.mark.parametrize("key", [-1, "-1", "", None])
def test_a_withheld_key_is_told_as_such(key: Any) -> None:
    """Test sets without labels hold -1, an empty text or null where the key stands; that is no answer."""
    assert refusal("qa", {"question": "q", "choices": ["x", "y"], "label": key}) == ("QA001", "/label")


def test_passage_makes_the_group_and_spans_are_kept() -> None:
    """SQuAD-style answers keep their places; no answer means unanswerable; questions on one passage share a group."""
    asked = {"context": "It is red.", "question": "Colour?"}
    found = qa(asked | {"answers": {"text": ["red", "red."], "answer_start": [6, 6]}})
    none = qa(asked | {"answers": {"text": [], "answer_start": []}})
    assert [(answer.text, answer.start) for answer in found.answers] == [("red", 6), ("red.", 6)]
    assert (found.answerable, none.answerable) == (True, False)
    assert found.group == none.group is not None
    assert not list(check(none))


def test_question_dirt_is_located() -> None:
    """A missing question or answer, a null answer and a list for text are told."""
    assert refusal("qa", {"answer": "a"}) == ("SC001", "")
    assert refusal("qa", {"question": "q"}) == ("SC001", "")
    assert refusal("qa", {"question": "q", "answer": None}) == ("QA001", "/answer")
    assert refusal("qa", {"question": ["q"], "answer": "a"}) == ("SC002", "/question")
    assert refusal("qa", {"question": "q", "choices": "x", "answer": "a"}) == ("SC002", "/choices")


def test_number_for_text_is_spelt_and_kept() -> None:
    """A number where text belongs is read as its spelling, with a warning, and the number itself is kept."""
    reading = read("qa", {"ID": "c1", "Body": "Two dolls.", "Question": "How many?", "Answer": 2.0})
    assert isinstance(reading.record, QA)
    assert (reading.record.answers[0].text, reading.record.context) == ("2.0", "Two dolls.")
    assert note_codes(reading) == ["SC003"]
    assert reading.record.origin is not None
    assert (reading.record.origin.extra, reading.record.origin.spelt) == ({"ID": "c1"}, {"Answer": 2.0})


# --- task files


SNI = {
    "Contributors": ["Ann"], "Categories": ["Sorting"], "Definition": ["Sort the numbers."],
    "Positive Examples": [{"input": "2 1", "output": "1 2", "explanation": "Smaller first."}],
    "Negative Examples": [{"input": "2 1", "output": ["2 1"], "explanation": "Not sorted."}],
    "Instance License": ["MIT"],
}  # fmt: skip


def header_of(format_name: str, file: dict[str, Any], path: str) -> Header:
    """The header an adapter reads."""
    make = get(format_name).header
    assert make is not None
    return make(file, path)


def test_sni_definition_is_kept_once_and_referred_to() -> None:
    """The header holds all the file says once; instances refer to it and take its task and categories."""
    header = header_of("sni", SNI, "tasks/task001_sort.json.gz")
    assert (header.task, header.definition, header.categories) == ("task001_sort", ["Sort the numbers."], ["Sorting"])
    assert header.positive_examples[0].outputs == ["1 2"]
    assert header.extra == {"Contributors": ["Ann"], "Instance License": ["MIT"]}
    record = task("sni", {"input": "3 1", "output": ["1 3", "1, 3"], "id": "task001-5"}, header)
    assert (record.input, record.outputs, record.header, record.task, record.tags) == (
        "3 1",
        ["1 3", "1, 3"],
        header.id,
        "task001_sort",
        ["Sorting"],
    )
    assert record.origin is not None
    assert record.origin.key == "task001-5"
    assert record.dialogue(header)[0]["content"] == "Sort the numbers.\n\n3 1"
    assert header == header_of("sni", SNI, "elsewhere/task001_sort.json")


def test_sni_dirt_is_located() -> None:
    """Instances without output, or with none in the list, are told; so is a definition that is no text."""
    assert refusal("sni", {"input": "a"}) == ("SC001", "/output")
    assert refusal("sni", {"input": "a", "output": []}) == ("SC002", "/output")
    assert refusal("sni", {"output": ["a"]}) == ("SC001", "/input")
    assert task("sni", {"input": "a", "output": "b"}).outputs == ["b"]
    with pytest.raises(RowError):
        header_of("sni", SNI | {"Definition": [5]}, "x")
    assert header_of("sni", SNI | {"Negative Examples": ["-"]}, "x").negative_examples == []


def test_bbh_canary_is_never_dropped() -> None:
    """The canary stands in the header, the task is named after the file, and BIG-bench scores become choices."""
    header = header_of("bbh", {"canary": "canary GUID 1"}, "word_sorting.json")
    assert (header.canary, header.task) == ("canary GUID 1", "word_sorting")
    assert task("bbh", {"input": "a", "target": "b"}, header).outputs == ["b"]
    scored = task("bbh", {"input": "a", "target_scores": {"x": 0, "y": 1, "z": 1}}, header)
    assert (scored.choices, scored.outputs) == (["x", "y", "z"], ["y", "z"])
    assert refusal("bbh", {"input": "a"}) == ("SC001", "/target")
    assert refusal("bbh", {"input": "a", "target_scores": [1]}) == ("SC002", "/target_scores")


# --- preferences and text


PAIRS: list[dict[str, Any]] = [
    {"prompt": "p", "chosen": "good", "rejected": "bad"},
    {"question": "p", "response_j": "good", "response_k": "bad"},
    {
        "prompt": [{"role": "user", "content": "p"}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    },
    {
        "conversations": [{"from": "human", "value": "p"}],
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
    },
    {
        "chosen": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "good"}],
        "rejected": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "bad"}],
    },
    {"chosen": "\n\nHuman: p\n\nAssistant: good", "rejected": "\n\nHuman: p\n\nAssistant: bad"},
    {
        "prompt": "p",
        "chosen": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "good"}],
        "rejected": "bad",
    },
]


@pytest.mark.parametrize("row", PAIRS, ids=range(len(PAIRS)))
def test_preference_pairs_read_alike(row: Any) -> None:
    """Texts, messages, an implicit prompt and a transcript give the same prompt and candidates."""
    record = read("preference", row).record
    assert isinstance(record, Preference)
    assert [turn["content"] for turn in record.prompt_turns()] == ["p"]
    assert [[turn["content"] for turn in record.candidate_turns(k)] for k in (0, 1)] == [["good"], ["bad"]]
    assert detect([row], "x") == "preference"


def test_preference_scores_and_single_judgements() -> None:
    """Scores go with their candidates; a single judged answer keeps its verdict, from messages or from a completion."""
    scored = read("preference", PAIRS[0] | {"score_chosen": 4, "score_rejected": 1.5}).record
    assert isinstance(scored, Preference)
    assert [candidate.score for candidate in scored.candidates] == [4.0, 1.5]
    messages = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]
    turns_from = [{"from": "human", "value": "p"}, {"from": "gpt", "value": "a"}]
    judged: list[dict[str, Any]] = [
        {"messages": messages, "label": False},
        {"prompt": "p", "completion": "a", "label": False},
        {"conversations": turns_from, "kto_tag": False},
    ]
    for row in judged:
        record = read("preference", row).record
        assert isinstance(record, Preference)
        assert [candidate.label for candidate in record.candidates] == [False]
        assert detect([row], "x") == "preference"


def test_preference_dirt_is_located() -> None:
    """A pair without prompt or rejected answer is told."""
    assert refusal("preference", {"chosen": "a", "rejected": "b"}) == ("SC001", "/prompt")
    assert refusal("preference", {"prompt": "p", "chosen": "a"}) == ("SC001", "/rejected")


def test_text_is_a_unit_or_a_row() -> None:
    """A unit of a text file and a row with text are plain text; what else the row has is kept."""
    assert read("text", "words").record == PlainText(text="words", origin=read("text", "").record.origin)
    record = read("text", {"text": "t", "title": "T", "meta": {"url": "u"}}).record
    assert isinstance(record, PlainText)
    assert (record.text, record.title) == ("t", "T")
    assert record.origin is not None
    assert record.origin.extra == {"meta": {"url": "u"}}


# --- nothing is lost, nothing crashes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "A", "human", "#### 4"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "from", "content", "value", "text", "label", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["instruction", "input", "output", "context", "response", "conversations", "messages", "prompt", "completion",
     "question", "answer", "answers", "choices", "A", "B", "target", "target_scores", "chosen", "rejected", "text",
     "system", "history", "label", "tools", "id", "x"]
)  # fmt: skip


@given(row=st.dictionaries(KEYS, JSON, max_size=6), name=st.sampled_from(sorted(adapters())))
def test_any_row_is_read_or_refused_with_a_code(row: dict[str, Any], name: str) -> None:
    """No JSON object brings an adapter down: it becomes a valid record, or is refused with a known code."""
    read_or_refused(get(name), row)


def read_or_refused(adapter: Adapter, row: dict[str, Any]) -> None:
    """A row becomes a valid record, or is refused with a known code."""
    assert 0 <= adapter.fits(row) <= 1
    try:
        reading = adapter.read(row, None)
    except RowError as error:
        assert CODES[error.code].severity == "error"
    except ValidationError:
        pass  # the reader reports what a model refuses as a wrong type
    else:
        assert all(CODES[code] for code, _, _ in [*reading.notes, *check(reading.record)])
        assert type(reading.record).model_validate(reading.record.model_dump()) == reading.record


DAMAGE: tuple[Any, ...] = (
    None, True, 0, 1.5, "", "a", "user", "#### 5", '["a"]', [], {}, ["a"], [[]], [None], [{}], {"a": 1},
    {"type": ["x"]}, [{"type": {"a": 1}}], [{"role": [], "content": {}}],
)  # fmt: skip


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value, with each of its keys or indices."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places_in(value[key])


def unfolded(adapter: Adapter, row: Any) -> list[Any]:
    """The rows inside an element of a file; none where it is refused."""
    try:
        return [row] if adapter.unfold is None else [inner for _, inner in adapter.unfold(row)]
    except RowError as error:
        assert CODES[error.code].severity == "error"
        return []


def shown_rows(adapter: Adapter) -> list[Any]:
    """The rows of each of a format's variants."""
    whole = orjson.loads(adapter.example)
    return [*(whole[adapter.list_key] if adapter.list_key else [whole]), *adapter.variants.values()]


@cache
def words_of_readers() -> list[str]:
    """All words in the code of the adapters, and so every key that they look for."""
    code = (path.read_text(encoding="utf-8") for path in Path(formats.__path__[0]).glob("*.py"))
    found = {node.value for text in code for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    return sorted(word for word in found if isinstance(word, str) and word.replace(" ", "_").isidentifier())


@pytest.mark.parametrize("name", sorted(adapters()))
def test_a_row_with_any_other_key_is_read_or_refused_with_a_code(name: str) -> None:
    """Each row that `didact formats` shows, with a key that some reader knows and a value of the wrong type there."""
    adapter = get(name)
    wrong: tuple[Any, ...] = (True, {"a": 1}, [{}])
    assert len(words_of_readers()) > 200
    for row in shown_rows(adapter):
        for key in {*words_of_readers()} - row.keys():
            for value in wrong:
                for inner in unfolded(adapter, row | {key: value}):
                    read_or_refused(adapter, inner)


@pytest.mark.parametrize("name", sorted(adapters()))
def test_a_row_with_anything_anywhere_is_read_or_refused_with_a_code(name: str) -> None:
    """Each row that `didact formats` shows, with any of its values replaced, at whatever depth; it is left as it is."""
    adapter = get(name)
    for row in shown_rows(adapter):
        mine = deepcopy(row)
        for inside, key in [*places_in(mine)]:
            was = inside[key]
            for value in DAMAGE:
                inside[key] = deepcopy(value)
                for inner in unfolded(adapter, mine):
                    read_or_refused(adapter, inner)
            inside[key] = was
        assert mine == row


EXTRA = st.dictionaries(st.text("xyz/~", min_size=1, max_size=4), JSON, max_size=3)
ROWS: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "a", "input": "b", "output": "c"},
    "dolly": {"instruction": "a", "context": "b", "response": "c", "category": "d"},
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    "openai": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    "prompt_completion": {"prompt": "a", "completion": "b"},
    "gsm8k": {"question": "a", "answer": "#### 1"},
    "qa": {"question": "a", "answer": "b"},
    "preference": {"prompt": "a", "chosen": "b", "rejected": "c"},
    "text": {"text": "a"},
}


@given(name=st.sampled_from(sorted(ROWS)), extra=EXTRA)
def test_unknown_keys_are_kept_verbatim(name: str, extra: dict[str, Any]) -> None:
    """Whatever a row has beyond its format stands in the origin as it was."""
    origin = read(name, ROWS[name] | extra).record.origin
    assert origin is not None
    assert {key: value for key, value in origin.extra.items() if key in extra} == extra


# --- detection and the registry


@pytest.mark.parametrize("name", ROWS)
def test_format_is_found_among_dirt(name: str) -> None:
    """A sample with a third of broken rows is still recognised."""
    assert detect([ROWS[name], {"broken": 1}, ROWS[name]], "x") == name


def test_detection_refuses_to_guess() -> None:
    """Rows that fit nothing end with the keys seen and the remedy; rows that fit two formats name both."""
    with pytest.raises(CallError, match=r"here: no format fits; the first row has 'q', 'r'.*columns: \{prompt"):
        detect([{"q": "1", "r": "2"}], "here")
    with pytest.raises(CallError, match="no readable row"):
        detect([], "here")
    with pytest.raises(CallError, match="fits alpaca and prompt_completion alike"):
        detect([{"instruction": "a", "input": "", "output": "b", "prompt": "a", "completion": "b"}], "here")


def test_columns_name_what_a_key_means() -> None:
    """Generic names lead to the format, and rows are read under the adapter's own keys with nothing overwritten."""
    row = {"query": "Two and two?", "reply": "Four.", "prompt": "other"}
    columns = {"prompt": "query", "response": "reply"}
    assert detect([row], "x", columns) == "prompt_completion"
    assert renamed(row, columns, get("prompt_completion")) == {
        "prompt": "Two and two?",
        "completion": "Four.",
        "prompt#2": "other",
    }
    assert renamed("text", columns, get("prompt_completion")) == "text"
    with pytest.raises(CallError, match="format 'gsm8k' has no column 'prompt'; its columns: answer, question"):
        require_columns(get("gsm8k"), columns, "x")


def test_unknown_format_names_the_nearest() -> None:
    """A misspelt format is a call error that proposes the right one."""
    with pytest.raises(UnknownName, match="unknown format 'alpacca'; did you mean alpaca"):
        get("alpacca")


def test_own_adapter_can_be_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's adapter is found by its name; a taken name is refused."""
    monkeypatch.setattr("didact.formats.registry._ADDED", {})
    own = Adapter("own", "mine", "{}", lambda row: 0.0, get("text").read)
    register(own)
    assert get("own") is own
    for taken in (own, get("alpaca")):
        with pytest.raises(CallError, match="registered already"):
            register(taken)


def test_pointer_escapes() -> None:
    """Slashes and tildes in keys are escaped as RFC 6901 says."""
    assert pointer("a/b", 0, "~") == "/a~1b/0/~0"


# --- records made without validation


@pytest.mark.parametrize("name", sorted(CASES))
@given(data=st.data())
def test_records_are_what_validation_would_give(name: str, data: st.DataObject) -> None:
    """Adapters that make records without validation make equal ones that are spelt alike, from any row."""
    row, header = data.draw(rows_of(name))
    try:
        record = read(name, row, header).record
    except (RowError, ValidationError):
        return
    assert same_when_validated(record)


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.text(max_size=3) | st.none()},
        optional={
            "name": st.text(max_size=2) | st.integers(0, 3),
            "weight": st.sampled_from([0, 1, 0.5]),
            "reasoning_content": st.text(max_size=3),
            "tool_calls": st.just([{"id": "c", "function": {"name": "f", "arguments": {"x": 1}}}]),
        },
    ),
    min_size=1,
    max_size=3,
)


@given(messages=MESSAGES)
def test_conversations_are_what_validation_would_give(messages: list[dict[str, Any]]) -> None:
    """So do the readers of messages, with names, weights, thinking and calls."""
    record = read("openai", {"messages": messages}).record
    assert same_when_validated(record)


def same_when_validated(record: Record) -> bool:
    """Whether validating all a record holds, strictly, gives the same record."""
    again = AnyRecord.validate_python(record.model_dump(), strict=True)
    return bool(again == record and again.model_dump_json() == record.model_dump_json())
