"""Messages as third parties write them, in both dialects: `role` and `content`, or `from` and `value`.

Shared by the formats whose rows hold conversations. What a message has beyond the record's fields is kept in the
origin under its JSON pointer.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from didact.errors import RowError
from didact.formats.fields import Fields, kind_of, pointer
from didact.records import MediaPart, Message, Part, ReasoningPart, TextPart, ToolCallPart

RoleName = Literal["system", "developer", "user", "assistant", "tool"]

ROLE_NAMES: dict[str, RoleName] = {
    "system": "system", "developer": "developer",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "bing": "assistant",
    "model": "assistant", "function_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool", "ipython": "tool",
}  # fmt: skip
"""Who speaks, under every name that is in use."""

_READ_KEYS = frozenset(
    (
        "role",
        "from",
        "content",
        "value",
        "name",
        "weight",
        "loss_weight",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "reasoning_content",
    )
)


def said(role: RoleName, text: str) -> Message:
    """A message of one text part."""
    return Message(role=role, parts=[TextPart(text=text)])


def with_system(messages: list[Message], system: str) -> list[Message]:
    """The messages behind a system prompt; an author's own system prompt stays the only one."""
    if not system or (messages and messages[0].role in ("system", "developer")):
        return messages
    return [said("system", system), *messages]


VERDICTS = ("label", "kto_tag")
"""Keys under which single answers are judged; such an answer may be a bad one, so its row is no plain conversation."""


def is_judged(row: dict[str, Any]) -> bool:
    """Whether a row carries a verdict on its answer."""
    return any(isinstance(row.get(key), bool) for key in VERDICTS)


def is_message(value: Any) -> bool:
    """Whether a value looks like a message of either dialect."""
    return isinstance(value, dict) and (
        ("role" in value and ("content" in value or "tool_calls" in value)) or ("from" in value and "value" in value)
    )


def speaks(value: Any, dialect: Literal["role", "from"]) -> float:
    """Share of a list's items that are messages of one dialect; 0 for anything but a list with items."""
    if not isinstance(value, list) or not value:
        return 0.0
    return sum(is_message(item) and dialect in item for item in value) / len(value)


def listed(fields: Fields, value: Any, where: str, *, usual: bool = False) -> list[Any]:
    """A list, given as one or, as CSV and Parquet files hold it, as JSON text. Raises RowError SC002.

    usual: the format itself spells this list as text, so nothing is odd about it.
    """
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise RowError("SC002", f"text that is no JSON list ({error})", where) from error
        if not usual:
            fields.note("JS005", where, "a text that holds JSON where a list belongs")
    if not isinstance(value, list):
        raise RowError("SC002", f"{kind_of(value)} where a list belongs", where)
    return value


def read_messages(fields: Fields, value: Any, where: str) -> list[Message]:
    """The messages of a list. Raises RowError SC001, SC002 or RO001."""
    items = listed(fields, value, where)
    if not items:
        raise RowError("RO005", "no message at all", where)
    return [read_message(fields, item, f"{where}/{i}") for i, item in enumerate(items)]


def read_message(fields: Fields, item: Any, where: str) -> Message:
    """One message of either dialect."""
    if not isinstance(item, dict):
        raise RowError("SC002", f"{kind_of(item)} where a message belongs", where)
    role_key = "role" if "role" in item else "from"
    if role_key not in item:
        raise RowError("SC001", "a message without 'role' or 'from'", where)
    spoken = item[role_key]
    role = ROLE_NAMES.get(spoken.lower()) if isinstance(spoken, str) else None
    if role is None:
        raise RowError("RO001", f"unknown role {spoken!r}", f"{where}/{role_key}")
    if spoken != role:
        fields.held_as(f"{where}/{role_key}".removeprefix("/"), spoken)
    for key in item.keys() - _READ_KEYS:
        fields.keep(f"{where}/{key}".removeprefix("/"), item[key])
    parts = _parts(fields, item, where, spoken)
    name, call_id = item.get("name"), item.get("tool_call_id")
    return Message(
        role=role,
        parts=parts,
        name=None if name is None else fields.spelt(name, f"{where}/name"),
        tool_call_id=None if call_id is None else fields.spelt(call_id, f"{where}/tool_call_id"),
        weight=_weight(item, where),
    )


def _weight(item: dict[str, Any], where: str) -> float | None:
    """The message's weight in the loss, under either of its two names."""
    key = "weight" if item.get("weight") is not None else "loss_weight"
    value = item.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise RowError("SC002", f"a weight is a number from 0 on, not {value!r}", f"{where}/{key}")
    return float(value)


def _parts(fields: Fields, item: dict[str, Any], where: str, spoken: str) -> list[Part]:
    """What a message says: thinking, words, calls, in this order."""
    key = "content" if "content" in item or "value" not in item else "value"
    parts: list[Part] = []
    if thinking := item.get("reasoning_content"):
        parts.append(ReasoningPart(text=fields.spelt(thinking, f"{where}/reasoning_content")))
    content = item.get(key)
    if spoken == "function_call" and (calls := _calls_in_text(content)):
        return [*parts, *calls]
    if isinstance(content, list):
        parts += [_part(fields, part, f"{where}/{key}/{i}") for i, part in enumerate(content)]
    elif content is None and key not in item and not (item.get("tool_calls") or item.get("function_call")):
        raise RowError("SC001", "a message without content", where)
    elif content is None and (item.get("tool_calls") or item.get("function_call")):
        if key in item:
            fields.nothing(f"{where}/{key}")
    elif (text := fields.spelt(content, f"{where}/{key}")) or content == "" or not parts:
        parts.append(TextPart(text=text))
    return parts + _tool_calls(fields, item, where)


def _part(fields: Fields, part: Any, where: str) -> Part:
    """One part of a message whose content is a list."""
    if isinstance(part, str):
        return TextPart(text=part)
    kind = part.get("type", "text") if isinstance(part, dict) else None
    if kind in ("text", "input_text", "output_text"):
        return TextPart(text=fields.spelt(part.get("text", part.get("value")), f"{where}/text"))
    if kind in ("reasoning", "thinking"):
        return ReasoningPart(
            text=fields.spelt(
                next((part[key] for key in ("text", "value", "thinking") if key in part), None), f"{where}/text"
            )
        )
    if kind == "tool_call":
        return _call_of(fields, orjson.loads(part["value"]) if isinstance(part.get("value"), str) else part, where)
    if kind in ("image_url", "image", "audio", "input_audio", "video", "video_url", "file"):
        return _medium(fields, part, where)
    raise RowError(
        "SC002", f"a part of unknown type {kind!r}" if kind else f"{kind_of(part)} where a part belongs", where
    )


def _medium(fields: Fields, part: dict[str, Any], where: str) -> MediaPart:
    """A picture or sound; its description is kept as it is, its address stands in the record."""
    fields.keep(where.removeprefix("/"), part)
    inner = part.get(part["type"], part.get("value", part.get("url")))
    address = inner.get("url", inner.get("path", "")) if isinstance(inner, dict) else inner
    return MediaPart(uri=address if isinstance(address, str) else "")


def _tool_calls(fields: Fields, item: dict[str, Any], where: str) -> list[ToolCallPart]:
    """The calls of a message, in the present form and in the older form with one call."""
    found: list[ToolCallPart] = []
    if calls := item.get("tool_calls"):
        found += [
            _call_of(fields, call, f"{where}/tool_calls/{i}")
            for i, call in enumerate(listed(fields, calls, f"{where}/tool_calls"))
        ]
    if call := item.get("function_call"):
        found.append(_call_of(fields, call, f"{where}/function_call"))
    return found


def _call_of(fields: Fields, call: Any, where: str) -> ToolCallPart:
    """One call; arguments given as an object are spelt as JSON."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError("SC002", "a tool call without the name of a function", where)
    identifier = call.get("id")
    return ToolCallPart(
        id=None if identifier is None else fields.spelt(identifier, f"{where}/id"),
        name=function["name"],
        arguments=_spelt_arguments(function.get("arguments", function.get("parameters", {}))),
    )


def _spelt_arguments(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


def _calls_in_text(content: Any) -> list[ToolCallPart]:
    """Calls written as the JSON text of a message; none when the text is something else."""
    try:
        value = orjson.loads(content) if isinstance(content, str) else content
    except orjson.JSONDecodeError:
        return []
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        return []
    return [ToolCallPart(name=call["name"], arguments=_spelt_arguments(call.get("arguments", {}))) for call in calls]


def read_tools(fields: Fields, key: str) -> list[dict[str, Any]]:
    """Tool definitions under a key, as a list or as JSON text. Raises RowError SC002."""
    value = fields.value(key)
    if value is None or value == "":
        return []
    tools = listed(fields, value, pointer(key), usual=True)
    for i, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise RowError("SC002", f"{kind_of(tool)} where a tool's definition belongs", pointer(key, i))
    return tools
