"""Single answers with a verdict: the last turn of messages, or a completion; and answers judged step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from didact.errors import RowError
from didact.formats.conversation import is_plain_system, system_key_of, write_tools
from didact.formats.draft import Draft
from didact.formats.fields import Fields, pointer
from didact.formats.messages import VERDICTS, is_judged, read_tools, said
from didact.formats.new_messages import Spelling, own_spelling
from didact.formats.pairs import change_prompt, prompt_key_of, read_prompt
from didact.formats.recast import words
from didact.formats.turns import is_plain, new_turns, read_turns, written_turns
from didact.records import Candidate, Message, Preference, TextPart

_WHOLE = ("messages", "conversations")
"""Keys of dialogues whose last turn is judged."""

_ANSWERS = ("completion", "response", "generation", "output")


def is_verdict(row: dict[str, Any]) -> bool:
    """Whether a row has one answer and a verdict on it."""
    if not is_judged(row):
        return False
    if any(isinstance(row.get(key), list | str) for key in _WHOLE):
        return True
    asked = "prompt" in row or ("instruction" in row and isinstance(row.get("kto_tag"), bool))
    return asked and any(row.get(key) is not None for key in _ANSWERS)


def read_verdict(fields: Fields) -> Preference:
    """A row with one answer and the verdict on it. Raises RowError."""
    row = fields.row
    label_key = next(key for key in VERDICTS if isinstance(row.get(key), bool))
    prompt, answer, keys = _asked_and_answered(fields)
    system_key = system_key_of(row)
    if system_key is not None:
        prompt = [said("system", fields.optional(system_key)), *prompt]
    if not prompt or not answer or answer[-1].role != "assistant":
        raise RowError("RO005", "no prompt with an assistant's answer after it", pointer(keys[-1]))
    if (layout := [label_key, system_key or "", *keys]) != ["label", "", "prompt", "completion"]:
        fields.held_as("label", layout)
    return Preference(
        prompt=prompt,
        candidates=[Candidate(messages=answer, label=fields.value(label_key))],
        tools=read_tools(fields, "tools"),
        origin=fields.origin("preference"),
    )


def _asked_and_answered(fields: Fields) -> tuple[list[Message], list[Message], list[str]]:
    """The turns before the judged answer, the answer, and the keys they stand under."""
    key = fields.first_of(_WHOLE)
    if key in fields:
        messages = read_turns(fields, fields.value(key), pointer(key), "assistant")
        return messages[:-1], messages[-1:], [key]
    prompt_key = prompt_key_of(fields.row)
    if prompt_key is None:
        raise RowError("SC001", "no prompt before the judged answer", "/prompt")
    answer_key = fields.first_of(_ANSWERS)
    prompt = read_prompt(fields, prompt_key)
    answer = read_turns(fields, fields.value(answer_key), pointer(answer_key), "assistant")
    return prompt, answer, [prompt_key, answer_key]


def change_verdict(draft: Draft, was: Preference, now: Preference) -> None:
    """Change a judged row where it would read as something else."""
    row, answer = draft.row, now.candidates[0].messages
    prompt, old_answer, keys = _asked_and_answered(Fields(row))
    system_key = system_key_of(row)
    asked = now.prompt
    if system_key is not None:
        apart = len(asked) > 1 and is_plain_system(asked[0])
        if not apart or asked[0] != was.prompt[0]:
            row[system_key] = words(asked[0]) if apart else ""
        asked = asked[apart:]
    if len(keys) == 1:
        row[keys[0]] = written_turns(row[keys[0]], [*prompt, *old_answer], [*asked, *answer], "assistant")
    else:
        change_prompt(row, keys[0], prompt, asked)
        row[keys[1]] = written_turns(row[keys[1]], old_answer, answer, "assistant")
    if was.candidates[0].label != now.candidates[0].label:
        row[next(key for key in VERDICTS if isinstance(row.get(key), bool))] = now.candidates[0].label
    write_tools(row, was.tools, now.tools)


def new_verdict(record: Preference) -> dict[str, Any]:
    """A row that no author wrote: prompt, completion, label; texts when both are nothing else."""
    spelling = own_spelling(record, "preference", "role")
    told = spelling.remembered("/label")
    layout = told if isinstance(told, list) else ["label", "", "prompt", "completion"]
    label_key, system_key, *keys = layout
    prompt, answer = record.prompt, record.candidates[0].messages
    row: dict[str, Any] = {}
    if system_key and len(prompt) > 1 and is_plain_system(prompt[0]):
        row[system_key], prompt = words(prompt[0]), prompt[1:]
    if len(keys) == 1:
        row[keys[0]] = new_turns([*prompt, *answer], f"/{keys[0]}", "assistant", spelling, plain=False)
    else:
        plain = spelling.whole or (is_plain(prompt, "user") and is_plain(answer, "assistant"))
        row[keys[0]] = new_turns(prompt, f"/{keys[0]}", "user", spelling, plain=plain)
        row[keys[1]] = new_turns(answer, f"/{keys[1]}", "assistant", spelling, plain=plain)
    row[label_key] = record.candidates[0].label
    write_tools(row, None, record.tools)
    return row


# --- step by step


def is_stepwise(row: dict[str, Any]) -> bool:
    """Whether a row has an answer in steps and a verdict on each."""
    steps, labels = row.get("completions"), row.get("labels")
    return (
        isinstance(steps, list)
        and isinstance(labels, list)
        and bool(steps)
        and all(isinstance(step, str) for step in steps)
        and all(label in (0, 1) for label in labels if not isinstance(label, list | dict))
    )


def read_steps(fields: Fields) -> Preference:
    """A row with an answer in steps: one answer of a text part for each step. Raises RowError."""
    key = prompt_key_of(fields.row)
    if key is None:
        raise RowError("SC001", "no prompt before the steps", "/prompt")
    steps, labels = fields.value("completions"), fields.value("labels")
    if len(steps) != len(labels) or not all(isinstance(label, bool | int) for label in labels):
        raise RowError(
            "SC002", f"{len(labels)} labels where {len(steps)} verdicts belong, one for each step", "/labels"
        )
    if not all(isinstance(label, bool) for label in labels):
        fields.held_as("labels", labels)
    parts = [TextPart(text=step, label=bool(label)) for step, label in zip(steps, labels, strict=True)]
    prompt = read_prompt(fields, key)
    if key != "prompt":
        fields.held_as("prompt", key)
    answer = Candidate(messages=[Message(role="assistant", parts=[*parts])], label=all(map(bool, labels)))
    return Preference(
        prompt=prompt, candidates=[answer], tools=read_tools(fields, "tools"), origin=fields.origin("preference")
    )


def has_steps(record: Preference) -> bool:
    """Whether a record's one answer is judged step by step."""
    return len(record.candidates) == 1 and all(
        isinstance(part, TextPart) and part.label is not None
        for message in record.candidates[0].messages
        for part in message.parts
    )


def _steps(record: Preference) -> list[TextPart]:
    parts = (part for message in record.candidates[0].messages for part in message.parts)
    return [part for part in parts if isinstance(part, TextPart)]


def change_steps(draft: Draft, was: Preference, now: Preference) -> None:
    """Change a row in steps where it would read as something else."""
    row = draft.row
    key = prompt_key_of(row)
    assert key is not None
    change_prompt(row, key, was.prompt, now.prompt)
    row["completions"] = _kept(row["completions"], [part.text for part in _steps(was)], [p.text for p in _steps(now)])
    row["labels"] = _kept(row["labels"], [part.label for part in _steps(was)], [part.label for part in _steps(now)])
    write_tools(row, was.tools, now.tools)


def _kept(values: Sequence[Any], was: Sequence[Any], now: Sequence[Any]) -> list[Any]:
    """New values; those that say the same as before stay as they are spelt."""
    if len(was) != len(now):
        return [*now]
    return [value if old == new else new for value, old, new in zip(values, was, now, strict=True)]


def new_steps(record: Preference) -> dict[str, Any]:
    """A row that no author wrote: prompt, completions, labels."""
    spelling: Spelling = own_spelling(record, "preference", "role")
    told = spelling.remembered("/prompt")
    key = told if isinstance(told, str) else "prompt"
    prompt = new_turns(record.prompt, f"/{key}", "user", spelling, plain=True)
    steps = _steps(record)
    row = {key: prompt, "completions": [part.text for part in steps], "labels": [part.label for part in steps]}
    write_tools(row, None, record.tools)
    return row
