"""Prompt and completion: two texts, as fine-tuning services take them; FLAN calls them inputs and targets."""

from __future__ import annotations

from typing import Any

from didact.errors import NoPlace
from didact.formats.draft import ABSENT, Draft
from didact.formats.fields import Fields, has_text
from didact.formats.messages import is_judged, said
from didact.formats.recast import defined, only_output, turns_told, words
from didact.formats.registry import Adapter, Reading
from didact.formats.split_turns import change_split, is_turns, new_split, read_split
from didact.records import Chat, Header, Message, Record, Task, TextPart

_PROMPTS = ("prompt", "inputs_pretokenized", "inputs", "query")
_COMPLETIONS = ("completion", "response", "generation", "targets_pretokenized", "targets")


def _keys(row: dict[str, Any]) -> tuple[str, str]:
    """The row's own names of prompt and completion."""
    prompt = next((key for key in _PROMPTS if key in row), "prompt")
    return prompt, next((key for key in _COMPLETIONS if key in row), "completion")


def _is_split(row: dict[str, Any]) -> bool:
    """Whether prompt and completion are messages."""
    return any(is_turns(row.get(key)) for key in _keys(row))


def _fits(row: Any) -> float:
    if not isinstance(row, dict) or is_judged(row) or row.get("history"):
        return 0.0
    prompt, completion = _keys(row)
    split = _is_split(row) and row.get(prompt) is not None and row.get(completion) is not None
    if not (split or has_text(row, prompt, completion)):
        return 0.0
    return 1.0 if completion in ("completion", "targets", "targets_pretokenized") else 0.9


def _read(row: Any, header: Header | None) -> Reading:
    """A task whose definition is the prompt; with a system prompt or messages, a conversation."""
    del header
    fields = Fields(row)
    asked, answered = fields.first_of(_PROMPTS), fields.first_of(_COMPLETIONS)
    if is_turns(row.get(asked)) or is_turns(row.get(answered)):
        return Reading(read_split(fields, asked, answered), fields.notes)
    prompt, completion = fields.text(asked), fields.text(answered)
    if row.get("system"):
        messages = [said("system", fields.text("system")), said("user", prompt), said("assistant", completion)]
        return Reading(Chat(messages=messages, origin=fields.origin("prompt_completion")), fields.notes)
    name = fields.text("task_name") if has_text(row, "task_name") else None
    origin = fields.origin("prompt_completion")
    return Reading(Task.made(definition=prompt, outputs=[completion], task=name, origin=origin), fields.notes)


def _write(draft: Draft) -> None:
    record, was = draft.record, draft.was
    if isinstance(record, Chat) and isinstance(was, Chat) and _is_split(draft.row):
        change_split(draft, was, record, _keys(draft.row))
    elif isinstance(record, Chat) and was is None and not _is_two_texts(record):
        draft.row.update(new_split(record))
    else:
        draft.put(draft.first_of(_PROMPTS), lambda record: _said(record, "user", draft.header))
        draft.put(draft.first_of(_COMPLETIONS), lambda record: _said(record, "assistant", draft.header))
        draft.put_optional("system", lambda record: _said(record, "system", None))
        draft.put("task_name", lambda record: ABSENT if record.task is None else record.task)


def _is_two_texts(chat: Chat) -> bool:
    """Whether two texts, and a system prompt beside them, can hold a conversation."""
    origin = chat.origin
    if origin is not None and origin.format == "prompt_completion" and isinstance(origin.spelt.get("prompt"), list):
        return False  # it was messages
    plain = all(message == said(message.role, _words(message)) for message in chat.messages)
    roles = [message.role for message in chat.messages]
    system = roles[:1] == ["system"] and bool(_words(chat.messages[0]))
    return plain and not chat.tools and roles[system:] == ["user", "assistant"]


def _words(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


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


_VARIANTS: dict[str, dict[str, Any]] = {
    "messages": {
        "prompt": [{"role": "user", "content": "Two and two?"}],
        "completion": [{"role": "assistant", "content": "Four."}],
    },
    "generation": {"prompt": "<|user|>Hi<|model|>", "generation": "Hello."},
    "query and response": {"query": "Two and two?", "response": "Four."},
    "marked ends": {"prompt": "Two and two?\n\n###\n\n", "completion": " Four. END"},
}


ADAPTERS = (
    Adapter(
        name="prompt_completion",
        description="prompt and completion (or response, generation; FLAN: inputs, targets), texts or messages; "
        "optional system",
        example='{"prompt": "Two and two?", "completion": "Four."}',
        fits=_fits,
        read=_read,
        variants=_VARIANTS,
        write=_write,
        kinds=("task", "chat"),
        columns={"prompt": "prompt", "response": "completion", "system": "system"},
        moves=dict.fromkeys((*_PROMPTS, *_COMPLETIONS), is_turns),
    ),
)
