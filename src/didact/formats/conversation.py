"""Rows that hold one conversation: a list of messages, a system prompt and tools beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from didact.errors import RowError
from didact.formats.bare_text import read_text, written_text
from didact.formats.draft import Draft
from didact.formats.fields import Fields, pointer
from didact.formats.json_edit import spelled
from didact.formats.message_writing import edited_json, written_messages
from didact.formats.messages import RoleName, read_messages, read_tools, said
from didact.formats.new_messages import Dialect, Spelling, new_messages, own_spelling
from didact.formats.recast import recast
from didact.formats.registry import Reading
from didact.records import Chat, Header, Message, Record, TextPart

SYSTEM_KEYS = ("system", "system_prompt")
"""Keys beside the messages that hold a system prompt."""

_PAIRED = "pairs"
"""What an origin remembers of a layout besides the keys: that a turn held both sides."""

_SIDES: tuple[tuple[str, RoleName], ...] = (("human", "user"), ("assistant", "assistant"))


def is_pairs(value: Any) -> bool:
    """Whether a value is a list of turns with both sides in one object."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, dict) and "human" in turn and "role" not in turn and "from" not in turn for turn in value
        )
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a format's rows hold their conversation."""

    format_name: str
    keys: tuple[str, ...]
    """Names of the messages' key, the usual one first."""
    dialect: Dialect
    """Of new messages."""
    system_apart: bool
    """Whether the system prompt of a new row stands beside the messages."""

    def usual(self, messages: Sequence[Message]) -> list[str]:
        """How a new row is laid out: the messages' key, and what else is to be said about it."""
        apart = self.system_apart and len(messages) > 1 and is_plain_system(messages[0])
        return [self.keys[0], SYSTEM_KEYS[0]] if apart else [self.keys[0]]

    def read(self, row: Any, header: Header | None) -> Reading:
        """A row as a conversation. Raises RowError."""
        del header
        fields = Fields(row)
        key = fields.first_of(self.keys)
        if key not in fields:
            fields.text(key)
        layout, value = [key], fields.value(key)
        if is_pairs(value):
            layout.append(_PAIRED)
            messages = _read_pairs(fields, value, key)
        else:
            messages = read_messages(fields, value, f"/{key}")
        if system_key := system_key_of(row):
            layout.append(system_key)
            messages.insert(0, said("system", fields.optional(system_key)))
        if layout != self.usual(messages):
            fields.held_as(self.keys[0], layout)
        tools = read_tools(fields, "tools") + read_tools(fields, "functions")
        return Reading(Chat(messages=messages, tools=tools, origin=fields.origin(self.format_name)), fields.notes)

    def write(self, draft: Draft) -> None:
        """Put a conversation into a row."""
        now = _chat(draft.record, draft.header)
        spelling = own_spelling(now, self.format_name, self.dialect)
        if draft.was is None:
            told = spelling.remembered(f"/{self.keys[0]}")
            layout = told if isinstance(told, list) else self.usual(now.messages)
            draft.row.update(_laid_out(now.messages, layout, spelling))
        else:
            _change(draft.row, draft.first_of(self.keys), _chat(draft.was, None), now, spelling)
        was = None if draft.was is None else _chat(draft.was, None).tools
        write_tools(draft.row, was, now.tools, as_text=self.dialect == "from")


def system_key_of(row: dict[str, Any]) -> str | None:
    """The key of a row's system prompt, when it has one that says something."""
    key = next((key for key in SYSTEM_KEYS if key in row), "")
    return key if isinstance(row.get(key), str | int | float) and row[key] else None


def _read_pairs(fields: Fields, turns: list[dict[str, Any]], key: str) -> list[Message]:
    messages = []
    for i, turn in enumerate(turns):
        for side, role in _SIDES:
            if turn.get(side) is not None:
                messages.append(read_text(fields, turn[side], pointer(key, i, side), role))
        for other in turn:
            if other not in ("human", "assistant") or turn[other] is None:
                fields.keep(pointer(key, i, other)[1:], turn[other])
    if not messages:
        raise RowError("RO005", "no message at all", pointer(key))
    return messages


# --- writing


def _chat(record: Record, header: Header | None) -> Chat:
    chat = recast(record, "chat", header)
    assert isinstance(chat, Chat)
    return chat


def _laid_out(messages: Sequence[Message], layout: list[str], spelling: Spelling) -> dict[str, Any]:
    """A new row's messages and system prompt."""
    key, system_key = layout[0], next((name for name in SYSTEM_KEYS if name in layout), None)
    apart = system_key is not None and len(messages) > 1 and is_plain_system(messages[0])
    pairs = _new_pairs(messages[apart:]) if _PAIRED in layout else None
    row = {key: new_messages(messages[apart:], f"/{key}", spelling) if pairs is None else pairs}
    return row | ({system_key: _words(messages[0])} if apart and system_key else {})


def is_plain_system(message: Message) -> bool:
    """Whether a key beside the messages can hold a message."""
    return message.role == "system" and bool(_words(message)) and said("system", _words(message)) == message


def _words(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


def _change(row: dict[str, Any], key: str, old: Chat, new: Chat, spelling: Spelling) -> None:
    """Change messages and the system prompt beside them, where they would read as something else."""
    was, now = old.messages, new.messages
    system_key = system_key_of(row)
    if system_key is not None:
        apart = len(now) > 1 and is_plain_system(now[0])
        if not apart or now[0] != was[0]:
            row[system_key] = _words(now[0]) if apart else ""
        was, now = was[1:], now[apart:]
    if was == now:
        return
    if is_pairs(row[key]):
        pairs = _changed_pairs(row[key], was, now) or _new_pairs(now)
        row[key] = new_messages(now, "", Spelling(spelling.dialect, whole=True)) if pairs is None else pairs
    else:
        row[key] = written_messages(row[key], was, now, spelling)


def _changed_pairs(turns: list[dict[str, Any]], was: Sequence[Message], now: Sequence[Message]) -> list[Any] | None:
    """Pairs with each side changed where it stands; None when the turns are others."""
    if [message.role for message in was] != [message.role for message in now]:
        return None
    rest = iter(zip(was, now, strict=True))
    changed = [dict(turn) for turn in turns]
    for turn in changed:
        for side, _ in _SIDES:
            if turn.get(side) is None:
                continue
            before, after = next(rest)
            if before != after:
                turn[side] = written_text(turn[side], before, after)
                if turn[side] is None:
                    return None
    return changed


def _new_pairs(messages: Sequence[Message]) -> list[dict[str, str]] | None:
    """A conversation as pairs; None when it does not alternate or says more than words."""
    if [message.role for message in messages] != ["user", "assistant"] * (len(messages) // 2):
        return None
    texts = [written_text(None, message, message) for message in messages]
    if None in texts:
        return None
    return [
        {"human": asked or "", "assistant": told or ""} for asked, told in zip(texts[::2], texts[1::2], strict=True)
    ]


def write_tools(
    row: dict[str, Any], was: list[dict[str, Any]] | None, tools: list[dict[str, Any]], *, as_text: bool = False
) -> None:
    """Put the tools into their key, in the form the row has; definitions under the older key stay there.

    `was`: what the row reads as; None for a new row.
    """
    if was == tools:
        return
    older = listed_or_none(row.get("functions"))
    if older is not None and tools[len(tools) - len(older) :] == older:
        tools = tools[: len(tools) - len(older)]
    elif older is not None:
        row.pop("functions")
    if isinstance(row.get("tools"), str) and row["tools"]:
        row["tools"] = edited_json(row["tools"], lambda _: tools)
    elif tools or "tools" in row:
        row["tools"] = spelled(tools) if as_text and not isinstance(row.get("tools"), list) else tools


def listed_or_none(value: Any) -> list[Any] | None:
    """A list of something, given as one or as JSON text."""
    if isinstance(value, str) and value:
        value = orjson.loads(value)
    return value if isinstance(value, list) and value else None
