"""Turns under a key of a row: messages, a single one, a text of which it is known who speaks, or a transcript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from didact.errors import RowError
from didact.formats.bare_text import new_text, read_text, read_transcript, written_text, written_transcript
from didact.formats.fields import Fields
from didact.formats.message_writing import written_message, written_messages
from didact.formats.messages import RoleName, is_message, read_message, read_messages
from didact.formats.new_messages import Spelling, new_message, new_messages, own_dialect
from didact.records import Message, TextPart


def read_turns(fields: Fields, value: Any, where: str, role: RoleName) -> list[Message]:
    """Turns in any form; a bare text is what `role` says. Raises RowError."""
    if is_message(value):
        return [read_message(fields, value, where)]
    if isinstance(value, list) or _is_json(value):
        return read_messages(fields, value, where)
    if isinstance(value, str) and (turns := read_transcript(value, role)):
        return turns
    return [read_text(fields, value, where, role)]


def _is_json(value: Any) -> bool:
    """Whether a value is the JSON text of a list of messages, as a cell of a table holds it."""
    if not isinstance(value, str) or not value.startswith("[{"):
        return False
    try:
        items = orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return isinstance(items, list) and all(map(is_message, items))


def written_turns(value: Any, was: Sequence[Message], now: Sequence[Message], role: RoleName) -> Any:
    """Turns, changed where they would read as something else, in the form they have if it can hold them."""
    if list(was) == list(now):
        return value
    whole = Spelling("role", whole=True)
    if is_message(value):
        return written_message(value, was[0], now[0]) if len(now) == 1 else new_messages(now, "", whole)
    if isinstance(value, list) or _is_json(value):
        return written_messages(value, was, now, whole)
    changed: str | None = None
    if isinstance(value, str) and read_transcript(value, role):
        changed = written_transcript(value, now, role)
    elif len(now) == 1 and now[0].role == role:
        changed = written_text(value, was[0], now[0])
    return changed if _reads_as(changed, now, role) else new_messages(now, "", whole)


def is_plain(messages: Sequence[Message], role: RoleName) -> bool:
    """Whether turns are words of one speaker and nothing else, so that a bare text can hold them."""
    if len(messages) != 1 or len(messages[0].parts) != 1 or not isinstance(messages[0].parts[0], TextPart):
        return False
    return _reads_as(messages[0].parts[0].text, messages, role)


def new_turns(messages: Sequence[Message], where: str, role: RoleName, spelling: Spelling, *, plain: bool) -> Any:
    """Turns that no author wrote: as a text when `plain` and the origin does not tell of messages."""
    told = spelling.below(where)
    if told and not any(step.isdigit() for step in told) and len(messages) == 1:
        return new_message(messages[0], where, own_dialect(spelling, where))
    if not told and plain and len(messages) == 1 and messages[0].role == role:
        text = new_text(messages[0], spelling.remembered(where))
        if _reads_as(text, messages, role):
            return text
    return new_messages(messages, where, spelling)


def _reads_as(text: str | None, messages: Sequence[Message], role: RoleName) -> bool:
    if text is None:
        return False
    try:
        return read_turns(Fields({}), text, "", role) == list(messages)
    except RowError:
        return False
