"""Conversations: every spelling of a message is read, an edit of any part of it changes the row just there."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from writable_rows import rows_of

from didact.errors import RowError
from didact.formats.json_edit import same_json
from didact.formats.registry import get
from didact.formats.thinking import cut
from didact.formats.writing import losses, same_content, write_row
from didact.records import Chat, MediaPart, Message, ReasoningPart, TextPart, ToolCallPart


def chat(row: dict[str, Any], format_name: str = "openai") -> Chat:
    """A row that must become a conversation."""
    record = get(format_name).read(row, None).record
    assert isinstance(record, Chat)
    return record


def message(**given: Any) -> Message:
    """An assistant's message as OpenAI's format reads it."""
    return chat({"messages": [{"role": "assistant", **given}]}).messages[0]


# --- thinking


@pytest.mark.parametrize(
    ("text", "thinking", "words"),
    [
        ("<think>a</think>b", "a", "b"),
        ("\n<think>\na\n</think>\n\nb\n", "a", "b\n"),
        ("<think>\n\n</think>\n\nb", "", "b"),
        ("<think>a</think>", "a", ""),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("<thinking>a</thinking>b", "a", "b"),
        ("<reasoning>a</reasoning>b", "a", "b"),
        ("<|begin_of_thought|>\n\na\n<|end_of_thought|>\n\n<|begin_of_solution|>\nb\n<|end_of_solution|>\n", "a", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|>b", "a", "b"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>", "a", "b"),
    ],
)
def test_thinking_is_told_apart_and_its_spelling_comes_back(text: str, thinking: str, words: str) -> None:
    """Thinking before an answer becomes a part of its own in every spelling, and is written as it was spelt."""
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]}
    record = chat(row)
    assert record.messages[1].parts == [ReasoningPart(text=thinking), TextPart(text=words)]
    assert write_row(get("openai"), record) == row
    pieces = cut(text)
    assert pieces is not None
    assert "".join(pieces) == text


@pytest.mark.parametrize(
    "text",
    [
        "a</think>b",
        "<think>a",
        "<think>a<think>b</think>c</think>",
        "b<think>a</think>",
        "<|channel|>analysis<|message|>a<|end|>b",
        "<|channel|>commentary to=f<|message|>{}<|call|>",
        "<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b",
    ],
)
def test_what_is_no_closed_thinking_before_an_answer_stays_text(text: str) -> None:
    """Unclosed, unopened, nested and leaked thinking is left as it is written, for the checks to find."""
    assert message(content=text).parts == [TextPart(text=text)]


def test_only_the_assistant_thinks_in_its_text() -> None:
    """A tag in what the user says is what the user says."""
    assert chat({"messages": [{"role": "user", "content": "<think>a</think>b"}]}).messages[0].parts == [
        TextPart(text="<think>a</think>b")
    ]


@given(st.text("<think>/ab\n", max_size=60) | st.text(max_size=30))
def test_a_cut_loses_no_character(text: str) -> None:
    """Whatever a text is cut into makes up the text again."""
    pieces = cut(text)
    assert pieces is None or "".join(pieces) == text


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_thinking_beside_the_content_keeps_its_key(key: str) -> None:
    """Thinking under each of its keys is read alike and written under the same key."""
    row = {"messages": [{"role": "assistant", "content": "b", key: "a"}]}
    record = chat(row)
    assert record.messages[0].parts == [ReasoningPart(text="a"), TextPart(text="b")]
    assert write_row(get("openai"), record) == row


# --- edits

TOOLED = {
    "messages": [
        {"role": "user", "content": "Weather?", "note": 1},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get", "arguments": {"city": "Oslo", "n": 1.5}}},
                {"id": "c2", "type": "function", "function": {"name": "get", "arguments": '{"city":  "Bergen"}'}},
            ],
        },
        {"role": "tool", "content": [{"type": "text", "text": "3"}, {"text": " C"}], "tool_call_id": "c1"},
        {"role": "assistant", "content": "<think>Cold</think>Cold.", "weight": 1, "refusal": None},
    ]
}  # fmt: skip


def edited(change: Any) -> dict[str, Any]:
    """The row after its record was changed; it must read as the changed record."""
    record = chat(copy.deepcopy(TOOLED))
    change(record.messages)
    row = write_row(get("openai"), record, row=TOOLED)
    assert same_content(chat(row), record)
    assert isinstance(row, dict)
    return row


def expected(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The row with another value at one place, and nothing else changed."""
    row: Any = copy.deepcopy(TOOLED)
    inner = row
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return dict(row)


def _set(name: str, value: Any) -> Any:
    return lambda part: setattr(part, name, value)


@pytest.mark.parametrize(
    ("at", "name", "value", "place", "written"),
    [
        ((0, None), "name", "Ann", ("messages", 0, "name"), "Ann"),
        ((0, None), "weight", 0.0, ("messages", 0, "weight"), 0),
        ((3, None), "weight", 0.5, ("messages", 3, "weight"), 0.5),
        ((2, None), "tool_call_id", "c2", ("messages", 2, "tool_call_id"), "c2"),
        ((0, None), "role", "developer", ("messages", 0, "role"), "developer"),
        ((1, 0), "name", "ask", ("messages", 1, "tool_calls", 0, "function", "name"), "ask"),
        ((1, 0), "id", "c9", ("messages", 1, "tool_calls", 0, "id"), "c9"),
        ((1, 0), "arguments", '{"a":2}', ("messages", 1, "tool_calls", 0, "function", "arguments"), {"a": 2}),
        ((1, 0), "arguments", '{"a": 2}', ("messages", 1, "tool_calls", 0, "function", "arguments"), '{"a": 2}'),
        ((1, 1), "arguments", "{}", ("messages", 1, "tool_calls", 1, "function", "arguments"), "{}"),
        ((2, 1), "text", " F", ("messages", 2, "content", 1, "text"), " F"),
        ((3, 0), "text", "Brr", ("messages", 3, "content"), "<think>Brr</think>Cold."),
        ((3, 1), "text", "Brr.", ("messages", 3, "content"), "<think>Cold</think>Brr."),
    ],
)
def test_an_edit_changes_the_row_just_there(at: Any, name: str, value: Any, place: Any, written: Any) -> None:
    """Each thing a message says can be changed, and nothing of the author's row changes beside it."""

    def change(messages: list[Message]) -> None:
        target: Any = messages[at[0]] if at[1] is None else messages[at[0]].parts[at[1]]
        setattr(target, name, value)

    assert same_json(edited(change), expected(place, written))


def test_messages_come_and_go() -> None:
    """A message put in between or taken out leaves the others as their author wrote them."""
    new = Message(role="user", parts=[TextPart(text="Sure?")])
    row = edited(lambda messages: messages.insert(3, new))
    assert row["messages"] == [*TOOLED["messages"][:3], {"role": "user", "content": "Sure?"}, TOOLED["messages"][3]]
    assert edited(lambda messages: messages.pop(0))["messages"] == TOOLED["messages"][1:]


def test_words_that_would_read_as_thinking_are_set_apart() -> None:
    """An edit whose text looks like thinking is written so that it stays text."""
    row = edited(lambda messages: messages.__setitem__(3, Message(role="assistant", parts=[TextPart(text=LOOKS)])))
    assert row["messages"][3]["content"] == [{"type": "text", "text": LOOKS}]


LOOKS = "<think>a</think>b"

PARTS = st.lists(
    st.builds(TextPart, text=st.text("a<>/think\n", max_size=12))
    | st.builds(ReasoningPart, text=st.text("a\n", max_size=3))
    | st.builds(ToolCallPart, id=st.none() | st.just("c"), name=st.just("f"), arguments=st.sampled_from(["{}", "x"]))
    | st.sampled_from(
        [
            MediaPart(uri="a.png", mime="image/*"),
            MediaPart(uri="data:image/png;base64,AA==", mime="image/png"),
            MediaPart(uri="data:audio/wav;base64,AA==", mime="audio/wav"),
            MediaPart(uri="a.mp3", mime="audio/*"),
            MediaPart(uri="a.mp4", mime="video/*"),
            MediaPart(uri="file-1", mime="application/octet-stream"),
        ]
    ),
    max_size=3,
)
MESSAGE = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    parts=PARTS,
    name=st.none() | st.just("n"),
    weight=st.none() | st.just(0.0),
)


@pytest.mark.parametrize("name", ["openai", "sharegpt"])
@given(data=st.data())
def test_any_conversation_can_replace_the_messages_of_any_row(name: str, data: st.DataObject) -> None:
    """Whatever messages a record gets, in whatever order of parts, its author's row can be made to read so."""
    row, _ = data.draw(rows_of(name))
    record = chat(copy.deepcopy(row), name)
    place = data.draw(st.integers(0, len(record.messages)))
    behind = data.draw(st.integers(place, len(record.messages)))
    record.messages[place:behind] = data.draw(st.lists(MESSAGE, min_size=1, max_size=2))
    written = write_row(get(name), record, row=row)
    read = chat(orjson.loads(orjson.dumps(written)), name)
    assert read.messages == record.messages


@given(messages=st.lists(MESSAGE, min_size=1, max_size=4))
def test_openai_holds_every_conversation(messages: list[Message]) -> None:
    """A record of another origin is written as OpenAI messages without loss."""
    record = Chat(messages=messages)
    row = write_row(get("openai"), record)
    assert losses(get("openai"), record, row, None, None) == []


@given(messages=st.lists(MESSAGE, min_size=1, max_size=4))
def test_what_sharegpt_cannot_hold_is_told(messages: list[Message]) -> None:
    """A new ShareGPT row reads as the record, or what it left out is listed.

    Empty thinking is set aside: the text behind its tags reads as an empty part more, which is no loss.
    """
    record = Chat(messages=messages)
    assume(all(not isinstance(part, ReasoningPart) or part.text for turn in messages for part in turn.parts))
    row = write_row(get("sharegpt"), record)
    told = losses(get("sharegpt"), record, row, None, None)
    assert same_content(chat(row, "sharegpt"), record) == (not told)


# --- the shape of new rows, and dirt


def test_a_new_sharegpt_row_is_what_trainers_document() -> None:
    """System prompt and tools stand beside the turns, tools and calls as JSON text, under ShareGPT's role names."""
    row = write_row(get("sharegpt"), chat(TOOLED | {"tools": [{"name": "get"}]}).model_copy(update={"origin": None}))
    assert row["tools"] == '[{"name": "get"}]'
    assert [turn["from"] for turn in row["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert orjson.loads(row["conversations"][1]["value"])[0] == {
        "id": "c1", "name": "get", "arguments": {"city": "Oslo", "n": 1.5},
    }  # fmt: skip
    assert row["conversations"][3]["value"] == "<think>\nCold\n</think>\n\nCold."
    system = chat({"messages": [{"role": "system", "content": "Help."}, {"role": "user", "content": "Hi"}]})
    assert write_row(get("sharegpt"), system.model_copy(update={"origin": None})) == {
        "conversations": [{"from": "human", "value": "Hi"}],
        "system": "Help.",
    }


DIRT: list[tuple[str, Any, list[Any]]] = [
    ("null content without calls", {"role": "assistant", "content": None}, []),
    ("empty content", {"role": "assistant", "content": ""}, [""]),
    ("a number", {"role": "assistant", "content": 4.50}, ["4.5"]),
    ("no parts", {"role": "assistant", "content": []}, []),
    ("a refusal beside null", {"role": "assistant", "content": None, "refusal": "No."}, ["No."]),
    (
        "keys that Arrow filled with null",
        {"role": "assistant", "content": "x", "name": None, "tool_calls": None, "function_call": None, "weight": None,
         "tool_call_id": None, "reasoning_content": None, "refusal": None},
        ["x"],
    ),
    (
        "parts that Arrow filled with null",
        {"role": "assistant", "content": [{"type": "text", "text": "x", "image_url": None}]},
        ["x"],
    ),
    ("parts without a type, and bare ones", {"role": "assistant", "content": [{"text": "x"}, "y"]}, ["x", "y"]),
    ("both dialects at once", {"role": "assistant", "from": "gpt", "content": "x", "value": "y"}, ["x"]),
    ("calls as JSON text", {"role": "assistant", "content": "x", "tool_calls": '[{"name": "f"}]'}, ["x"]),
    ("empty calls", {"role": "assistant", "content": "x", "tool_calls": []}, ["x"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("item", "texts"), [(item, texts) for _, item, texts in DIRT], ids=[name for name, _, _ in DIRT]
)
def test_dirt_is_read_and_comes_back(item: dict[str, Any], texts: list[str]) -> None:
    """Oddly spelt messages are read for what they say; nothing of them is lost, with the author's row or without."""
    row = {"messages": [{"role": "user", "content": "q"}, item]}
    record = chat(row)
    assert [text.text for text in record.texts()[1:]] == texts
    assert same_json(write_row(get("openai"), record, row=row), row)
    alone = chat(write_row(get("openai"), record))
    assert same_content(alone, record)
    assert alone.origin is not None
    assert record.origin is not None
    assert alone.origin.extra == record.origin.extra


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"type": "tool_call", "value": "no JSON"}, "/messages/0/content/0/value"),
        ({"type": "tool_call"}, "/messages/0/content/0"),
        ({"type": "hologram"}, "/messages/0/content/0"),
    ],
)
def test_parts_that_say_nothing_are_located(part: Any, where: str) -> None:
    """A part that is no part is refused with its place, not with a crash."""
    with pytest.raises(RowError) as refused:
        message(content=[part])
    assert (refused.value.code, refused.value.pointer) == ("SC002", where)
