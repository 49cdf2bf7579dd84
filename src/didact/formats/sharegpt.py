"""ShareGPT: conversations of `from` and `value`, with an optional system prompt and tools."""

from __future__ import annotations

from typing import Any

from didact.formats.fields import Fields
from didact.formats.messages import is_judged, read_messages, read_tools, said, speaks
from didact.formats.registry import Adapter, Reading
from didact.records import Chat, Header

_KEYS = ("conversations", "conversation")


def _fits(row: Any) -> float:
    if not isinstance(row, dict) or "chosen" in row or "rejected" in row or is_judged(row):
        return 0.0
    turns = next((row[key] for key in _KEYS if key in row), None)
    return max(speaks(turns, "from"), 0.8 * speaks(turns, "role"))


def _read(row: Any, header: Header | None) -> Reading:
    del header
    fields = Fields(row)
    key = fields.first_of(_KEYS)
    if key not in fields:
        fields.text(key)
    messages = read_messages(fields, fields.value(key), f"/{key}")
    if "system" in fields and (system := fields.optional("system")):
        messages.insert(0, said("system", system))
    tools = read_tools(fields, "tools")
    return Reading(Chat(messages=messages, tools=tools, origin=fields.origin("sharegpt")), fields.notes)


ADAPTERS = (
    Adapter(
        name="sharegpt",
        description="conversations of {from: human|gpt|system|tool|..., value}; optional system and tools",
        example='{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}',
        fits=_fits,
        read=_read,
        columns={"messages": "conversations", "system": "system"},
    ),
)
