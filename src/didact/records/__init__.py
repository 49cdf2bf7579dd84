"""What a record is: one module per kind, findings, the table form, the JSON Schemas."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from didact.records.base import ROLES, Common, Example, Header, Origin, Role, Text, Turn
from didact.records.chat import Chat, MediaPart, Message, Part, ReasoningPart, TextPart, ToolCallPart
from didact.records.plain import PlainText
from didact.records.preference import Candidate, Preference
from didact.records.qa import QA, Answer, Choice
from didact.records.task import Task

KINDS: dict[str, type[QA | Task | Chat | Preference | PlainText]] = {
    "qa": QA,
    "task": Task,
    "chat": Chat,
    "preference": Preference,
    "text": PlainText,
}
"""The five kinds of record, by the value of their `kind`."""

Record = QA | Task | Chat | Preference | PlainText
AnyRecord: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
"""Reads a record of any kind: `AnyRecord.validate_json(text)`."""

__all__ = [
    "KINDS",
    "QA",
    "ROLES",
    "Answer",
    "AnyRecord",
    "Candidate",
    "Chat",
    "Choice",
    "Common",
    "Example",
    "Header",
    "MediaPart",
    "Message",
    "Origin",
    "Part",
    "PlainText",
    "Preference",
    "ReasoningPart",
    "Record",
    "Role",
    "Task",
    "Text",
    "TextPart",
    "ToolCallPart",
    "Turn",
]
