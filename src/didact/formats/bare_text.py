"""Bare texts of which it is known who speaks, and transcripts that hold a whole dialogue in one text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from didact.formats.fields import Fields
from didact.formats.message_writing import change_to
from didact.formats.messages import RoleName
from didact.formats.new_messages import set_off
from didact.formats.parts import spoken_text
from didact.records import Message, ReasoningPart, TextPart

_SPOKEN = re.compile(r"\n\nHuman: |\n\nAssistant: ?")
"""How transcripts mark who speaks."""


def read_text(fields: Fields, value: Any, where: str, role: RoleName) -> Message:
    """What a role says in a bare text; an assistant's may open with thinking. Raises RowError SC002."""
    placed = spoken_text(fields, fields.spelt(value, where), where, role, ())
    return Message(role=role, parts=[part for part, _, _ in placed])


def written_text(value: Any, was: Message, now: Message) -> str | None:
    """A bare text, changed where it would read as something else; None when no text reads as the message."""
    placed = spoken_text(Fields({}), value, "", was.role, ()) if isinstance(value, str) else []
    if placed and [part.type for part, _, _ in placed] == [part.type for part in now.parts]:
        text = value
        for (_, _, span), new in reversed([*zip(placed, now.parts, strict=True)]):
            text = change_to(new, span)(text)
        if _reads_as(text, now):
            return str(text)
    return new_text(now)


def new_text(message: Message, spelling: Any = None) -> str | None:
    """A message as a bare text, its thinking set off as remembered; None when no text reads as it."""
    thinking = message.parts[0].text if message.parts and isinstance(message.parts[0], ReasoningPart) else None
    words = "".join(part.text for part in message.parts if isinstance(part, TextPart))
    text = words if thinking is None else set_off(thinking, words, spelling)
    return text if _reads_as(text, message) else None


def _reads_as(text: str, message: Message) -> bool:
    return read_text(Fields({}), text, "", message.role) == message


# --- transcripts


def turns_of(text: str, role: RoleName) -> list[tuple[RoleName, int, int]]:
    """Who speaks in a transcript, and where; none when the text is something else.

    A transcript that the user says the last word in may end with a mark that asks for an answer, which is no turn.
    """
    marks = list(_SPOKEN.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        return []
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    found: list[tuple[RoleName, int, int]] = [
        ("user" if "Human" in mark[0] else "assistant", mark.end(), end) for mark, end in zip(marks, ends, strict=True)
    ]
    asks = role == "user" and len(found) > 1 and not text[found[-1][1] :].strip()
    return found[:-1] if asks else found


def read_transcript(text: str, role: RoleName) -> list[Message]:
    """The turns of a transcript whose last word `role` has; none when the text is something else."""
    return [Message(role=speaker, parts=[TextPart(text=text[a:b])]) for speaker, a, b in turns_of(text, role)]


def written_transcript(text: str, now: Sequence[Message], role: RoleName) -> str | None:
    """A transcript, changed where it would read as something else; None when none reads as the messages."""
    turns = turns_of(text, role)
    if [speaker for speaker, _, _ in turns] == [message.role for message in now]:
        changed = text
        for (_, start, end), message in reversed([*zip(turns, now, strict=True)]):
            changed = changed[:start] + _words(message) + changed[end:]
        if read_transcript(changed, role) == list(now):
            return changed
    return new_transcript(now, role)


def new_transcript(messages: Sequence[Message], role: RoleName) -> str | None:
    """Messages as a transcript; None when none reads as they do."""
    names = {"user": "Human", "assistant": "Assistant"}
    if not all(message.role in names for message in messages):
        return None
    text = "".join(f"\n\n{names[message.role]}: {_words(message)}" for message in messages)
    return text if read_transcript(text, role) == list(messages) else None


def _words(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))
