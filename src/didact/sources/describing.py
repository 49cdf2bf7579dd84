"""What a source's settings say about all its records."""

from __future__ import annotations

from typing import Any

from didact.formats.messages import said, with_system
from didact.formats.pointers import value_at
from didact.recipe.sources import Source
from didact.records import Chat, Header, PlainText, Preference, Record
from didact.records.base import Turn

_SETTINGS = ("system", "license", "language", "task", "split", "group")
_DEFAULTS = ("language", "task", "split")
"""Those of them that a record's own word goes before."""


def describes(source: Source) -> bool:
    """Whether a source's settings say anything about its records."""
    return any(getattr(source, name) is not None for name in _SETTINGS)


def with_metadata(record: Record, row: Any, source: Source, header: Header | None) -> Record:
    """The record with what the source's settings say about all its records."""
    if source.system:
        record = _prompted(record, source.system, header)
    fields = vars(record)
    if source.license is not None:
        fields["license"] = source.license
    for name in _DEFAULTS:
        if fields[name] is None:
            fields[name] = getattr(source, name)
    if source.group is not None and (group := value_at(row, source.group)) is not None:
        record.group = str(group)
    return record


def _prompted(record: Record, system: str, header: Header | None) -> Record:
    """The record behind a system prompt. Questions and tasks become the conversation that they are rendered as."""
    if isinstance(record, Chat):
        record.messages = with_system(record.messages, system)
        return record
    if isinstance(record, Preference):
        record.prompt = with_system(record.prompt, system)
        return record
    if isinstance(record, PlainText):
        return record
    turns: list[Turn] = record.dialogue(header)
    messages = [said("assistant" if turn["role"] == "assistant" else "user", turn["content"]) for turn in turns]
    shared = record.model_dump(include={"task", "tags", "group", "language", "split", "header"})
    return Chat(messages=with_system(messages, system), origin=record.origin, **shared)
