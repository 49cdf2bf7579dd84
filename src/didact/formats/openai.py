"""OpenAI messages: role and content (text, null or parts), names, weights, tool calls and their results, tools."""

from __future__ import annotations

from typing import Any

from didact.formats.fields import Fields
from didact.formats.messages import is_judged, read_messages, read_tools, said, speaks
from didact.formats.registry import Adapter, Reading
from didact.records import Chat, Header


def _fits(row: Any) -> float:
    if not isinstance(row, dict) or "chosen" in row or "rejected" in row or is_judged(row):
        return 0.0
    messages = row.get("messages")
    if isinstance(messages, str):
        return 0.8 if messages.lstrip().startswith("[") else 0.0
    return speaks(messages, "role")


def _read(row: Any, header: Header | None) -> Reading:
    del header
    fields = Fields(row)
    if "messages" not in fields:
        fields.text("messages")
    messages = read_messages(fields, fields.value("messages"), "/messages")
    if "system" in fields and (system := fields.optional("system")):
        messages.insert(0, said("system", system))
    tools = read_tools(fields, "tools") + read_tools(fields, "functions")
    return Reading(Chat(messages=messages, tools=tools, origin=fields.origin("openai")), fields.notes)


ADAPTERS = (
    Adapter(
        name="openai",
        description="messages of {role, content}, with name, weight, tool_calls, tool_call_id; optional tools",
        example='{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}',
        fits=_fits,
        read=_read,
        columns={"messages": "messages", "system": "system"},
    ),
)
