"""Messages as third parties write them, in both dialects: `role` and `content`, or `from` and `value`.

Shared by the formats whose rows hold conversations. What a message has beyond the record's fields is kept in the
origin under its JSON pointer.
"""

from __future__ import annotations

from typing import Any, Literal

from didact.errors import RowError
from didact.formats.fields import Fields, kind_of, pointer
from didact.formats.parts import Placed, content_key, listed, placed_parts
from didact.records import Message, TextPart

RoleName = Literal["system", "developer", "user", "assistant", "tool"]

ROLE_NAMES: dict[str, RoleName] = {
    "system": "system", "developer": "developer",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "bing": "assistant",
    "model": "assistant", "function_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool", "ipython": "tool",
}  # fmt: skip
"""Who speaks, under every name that is in use."""

WEIGHTS = ("weight", "loss_weight", "loss", "train", "training")
"""Keys under which a message's weight in the loss stands: as a number, or as yes and no."""


def said(role: RoleName, text: str) -> Message:
    """A message of one text part."""
    return Message.made(role=role, parts=[TextPart.made(text=text)])


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


def read_messages(fields: Fields, value: Any, where: str) -> list[Message]:
    """The messages of a list. Raises RowError SC001, SC002 or RO001."""
    items = listed(fields, value, where)
    if not items:
        raise RowError("RO005", "no message at all", where)
    return [read_message(fields, item, f"{where}/{i}") for i, item in enumerate(items)]


def read_message(fields: Fields, item: Any, where: str) -> Message:
    """One message of either dialect."""
    return placed_message(fields, item, where)[0]


def placed_message(fields: Fields, item: Any, where: str) -> tuple[Message, list[Placed]]:
    """One message, and where in it each of its parts stands."""
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
    placed = placed_parts(fields, item, where, role, spoken.lower())
    parts = [part for part, _, _ in placed]
    if len(item) == 2 and placed:
        return Message.made(role=role, parts=parts), placed
    weighed, weight = _weight(item, where)
    name, call_id = item.get("name"), item.get("tool_call_id")
    used = {role_key, content_key(item), weighed, *(path[0] for _, path, _ in placed)}
    for key in item:
        if key not in used and not (key in ("name", "tool_call_id") and item[key] is not None):
            fields.keep(f"{where}{pointer(key)}".removeprefix("/"), item[key])
    message = Message.made(
        role=role,
        parts=parts,
        name=None if name is None else fields.spelt(name, f"{where}/name"),
        tool_call_id=None if call_id is None else fields.spelt(call_id, f"{where}/tool_call_id"),
        weight=weight,
    )
    return message, placed


def weight_key(item: dict[str, Any]) -> str | None:
    """The key that holds a message's weight, the first that says something."""
    return next(
        (
            key
            for key in WEIGHTS
            if item.get(key) is not None and (key in WEIGHTS[:2] or isinstance(item[key], bool | int | float))
        ),
        None,
    )


def _weight(item: dict[str, Any], where: str) -> tuple[str | None, float | None]:
    """The key of the message's weight in the loss, and the weight."""
    key = weight_key(item)
    if key is None:
        return None, None
    value = item[key]
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise RowError("SC002", f"a weight is a number from 0 on, not {value!r}", f"{where}/{key}")
    return key, float(value)


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
