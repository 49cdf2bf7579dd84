"""OpenAI messages: role and content (text, null or parts), names, weights, tool calls and their results, tools."""

from __future__ import annotations

from typing import Any

from didact.formats.conversation import Layout
from didact.formats.messages import is_judged, speaks
from didact.formats.registry import Adapter

_LAYOUT = Layout("openai", ("messages",), dialect="role", system_apart=False)


def _fits(row: Any) -> float:
    if not isinstance(row, dict) or "chosen" in row or "rejected" in row or is_judged(row):
        return 0.0
    messages = row.get("messages")
    if isinstance(messages, str):
        return 0.8 if messages.lstrip().startswith("[") else 0.0
    return speaks(messages, "role")


_VARIANTS: dict[str, dict[str, Any]] = {
    "parts": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "cat.png"}},
                ],
            },
            {"role": "assistant", "content": "A cat.", "weight": 1},
        ]
    },
    "tools": {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
            {"role": "assistant", "content": "Cold."},
        ],
        "tools": [{"type": "function", "function": {"name": "get"}}],
    },
    "older calls": {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "function_call": {"name": "get", "arguments": "{}"}},
            {"role": "function", "name": "get", "content": "3"},
            {"role": "assistant", "content": "Cold."},
        ],
        "functions": [{"name": "get"}],
    },
    "thinking in the text": {
        "messages": [
            {"role": "user", "content": "6 * 7?"},
            {"role": "assistant", "content": "<think>6 rows of 7.</think>42"},
        ]
    },
    "thinking beside the text": {
        "messages": [
            {"role": "user", "content": "6 * 7?"},
            {"role": "assistant", "reasoning_content": "6 rows of 7.", "content": "42"},
        ]
    },
    "typed values": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "value": "Hi"}], "loss_weight": 0.0},
            {
                "role": "assistant",
                "content": [{"type": "reasoning", "value": "Greet."}, {"type": "text", "value": "Hello."}],
                "loss_weight": 1.0,
            },
        ]
    },
    "JSON text": {"messages": '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]'},
}


ADAPTERS = (
    Adapter(
        name="openai",
        description="messages of {role, content}, with name, weight, tool_calls, tool_call_id; optional tools",
        example='{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}',
        fits=_fits,
        read=_LAYOUT.read,
        variants=_VARIANTS,
        write=_LAYOUT.write,
        kinds=("chat",),
        columns={"messages": "messages", "system": "system"},
    ),
)
