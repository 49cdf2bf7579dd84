"""Alpaca: instruction, input, output (or `response`, `completion`), with a system prompt and earlier turns."""

from __future__ import annotations

from typing import Any

from didact.errors import NoPlace, RowError
from didact.formats.draft import Draft
from didact.formats.fields import Fields, has_text, kind_of, pointer
from didact.formats.messages import said
from didact.formats.recast import defined, only_output, turns_told, words
from didact.formats.registry import Adapter, Reading
from didact.records import Chat, Header, Message, Record, Task

_OUTPUTS = ("output", "response", "completion")
_NO_INPUT = frozenset(("<noinput>", "noinput", "no input", "no input.", "<no input>", "n/a", "none"))
"""Spellings of an empty input, in lower case, that the generated sets of this format are full of."""


_COLUMNS = (
    ("instruction", "instruction"), ("input", "input"), ("context", "input"),
    ("output", "output"), ("response", "output"), ("system", "system"),
)  # fmt: skip


def _fits(row: Any) -> float:
    if not (has_text(row, "instruction") and any(key in row for key in _OUTPUTS)):
        return 0.0
    if isinstance(row.get("kto_tag"), bool):  # the output may be a bad one
        return 0.0
    if "context" in row and "input" not in row:
        return 0.3
    return 1.0 if "input" in row and "output" in row else 0.9


def _read(row: Any, header: Header | None) -> Reading:
    del header
    fields = Fields(row)
    instruction = fields.text("instruction")
    given = _input(fields)
    output = fields.text(fields.first_of(_OUTPUTS))
    if row.get("history") or row.get("system"):
        return _conversation(fields, instruction, given, output)
    return Reading(
        Task.made(definition=instruction, input=given, outputs=[output], origin=fields.origin("alpaca")), fields.notes
    )


def _input(fields: Fields) -> str:
    """The input; a spelling of `no input` is read as empty, and kept beside the record."""
    given = fields.optional("input", odd_null=True)
    if _says_no_input(given):
        fields.note("CO003", "/input", f"'{given}' is read as an empty input")
        fields.held_as("input", given)
        return ""
    return given


def _says_no_input(given: str) -> bool:
    return len(given) < 12 and given.strip().lower() in _NO_INPUT


def _conversation(fields: Fields, instruction: str, given: str, output: str) -> Reading:
    """A row with a system prompt or earlier turns; instruction and input become one turn."""
    messages: list[Message] = []
    if system := fields.optional("system"):
        messages.append(said("system", system))
    history = fields.value("history") or []
    if not isinstance(history, list):
        raise RowError("SC002", f"{kind_of(history)} where a list of pairs of question and answer belongs", "/history")
    for i, turn in enumerate(history):
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise RowError(
                "SC002", f"{kind_of(turn)} where a pair of question and answer belongs", pointer("history", i)
            )
        asked, answered = (fields.spelt(text, pointer("history", i, j)) for j, text in enumerate(turn))
        messages += [said("user", asked), said("assistant", answered)]
    if given:
        fields.held_as("input", given)
    messages.append(said("user", "\n\n".join(part for part in (instruction, given) if part)))
    messages.append(said("assistant", output))
    return Reading(Chat(messages=messages, origin=fields.origin("alpaca")), fields.notes)


def _write(draft: Draft) -> None:
    if isinstance(draft.record, Task):
        draft.put("instruction", lambda task: defined(task, draft.header) or "")
        draft.put("input", lambda task: task.input)
        draft.put(draft.first_of(_OUTPUTS), only_output)
        return
    turns = _pairs(draft.record)
    if draft.changed(lambda chat: _pairs(chat)[-1][0]):
        draft.row.update(asked_parts(draft.row, turns[-1][0]))
    draft.put(draft.first_of(_OUTPUTS), lambda chat: _pairs(chat)[-1][1])
    draft.put_optional("history", lambda chat: [list(pair) for pair in _pairs(chat)[:-1]])
    draft.put_optional("system", _system)


def asked_parts(row: dict[str, Any], asked: str) -> dict[str, str]:
    """Instruction and input of a turn that was edited: whichever of the two still stands in it stays."""
    instruction, given = str(row.get("instruction") or ""), str(row.get("input") or "")
    if instruction and asked.startswith(f"{instruction}\n\n"):
        return {"instruction": instruction, "input": asked[len(instruction) + 2 :]}
    if given and asked.endswith(f"\n\n{given}"):
        return {"instruction": asked[: -len(given) - 2], "input": given}
    return {"instruction": asked} | ({"input": ""} if given or not row else {})


def _system(chat: Record) -> str:
    messages = chat.messages if isinstance(chat, Chat) else []
    return words(messages[0]) if messages and messages[0].role == "system" else ""


def _pairs(chat: Record) -> list[tuple[str, str]]:
    """Turns in pairs of question and answer, behind the system prompt. Raises NoPlace when they are not."""
    messages = chat.messages if isinstance(chat, Chat) else []
    spoken = messages[1:] if messages and messages[0].role == "system" else messages
    roles = [message.role for message in spoken]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise NoPlace(f"{turns_told(roles)} where questions and answers alternate", "/messages")
    texts = [words(message) for message in spoken]
    return list(zip(texts[::2], texts[1::2], strict=True))


ADAPTERS = (
    Adapter(
        name="alpaca",
        description="instruction, input, output (or response, completion); optional system and history",
        example='{"instruction": "Sort the numbers.", "input": "3 1 2", "output": "1 2 3"}',
        fits=_fits,
        read=_read,
        write=_write,
        kinds=("task", "chat"),
        columns=dict(_COLUMNS),
        moves={"instruction": None, "input": _says_no_input, **dict.fromkeys(_OUTPUTS)},
    ),
)
