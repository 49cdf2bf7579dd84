"""Pairs of answers to one prompt: chosen and rejected under their names in use, the prompt beside or inside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from didact.errors import RowError
from didact.formats.alpaca import asked_parts
from didact.formats.conversation import is_plain_system, system_key_of, write_tools
from didact.formats.draft import Draft
from didact.formats.fields import Fields, pointer
from didact.formats.messages import read_tools, said
from didact.formats.new_messages import own_spelling
from didact.formats.recast import words
from didact.formats.turns import is_plain, new_turns, read_turns, written_turns
from didact.records import Candidate, Message, Preference, TextPart

CHOSEN = ("chosen", "response_j", "preferred_output")
REJECTED = ("rejected", "response_k", "non_preferred_output")
PROMPTS = ("prompt", "conversations", "messages", "question", "instruction", "query", "input")
"""Keys under which a prompt stands, the first that says something counts."""

_SCORES = (
    ("score_chosen", "chosen_score", "chosen_rating", "chosen-rating"),
    ("score_rejected", "rejected_score", "rejected_rating", "rejected-rating"),
)


class _Pair(NamedTuple):
    """A pair as its row holds it."""

    keys: tuple[str, str]
    """Of the chosen and the rejected answer."""
    prompt_key: str | None
    """None when both answers begin with the prompt instead."""
    prompt: list[Message]
    """Without a system prompt beside it."""
    answers: list[list[Message]]
    """Everything under the two keys."""
    before: list[int]
    """How many turns of each answer are the prompt again."""


def prompt_key_of(row: dict[str, Any]) -> str | None:
    """The key of a row's prompt: the first that says something, or is there at all."""
    return next((key for key in PROMPTS if row.get(key) is not None), None)


def read_prompt(fields: Fields, key: str) -> list[Message]:
    """The turns before the answer; an instruction is followed by its input, as Alpaca has them."""
    value = fields.value(key)
    if key == "input" and isinstance(value, dict):
        for other in value.keys() - {"messages", "tools"}:
            fields.keep(pointer(key, other)[1:], value[other])
        return read_turns(fields, value.get("messages"), pointer(key, "messages"), "user")
    given = fields.row.get("input")
    if key == "instruction" and isinstance(value, str) and isinstance(given, str):
        fields.value("input")
        fields.held_as("input", given)
        return [said("user", "\n\n".join(part for part in (value, given) if part))]
    return read_turns(fields, value, pointer(key), "user")


def _pair(fields: Fields) -> _Pair:
    """The pair in a row. Raises RowError."""
    row = fields.row
    keys = (fields.first_of(CHOSEN), fields.first_of(REJECTED))
    for key in keys:
        if key not in fields:
            fields.text(key)
    prompt_key = prompt_key_of(row)
    prompt = [] if prompt_key is None else read_prompt(fields, prompt_key)
    answers = [read_turns(fields, fields.value(key), pointer(key), "assistant") for key in keys]
    if prompt_key is not None:
        return _Pair(keys, prompt_key, prompt, answers, [_repeated(prompt, answer) for answer in answers])
    shared = 0
    while shared < min(map(len, answers)) - 1 and answers[0][shared] == answers[1][shared]:
        shared += 1
    if shared:
        fields.optional("prompt")
        return _Pair(keys, None, answers[0][:shared], answers, [shared, shared])
    if "prompt" in fields:
        return _Pair(keys, "prompt", [said("user", fields.optional("prompt"))], answers, [0, 0])
    if all(len(answer) > 1 for answer in answers):
        raise RowError("PR002", f"'{keys[0]}' and '{keys[1]}' begin with different prompts", f"{pointer(keys[1])}/0")
    raise RowError("SC001", f"no prompt: none of {', '.join(PROMPTS)}, and the answers share no first turn", "/prompt")


def _repeated(prompt: list[Message], answer: list[Message]) -> int:
    """How many turns of the prompt some sets repeat in front of an answer: all or none."""
    return len(prompt) if len(answer) > len(prompt) and answer[: len(prompt)] == prompt else 0


def read_pair(fields: Fields) -> Preference:
    """A row with a better and a worse answer. Raises RowError."""
    row = fields.row
    pair = _pair(fields)
    prompt, system_key = list(pair.prompt), system_key_of(row)
    if system_key is not None:
        prompt.insert(0, said("system", fields.optional(system_key)))
    layout = [pair.prompt_key or "", *pair.keys, "repeated" if any(pair.before) else "", system_key or ""]
    if layout != ["prompt", "chosen", "rejected", "", ""]:
        fields.held_as("prompt", layout)
    tools = read_tools(fields, "tools")
    if isinstance(row.get("input"), dict) and pair.prompt_key == "input":
        tools += read_tools(Fields(row["input"]), "tools")
    candidates = [
        Candidate(messages=answer[before:], score=_score(fields, keys))
        for answer, before, keys in zip(pair.answers, pair.before, _SCORES, strict=True)
    ]
    return Preference(prompt=prompt, candidates=candidates, tools=tools, origin=fields.origin("preference"))


def _score(fields: Fields, keys: Sequence[str]) -> float | None:
    """A judge's score, when it is a number; anything else stays in the origin."""
    key = fields.first_of(keys)
    value = fields.row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    fields.value(key)
    return float(value)


# --- writing


def new_pair(record: Preference) -> dict[str, Any]:
    """A row that no author wrote: texts when prompt and answers are nothing else, messages otherwise."""
    spelling = own_spelling(record, "preference", "role")
    told = spelling.remembered("/prompt")
    layout = told if isinstance(told, list) and len(told) == 5 else ["prompt", "chosen", "rejected", "", ""]
    prompt_key, *keys, repeated, system_key = layout
    prompt, apart = _apart(record.prompt, bool(system_key))
    answers = [candidate.messages for candidate in record.candidates]
    plain = is_plain(prompt, "user") and all(is_plain(answer, "assistant") for answer in answers)
    row: dict[str, Any] = {}
    if prompt_key == "input":
        row["input"] = {"messages": new_turns(prompt, "/input/messages", "user", spelling, plain=False)}
    elif prompt_key:
        row[prompt_key] = new_turns(prompt, f"/{prompt_key}", "user", spelling, plain=plain or spelling.whole)
    for key, answer in zip(keys, answers, strict=True):
        full = answer if prompt_key and not repeated else [*prompt, *answer]
        row[key] = new_turns(full, f"/{key}", "assistant", spelling, plain=plain or (spelling.whole and not repeated))
    if apart is not None:
        row[system_key] = apart
    for keys_of, candidate in zip(_SCORES, record.candidates, strict=True):
        if candidate.score is not None:
            row[next(key for key in keys_of if not spelling.knows(f"/{key}"))] = candidate.score
    write_tools(row.get("input") if prompt_key == "input" else row, None, record.tools)  # type: ignore[arg-type]
    return row


def _apart(prompt: list[Message], wanted: bool) -> tuple[list[Message], str | None]:
    """A prompt, and the system prompt that stands beside it."""
    if wanted and len(prompt) > 1 and is_plain_system(prompt[0]):
        return prompt[1:], words(prompt[0])
    return prompt, None


def change_pair(draft: Draft, was: Preference, now: Preference) -> None:
    """Change a row's pair where it would read as something else."""
    row = draft.row
    pair, system_key = _pair(Fields(row)), system_key_of(row)
    prompt, apart = _apart(now.prompt, system_key is not None)
    if system_key is not None and (apart is None or now.prompt[0] != was.prompt[0]):
        row[system_key] = apart or ""
    if pair.prompt_key is not None:
        change_prompt(row, pair.prompt_key, pair.prompt, prompt)
    for key, full, before, candidate in zip(pair.keys, pair.answers, pair.before, now.candidates, strict=True):
        row[key] = written_turns(row[key], full, [*(prompt if before else []), *candidate.messages], "assistant")
    for keys, old, new in zip(_SCORES, was.candidates, now.candidates, strict=True):
        if old.score != new.score:
            key = draft.first_of(keys)
            row[key] = new.score
            if new.score is None:
                del row[key]
    if was.tools != now.tools:
        write_tools(row["input"] if pair.prompt_key == "input" else row, was.tools, now.tools)


def change_prompt(row: dict[str, Any], key: str, was: list[Message], now: list[Message]) -> None:
    """Change the turns before the answer; of instruction and input the one that was edited."""
    if was == now:
        return
    if key == "input" and isinstance(row[key], dict):
        row[key]["messages"] = written_turns(row[key].get("messages"), was, now, "user")
    elif key == "instruction" and isinstance(row.get("input"), str) and isinstance(row[key], str):
        if is_plain(now, "user") and isinstance(now[0].parts[0], TextPart):
            row.update(asked_parts(row, now[0].parts[0].text))
    else:
        row[key] = written_turns(row[key], was, now, "user")


__all__ = ["CHOSEN", "PROMPTS", "REJECTED", "change_pair", "new_pair", "prompt_key_of", "read_pair", "read_prompt"]
