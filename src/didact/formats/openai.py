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


ADAPTERS = (
    Adapter(
        name="openai",
        description="messages of {role, content}, with name, weight, tool_calls, tool_call_id; optional tools",
        example='{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}',
        fits=_fits,
        read=_LAYOUT.read,
        write=_LAYOUT.write,
        kinds=("chat",),
        columns={"messages": "messages", "system": "system"},
    ),
)
