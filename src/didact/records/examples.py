"""One full record of each kind, for the published schemas and their page."""

from __future__ import annotations

from typing import Any

_COMMON: dict[str, Any] = {
    "source": "lessons",
    "license": "CC-BY-4.0",
    "language": "en",
    "split": "train",
    "group": "page-17",
    "task": "arithmetic",
    "tags": ["easy"],
}


def _said(role: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": role, "parts": list(parts), **more}


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


EXAMPLES: dict[str, dict[str, Any]] = {
    "qa": {
        "kind": "qa",
        "id": "29f412360f8b2dc2b6f5a1ea418cef94",
        **_COMMON,
        "origin": {"format": "qa", "key": "q-1", "extra": {"difficulty": 2}, "absent": [], "null": []},
        "question": "How many chairs are there?",
        "context": "The hall has seven rows of six chairs.",
        "choices": [{"label": "A", "text": "13"}, {"label": "B", "text": "42"}],
        "answers": [{"text": "B", "start": None}],
        "answerable": True,
        "final_answer": "42",
        "rationale": "7 * 6 = 42.",
    },
    "task": {
        "kind": "task",
        "id": "6a894a55fee39f711a711d4cf33d8f92",
        **_COMMON,
        "header": "7c9e6679742540de944be07fc1f90ae7",
        "origin": {"format": "alpaca", "spelt": {"input": 312}, "null": ["comment"]},
        "definition": "Sort the digits.",
        "input": "3 1 2",
        "outputs": ["1 2 3", "1, 2, 3"],
        "choices": [],
    },
    "chat": {
        "kind": "chat",
        "id": "58cb25d0aa7c2e506062ea6af3099957",
        **_COMMON,
        "origin": {"format": "openai", "key": "chat-9"},
        "messages": [
            _said("system", _text("Answer briefly.")),
            _said("user", _text("How warm is it here?"), {"type": "media", "uri": "town.png", "mime": "image/png"}),
            _said(
                "assistant",
                {"type": "reasoning", "text": "The picture shows Oslo."},
                {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
            ),
            _said("tool", _text("7"), name="get_weather", tool_call_id="call_1"),
            _said("assistant", _text("Seven degrees."), weight=1.0),
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
                },
            }
        ],
    },
    "preference": {
        "kind": "preference",
        "id": "bf682755cb156fd3364361fd9a6d2149",
        **_COMMON,
        "origin": {"format": "preference"},
        "prompt": [_said("user", _text("Is seven times six 42?"))],
        "candidates": [
            {"messages": [_said("assistant", _text("Yes."))], "score": 4.5, "rank": 1, "label": True},
            {"messages": [_said("assistant", _text("No."))], "score": 1.0, "rank": 2, "label": False},
        ],
        "tools": [],
    },
    "text": {
        "kind": "text",
        "id": "43ba3fcf607ba54c61c88ecd53a4b8c5",
        **_COMMON,
        "origin": {"format": "text"},
        "text": "It was a dark night, and the lamps of the harbour were out.",
        "title": "The harbour",
    },
}
"""A record of each kind with every field that such a record would have, as JSON values."""
