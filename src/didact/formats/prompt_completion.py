"""Prompt and completion: two texts, as fine-tuning services take them; FLAN calls them inputs and targets."""

from __future__ import annotations

from typing import Any

from didact.formats.fields import Fields, has_text
from didact.formats.messages import is_judged, said
from didact.formats.registry import Adapter, Reading
from didact.records import Chat, Header, Task

_PROMPTS = ("prompt", "inputs")
_COMPLETIONS = ("completion", "response", "generation", "targets")


def _fits(row: Any) -> float:
    if not isinstance(row, dict) or is_judged(row):
        return 0.0
    prompt = next((key for key in _PROMPTS if key in row), "prompt")
    completion = next((key for key in _COMPLETIONS if key in row), "completion")
    if not has_text(row, prompt, completion):
        return 0.0
    return 1.0 if completion in ("completion", "targets") else 0.9


def _read(row: Any, header: Header | None) -> Reading:
    """A task whose definition is the prompt; with a system prompt, a conversation."""
    del header
    fields = Fields(row)
    prompt, completion = fields.text(fields.first_of(_PROMPTS)), fields.text(fields.first_of(_COMPLETIONS))
    if row.get("system"):
        messages = [said("system", fields.text("system")), said("user", prompt), said("assistant", completion)]
        return Reading(Chat(messages=messages, origin=fields.origin("prompt_completion")), fields.notes)
    name = fields.text("task_name") if has_text(row, "task_name") else None
    task = Task(definition=prompt, outputs=[completion], task=name, origin=fields.origin("prompt_completion"))
    return Reading(task, fields.notes)


ADAPTERS = (
    Adapter(
        name="prompt_completion",
        description="prompt and completion (or response, generation; FLAN: inputs, targets) as texts; optional system",
        example='{"prompt": "Two and two?", "completion": "Four."}',
        fits=_fits,
        read=_read,
        columns={"prompt": "prompt", "response": "completion", "system": "system"},
    ),
)
