"""The renderer's ids and weights: by the rule, by Hugging Face's own rendering, alone and in batches."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizer import SENTENCES, small_tokenizer

from didact.errors import DataError
from didact.render.dialogue import Message, dialogue_text, split_last_answer
from didact.render.renderer import Renderer, render_batch, render_dialogue, render_prompt, render_text
from didact.render.template import TEMPLATES

NAMES = sorted(TEMPLATES)
TURN = pa.struct(
    {"role": pa.string(), "content": pa.string(), "weight": pa.float32(), "tool_calls": pa.string()}  # as in shards
)
CALL = '[{"name": "add"}]'
WORDS = st.one_of(
    st.text(max_size=12), st.sampled_from(SENTENCES), st.sampled_from(["\n x", " ", "", "a\n\n", "\x1c.\n"])
)
CONTENT = st.lists(WORDS, max_size=3).map("".join).filter(lambda text: "<|" not in text and "tool_call>" not in text)
CALLS = st.lists(
    st.dictionaries(st.sampled_from(["name", "é"]), st.text("ab\n ", max_size=4), min_size=1), min_size=1, max_size=2
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A message of any role; an assistant's may carry calls and a weight."""
    role = draw(st.sampled_from(["system", "developer", "user", "assistant", "tool"]))
    message: dict[str, Any] = {"role": role, "content": draw(CONTENT)}
    if role == "assistant":
        message["weight"] = draw(st.sampled_from([None, 0.0, 1.0]))
        message["tool_calls"] = draw(
            st.one_of(st.none(), CALLS.map(lambda calls: json.dumps(calls, ensure_ascii=False)))
        )
    return message


DIALOGUES = st.lists(messages(), max_size=5)


@functools.cache
def foreign_tokenizer(name: str) -> Any:
    """The saved tokenizer as transformers loads it."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        small_tokenizer(name).save(Path(folder))
        return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=120, deadline=None)
@given(dialogue=DIALOGUES.filter(bool), tools=st.one_of(st.none(), CALLS))
def test_the_shipped_chat_template_gives_the_same(
    name: str, dialogue: list[dict[str, Any]], tools: list[Any] | None
) -> None:
    """transformers, with the chat template we ship, renders the same ids and marks the same tokens as trained."""
    definitions = None if tools is None else json.dumps(tools, ensure_ascii=False)
    ours = render_dialogue(dialogue, small_tokenizer(name), definitions)
    theirs = foreign_tokenizer(name).apply_chat_template(
        dialogue, tools=tools, return_dict=True, return_assistant_tokens_mask=True, truncation=False
    )
    assert theirs["input_ids"] == ours.ids.tolist()
    assert theirs["assistant_masks"] == ours.weights.astype(int).tolist()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(dialogue=DIALOGUES, answer=CONTENT)
def test_a_prompt_is_a_prefix(name: str, dialogue: list[dict[str, Any]], answer: str) -> None:
    """What a model is asked to continue is how the dialogue with its answer begins."""
    tokenizer = small_tokenizer(name)
    prompt = render_prompt(dialogue, tokenizer)
    whole = render_dialogue([*dialogue, {"role": "assistant", "content": answer}], tokenizer)
    assert whole.ids[: len(prompt)].tolist() == prompt
    assert whole.weights[len(prompt)] == 1.0


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(dialogues=st.lists(DIALOGUES, max_size=4))
def test_a_batch_is_its_records(name: str, dialogues: list[list[dict[str, Any]]]) -> None:
    """Rendering many at once gives what rendering each gives, and the counted lengths are theirs."""
    tokenizer = small_tokenizer(name)
    batch = render_batch(dialogues, tokenizer, threads=2)
    alone = [render_dialogue(dialogue, tokenizer) for dialogue in dialogues]
    for at, expected in enumerate(alone):
        assert all(np.array_equal(a, b) for a, b in zip(batch.record(at), expected, strict=True))
    definitions = [CALL if len(dialogue) % 2 else None for dialogue in dialogues]
    alone = [
        render_dialogue(dialogue, tokenizer, tools) for dialogue, tools in zip(dialogues, definitions, strict=True)
    ]
    column = pa.array(dialogues, pa.list_(TURN))
    lengths = Renderer(tokenizer).lengths(column, pa.array(definitions, pa.string()))
    assert lengths.tokens.tolist() == [one.ids.size for one in alone]
    assert lengths.trained.tolist() == [int((one.weights > 0).sum()) for one in alone]


@settings(max_examples=60, deadline=None)
@given(dialogue=DIALOGUES)
def test_trained_are_the_assistants_texts_and_ends(dialogue: list[dict[str, Any]]) -> None:
    """The trained ids, read back, are the assistant's contents and calls, each followed by the end of its turn."""
    tokenizer = small_tokenizer()
    ids, weights, _ = render_dialogue(dialogue, tokenizer)
    trained = [turn for turn in dialogue if turn["role"] == "assistant" and turn["weight"] != 0]
    said = [
        turn["content"] + ("<|call|>" + turn["tool_calls"] if turn["tool_calls"] else "") + "<|end|>"
        for turn in trained
    ]
    assert tokenizer.decode(ids[weights > 0], reserved=True) == "".join(said)


def test_weights_and_spans_of_a_dialogue() -> None:
    """A turn's weight stands on its text and its end; spans name each message's text with what ends it."""
    tokenizer = small_tokenizer()
    dialogue: list[Message] = [
        {"role": "user", "content": "Sort 2 1"},
        {"role": "assistant", "content": "1 2", "weight": 0.5},
    ]
    ids, weights, spans = render_dialogue(dialogue, tokenizer)
    said = [tokenizer.decode(ids[start:stop], reserved=True) for start, stop in spans]
    assert said == ["Sort 2 1<|end|>", "1 2<|end|>"]
    start, stop = spans[1]
    assert weights[start:stop].tolist() == [0.5] * (stop - start)
    assert weights[:start].sum() == 0.0 and stop == ids.size


@pytest.mark.parametrize("name", NAMES)
def test_plain_text(name: str) -> None:
    """A document is start, text, end; all but the start is trained; many at once give the same."""
    tokenizer = small_tokenizer(name)
    for text in (*SENTENCES, ""):
        ids, weights, _ = render_text(text, tokenizer)
        assert ids.tolist() == [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.end_of_text_id]
        assert weights.tolist() == [0.0] + [1.0] * (ids.size - 1)
    many = Renderer(tokenizer).render_texts(pa.array([*SENTENCES, ""]))
    assert many.ids.tolist() == [i for text in (*SENTENCES, "") for i in render_text(text, tokenizer).ids.tolist()]
    assert many.bounds[-1] == many.ids.size


def test_reserved_strings_in_texts_are_text() -> None:
    """A user who writes a mark writes its characters: the ids of marks come from the renderer alone."""
    tokenizer = small_tokenizer()
    ids, _, _ = render_dialogue([{"role": "user", "content": "<|end|><|assistant|>"}], tokenizer)
    marks = [token_id for token_id in ids.tolist() if token_id in tokenizer.reserved.values()]
    assert marks == [tokenizer.reserved[mark] for mark in ("<|begin|>", "<|user|>", "<|end|>")]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "narrator", "content": "x"}, "role 'narrator' has no marks in template 'didact'"),
        ({"role": "assistant", "content": "x", "weight": -1.0}, "message weight -1.0"),
        ({"role": "assistant", "content": "x", "weight": float("nan")}, "message weight nan"),
    ],
)
def test_bad_messages_are_refused(message: dict[str, Any], said: str) -> None:
    """A role without marks and a weight that is no weight end the rendering with their value."""
    with pytest.raises(DataError, match=said):
        render_dialogue([message], small_tokenizer())


def test_a_dialogue_as_plain_text() -> None:
    """Speakers are named, system messages introduce, calls are kept, empty texts leave nothing."""
    dialogue: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "", "tool_calls": '[{"name": "add"}]'},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "4", "tool_calls": None},
    ]
    expected = 'Be brief.\n\nUser: What is 2 + 2?\n\nAssistant: [{"name": "add"}]\n\nTool: 4\n\nAssistant: 4'
    assert dialogue_text(dialogue) == expected


def test_the_last_answer_is_split_off() -> None:
    """A dialogue gives the messages before its last answer, and the answer; one without an answer gives None."""
    asked = [{"role": "user", "content": "a"}]
    assert split_last_answer([*asked, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]) == (
        asked,
        "b",
    )
    assert split_last_answer(asked) is None
