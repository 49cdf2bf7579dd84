"""Rows that hold conversations, in every spelling in use, with unknown keys at every level."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from strategies import TEXT

Rows = st.SearchStrategy[dict[str, Any]]
NOTED = st.dictionaries(
    st.sampled_from(["meta", "x~/y", "uid", "cache_control"]),
    st.none() | st.integers(-3, 3) | TEXT | st.just({"a": [1, {"b": None}]}),
    max_size=2,
)
"""Keys that no format knows."""

WORD = st.text("abc \n<>", max_size=6)
SPOKEN = TEXT | WORD
THOUGHTFUL = st.builds(
    lambda style, thought, space, answer, end: style[0] + thought + style[1] + space + answer + (style[2] and end),
    st.sampled_from(
        [
            ("<think>", "</think>", ""),
            (" <think>\n", "\n</think>\n\n", ""),
            ("<reasoning>", "</reasoning>", ""),
            ("<thought>\n\n", "\n</thought>", ""),
            ("<|begin_of_thought|>\n", "<|end_of_thought|>\n<|begin_of_solution|>", "<|end_of_solution|>"),
            ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>", "<|return|>"),
            ("<think>", "", ""),
            ("", "</think>", ""),
            ("<think><think>", "</think>", ""),
        ]
    ),
    SPOKEN,
    st.sampled_from(["", "\n", "\n\n\n"]),
    SPOKEN,
    st.sampled_from(["", "<|end_of_solution|>", "<|return|>", "<|end|>\n"]),
)
"""Thinking in front of an answer: well told apart, unclosed, unopened, nested."""

ODD = SPOKEN | THOUGHTFUL | st.none() | st.integers(-5, 5) | st.just(2.50) | st.booleans()


def fields(required: dict[str, Any], optional: dict[str, Any]) -> Rows:
    """Objects with every required, any of the optional, and some unknown keys, in any order."""
    own = st.fixed_dictionaries(required, optional=optional)
    return st.tuples(own, NOTED).flatmap(
        lambda pair: st.permutations(list((pair[1] | pair[0]).items())).map(lambda items: dict(items))
    )


ARGUMENTS = st.sampled_from(
    ["{}", '{"a": 1}', "not json", "", {}, {"a": 1, "b": [None, 2.5]}, [1], None, '{"a":1.50}', "object"]
)
CALL = (
    fields(
        {"function": fields({"name": WORD}, {"arguments": ARGUMENTS})},
        {"id": st.sampled_from(["c1", None, 5]), "type": st.sampled_from(["function", None])},
    )
    | fields({"name": WORD, "arguments": ARGUMENTS}, {"id": st.just("c2")})
    | fields({"name": WORD, "parameters": ARGUMENTS}, {})
)
CALLS = st.lists(CALL, max_size=2) | st.lists(CALL, max_size=2).map(lambda calls: json.dumps(calls))

PART = st.one_of(
    fields({"type": st.sampled_from(["text", "input_text", "output_text"]), "text": SPOKEN | st.integers()}, {}),
    fields({"text": SPOKEN}, {}),
    fields({"type": st.just("text"), "value": SPOKEN}, {}),
    fields({"type": st.just("refusal"), "refusal": SPOKEN}, {}),
    fields({"type": st.sampled_from(["reasoning", "thinking"]), "text": SPOKEN}, {}),
    fields({"type": st.just("thinking"), "thinking": SPOKEN}, {"signature": WORD}),
    SPOKEN,
    fields(
        {
            "type": st.just("tool_call"),
            "value": st.sampled_from(
                ['{"name": "f", "arguments": {"a": 1}}', '{"name":"f", "x": 1}', {"name": "f", "x": 2}]
            ),
        },
        {},
    ),
    fields({"type": st.just("tool_call"), "name": WORD, "arguments": ARGUMENTS}, {}),
    fields({"type": st.just("image_url"), "image_url": fields({"url": WORD}, {"detail": st.just("low")})}, {}),
    fields({"type": st.just("image_url"), "image_url": st.just("data:image/png;base64,AA==")}, {}),
    fields({"type": st.just("image")}, {"image": st.just("cat.png"), "value": st.none(), "path": WORD}),
    fields({"type": st.just("input_audio"), "input_audio": fields({"data": WORD, "format": st.just("wav")}, {})}, {}),
    fields({"type": st.just("file"), "file": fields({"file_id": WORD}, {"filename": WORD})}, {}),
    fields({"type": st.just("video_url"), "video_url": st.just({"url": "a.mp4"})}, {"text": st.none()}),
)
ROLE = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "human", "Assistant", "gpt"])
ABOUT = {
    "from": st.just("gpt"),
    "value": st.none() | WORD,
    "name": st.none() | SPOKEN | st.integers(0, 3),
    "tool_call_id": st.none() | WORD,
    "weight": st.sampled_from([None, 0, 1, 0.5, True]),
    "loss_weight": st.sampled_from([None, 1.0]),
    "loss": st.sampled_from([None, False, "yes"]),
    "train": st.booleans(),
    "refusal": st.none() | WORD,
    "tool_calls": st.none() | CALLS,
    "function_call": st.none() | CALL,
    "reasoning_content": st.none() | SPOKEN,
    "reasoning": st.none() | SPOKEN | st.just({"effort": "low"}),
    "thinking": st.none() | SPOKEN,
}
ROLE_MESSAGE = fields({"role": ROLE, "content": ODD | st.lists(PART, max_size=3)}, ABOUT) | fields(
    {"role": st.just("assistant"), "content": THOUGHTFUL}, {}
)
CALLS_TEXT = st.sampled_from(
    [
        '{"name": "f", "arguments": {"a": 1}}',
        '{"arguments":{"a":1.50},"name":"f","x":2}',
        '[{"name": "f", "arguments": "{}"}, {"id": 7, "name": "g", "parameters": {}}]',
        '<think>why</think>\n{"name": "f", "arguments": {}}',
        "no call",
        "[]",
        {"name": "f", "arguments": {"a": 1}},
    ]
)
FROM_MESSAGE = (
    fields(
        {"from": st.sampled_from(["system", "human", "gpt", "Human", "observation", "chatgpt", "user", "bing"]),
         "value": ODD | st.lists(PART, max_size=2)},
        {key: ABOUT[key] for key in ("name", "weight", "loss", "tool_calls")},
    )
    | fields({"from": st.just("gpt"), "value": THOUGHTFUL}, {})
    | fields({"from": st.just("function_call"), "value": CALLS_TEXT}, {"reasoning_content": SPOKEN})
)  # fmt: skip
PAIR = fields({"human": SPOKEN | st.integers()}, {"assistant": SPOKEN | THOUGHTFUL | st.none()})
TOOLS = st.lists(fields({"name": WORD}, {"parameters": st.just({"type": "object"})}), max_size=2)
BESIDE = {
    "system": st.none() | SPOKEN,
    "tools": st.none() | st.just("") | TOOLS | TOOLS.map(lambda tools: json.dumps(tools)),
}


def messages(message: Rows) -> st.SearchStrategy[Any]:
    """A list of messages, or its JSON text."""
    listed = st.lists(message, min_size=1, max_size=4)
    return listed | listed.map(lambda items: json.dumps(items))


OPENAI = st.fixed_dictionaries(
    {"messages": messages(ROLE_MESSAGE)},
    optional=BESIDE | {"functions": TOOLS, "parallel_tool_calls": st.booleans(), "system_prompt": st.none() | WORD},
)
SHAREGPT = (
    st.fixed_dictionaries({"conversations": messages(FROM_MESSAGE)}, optional=BESIDE)
    | st.fixed_dictionaries({"conversations": messages(ROLE_MESSAGE)}, optional=BESIDE)
    | st.fixed_dictionaries({"messages": messages(FROM_MESSAGE | ROLE_MESSAGE)})
    | st.fixed_dictionaries({"conversation": st.lists(PAIR, min_size=1, max_size=3)}, optional=BESIDE)
    | st.fixed_dictionaries({"conversation": messages(FROM_MESSAGE)})
)
