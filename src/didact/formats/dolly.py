"""Dolly: instruction, context, response, category."""

from __future__ import annotations

from typing import Any

from didact.canonical import content_hash
from didact.formats.draft import Draft
from didact.formats.fields import Fields, has_text
from didact.formats.recast import defined, only_output
from didact.formats.registry import Adapter, Reading
from didact.records import Header, Task


def _fits(row: Any) -> float:
    if not has_text(row, "instruction", "response") or "context" not in row:
        return 0.0
    return 1.0 if "category" in row else 0.9


def _read(row: Any, header: Header | None) -> Reading:
    """Rows on the same passage share a group."""
    del header
    fields = Fields(row)
    instruction, context, response = (
        fields.text("instruction"),
        fields.optional("context", odd_null=True),
        fields.text("response"),
    )
    category = fields.optional("category") if "category" in fields else ""
    task = Task(
        definition=instruction,
        input=context,
        outputs=[response],
        tags=[category] if category else [],
        group=content_hash(context) if context.strip() else None,
        origin=fields.origin("dolly"),
    )
    return Reading(task, fields.notes)


def _write(draft: Draft) -> None:
    draft.put("instruction", lambda task: defined(task, draft.header) or "")
    draft.put("context", lambda task: task.input)
    draft.put("response", only_output)
    draft.put_optional("category", lambda task: task.tags[0] if task.tags else "")


ADAPTERS = (
    Adapter(
        name="dolly",
        description="instruction, context, response, category",
        example='{"instruction": "Who wrote it?", "context": "Emma is by Jane Austen.", "response": "Jane Austen.", '
        '"category": "closed_qa"}',
        fits=_fits,
        read=_read,
        write=_write,
        kinds=("task",),
        moves={"instruction": None, "context": bool, "response": None},  # a passage names a group
        columns={
            "instruction": "instruction",
            "context": "context",
            "input": "context",
            "response": "response",
            "output": "response",
        },
    ),
)
