"""Prompt and completion: two texts, as fine-tuning services take them; FLAN calls them inputs and targets."""

from __future__ import annotations

from typing import Any

from didact.errors import NoPlace
from didact.formats.draft import ABSENT, Draft
from didact.formats.fields import Fields, has_text
from didact.formats.messages import is_judged, said
from didact.formats.recast import defined, only_output, turns_told, words
from didact.formats.registry import Adapter, Reading
from didact.records import Chat, Header, Record, Task

_PROMPTS = ("prompt", "inputs_pretokenized", "inputs")
_COMPLETIONS = ("completion", "response", "generation", "targets_pretokenized", "targets")


def _fits(row: Any) -> float:
    if not isinstance(row, dict) or is_judged(row):
        return 0.0
    prompt = next((key for key in _PROMPTS if key in row), "prompt")
    completion = next((key for key in _COMPLETIONS if key in row), "completion")
    if not has_text(row, prompt, completion):
        return 0.0
    return 1.0 if completion in ("completion", "targets", "targets_pretokenized") else 0.9


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


def _write(draft: Draft) -> None:
    draft.put(draft.first_of(_PROMPTS), lambda record: _said(record, "user", draft.header))
    draft.put(draft.first_of(_COMPLETIONS), lambda record: _said(record, "assistant", draft.header))
    draft.put_optional("system", lambda record: _said(record, "system", None))
    draft.put("task_name", lambda record: ABSENT if record.task is None else record.task)


def _said(record: Record, role: str, header: Header | None) -> str:
    """What one side says: system prompt, prompt, or completion. Raises NoPlace for longer conversations."""
    if isinstance(record, Task):
        parts = {"user": "\n\n".join(part for part in (defined(record, header), record.input) if part)}
        return parts.get(role, only_output(record) if role == "assistant" else "")
    messages = record.messages if isinstance(record, Chat) else []
    roles = [message.role for message in messages]
    if roles[-2:] != ["user", "assistant"] or roles[:-2] not in ([], ["system"]):
        raise NoPlace(f"{turns_told(roles)} where prompt and completion belong", "/messages")
    return next((words(message) for message in messages if message.role == role), "")


ADAPTERS = (
    Adapter(
        name="prompt_completion",
        description="prompt and completion (or response, generation; FLAN: inputs, targets) as texts; optional system",
        example='{"prompt": "Two and two?", "completion": "Four."}',
        fits=_fits,
        read=_read,
        write=_write,
        kinds=("task", "chat"),
        columns={"prompt": "prompt", "response": "completion", "system": "system"},
    ),
)
