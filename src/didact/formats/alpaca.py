"""Alpaca: instruction, input, output (or `response`, `completion`), with a system prompt and earlier turns."""

from __future__ import annotations

from typing import Any

from didact.errors import RowError
from didact.formats.fields import Fields, has_text, kind_of, pointer
from didact.formats.messages import said
from didact.formats.registry import Adapter, Reading
from didact.records import Chat, Header, Message, Task

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
        Task(definition=instruction, input=given, outputs=[output], origin=fields.origin("alpaca")), fields.notes
    )


def _input(fields: Fields) -> str:
    """The input; a spelling of `no input` is read as empty, and kept beside the record."""
    given = fields.optional("input")
    if len(given) < 12 and given.strip().lower() in _NO_INPUT:
        fields.note("CO003", "/input", f"'{given}' is read as an empty input")
        fields.keep("input", given)
        return ""
    return given


def _conversation(fields: Fields, instruction: str, given: str, output: str) -> Reading:
    """A row with a system prompt or earlier turns; instruction and input become one turn."""
    messages: list[Message] = []
    if system := fields.optional("system"):
        messages.append(said("system", system))
    for i, turn in enumerate(fields.value("history") or ()):
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise RowError(
                "SC002", f"{kind_of(turn)} where a pair of question and answer belongs", pointer("history", i)
            )
        asked, answered = (fields.spelt(text, pointer("history", i, j)) for j, text in enumerate(turn))
        messages += [said("user", asked), said("assistant", answered)]
    if given:
        fields.keep("input", given)
    messages.append(said("user", "\n\n".join(part for part in (instruction, given) if part)))
    messages.append(said("assistant", output))
    return Reading(Chat(messages=messages, origin=fields.origin("alpaca")), fields.notes)


ADAPTERS = (
    Adapter(
        name="alpaca",
        description="instruction, input, output (or response, completion); optional system and history",
        example='{"instruction": "Sort the numbers.", "input": "3 1 2", "output": "1 2 3"}',
        fits=_fits,
        read=_read,
        columns=dict(_COLUMNS),
    ),
)
