"""Classification: a text and its label, under the column names that are in use."""

from __future__ import annotations

from typing import Any

from didact.errors import RowError
from didact.formats.draft import Draft
from didact.formats.fields import Fields, has_text, shown_keys
from didact.formats.recast import only_output
from didact.formats.registry import Adapter, Reading
from didact.records import Header, Task

_TEXTS = ("text", "sentence", "review", "content")
_LABELS = ("label", "labels", "class", "sentiment", "label_text", "category")
_OTHERS = frozenset(
    ("instruction", "prompt", "question", "messages", "conversations", "chosen", "completion", "choices")
)
"""Keys of rows that are something else, with a label beside it."""


def _fits(row: Any) -> float:
    if not isinstance(row, dict) or _OTHERS & row.keys():
        return 0.0
    text, label = _key(row, _TEXTS), _key(row, _LABELS)
    if text is None or label is None or not has_text(row, text, label):
        return 0.0
    return 0.9 if label in ("label", "sentiment", "class") else 0.6


def _key(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in row), None)


def _read(row: Any, header: Header | None) -> Reading:
    """The text is the input, the label the output; what is asked of the text, a `system` or a template has to say."""
    del header
    fields = Fields(row)
    text_key, label_key = fields.first_of(_TEXTS), fields.first_of(_LABELS)
    text, label = fields.text(text_key), fields.value(label_key)
    if label_key not in row:
        raise RowError("SC001", f"no label: none of {', '.join(_LABELS)}; the row has {shown_keys(row)}", "/label")
    if label is None or label == "":
        raise RowError("QA001", "the label is withheld", f"/{label_key}")
    if isinstance(label, bool | int | float):
        # A number is how most sets spell a class; it is no dirt, so there is no warning.
        fields.held_as(label_key, label)
        label = str(label)
    return Reading(
        Task(input=text, outputs=[fields.spelt(label, f"/{label_key}")], origin=fields.origin("classification")),
        fields.notes,
    )


def _write(draft: Draft) -> None:
    text_key, label_key = draft.first_of(_TEXTS), draft.first_of(_LABELS)
    draft.put(text_key, lambda task: "\n\n".join(part for part in (task.definition, task.input) if part))
    draft.put(label_key, only_output)


ADAPTERS = (
    Adapter(
        name="classification",
        description="a text (or sentence, review, content) and its label (or class, sentiment)",
        example='{"text": "The soup was cold.", "label": "negative"}',
        fits=_fits,
        read=_read,
        columns={"text": "text", "input": "text", "label": "label", "output": "label"},
        write=_write,
        kinds=("task",),
        moves=dict.fromkeys(_TEXTS),
    ),
)
