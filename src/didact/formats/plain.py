"""Plain text: units of a text file, or rows with a `text`."""

from __future__ import annotations

from typing import Any

from didact.formats.draft import ABSENT, Draft
from didact.formats.fields import Fields, has_text
from didact.formats.registry import Adapter, Reading
from didact.records import Header, Origin, PlainText

_OTHERS = ("instruction", "messages", "conversations", "prompt", "question", "chosen", "label")
"""Keys of rows whose `text` is a rendering of, or a part of, something else."""


def _fits(row: Any) -> float:
    if isinstance(row, str):
        return 1.0
    if not has_text(row, "text"):
        return 0.0
    return 0.2 if any(key in row for key in _OTHERS) else 1.0


def _read(row: Any, header: Header | None) -> Reading:
    del header
    if isinstance(row, str):
        return Reading(PlainText(text=row, origin=Origin.bare("text")), [])
    fields = Fields(row)
    text = fields.text("text")
    title = fields.text("title") if isinstance(row.get("title"), str) else None
    return Reading(PlainText(text=text, title=title, origin=fields.origin("text")), fields.notes)


def _write(draft: Draft) -> None:
    draft.put("text", lambda record: record.text)
    draft.put("title", lambda record: ABSENT if record.title is None else record.title)


ADAPTERS = (
    Adapter(
        name="text",
        description="plain text by paragraphs, lines or files; or rows with text and an optional title",
        example='{"text": "It was a dark night.", "title": "Night"}',
        fits=_fits,
        read=_read,
        write=_write,
        kinds=("text",),
        columns={"text": "text"},
        moves={"text": None},
    ),
)
