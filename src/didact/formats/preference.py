"""Preferences: prompt, chosen, rejected as texts or messages; conversations with two endings; single judged answers."""

from __future__ import annotations

import re
from typing import Any

from didact.errors import RowError
from didact.formats.fields import Fields, has_text
from didact.formats.messages import (
    VERDICTS,
    RoleName,
    is_judged,
    is_message,
    read_message,
    read_messages,
    read_tools,
    said,
)
from didact.formats.registry import Adapter, Reading
from didact.records import Candidate, Header, Message, Preference

_CHOSEN = ("chosen", "response_j")
_REJECTED = ("rejected", "response_k")
_PROMPTS = ("prompt", "conversations", "messages", "question", "instruction", "input")
_SPOKEN = re.compile(r"\n\nHuman: |\n\nAssistant: ?")
"""How transcripts that hold a whole dialogue in one text mark who speaks."""


def _fits(row: Any) -> float:
    if not isinstance(row, dict):
        return 0.0
    if any(key in row for key in _CHOSEN) and any(key in row for key in _REJECTED):
        return 1.0
    answered = "messages" in row or "conversations" in row or has_text(row, "prompt", "completion")
    return 1.0 if answered and is_judged(row) else 0.0


def _read(row: Any, header: Header | None) -> Reading:
    del header
    fields = Fields(row)
    if is_judged(row) and not any(key in row for key in _CHOSEN):
        return _judged(fields)
    chosen_key, rejected_key = fields.first_of(_CHOSEN), fields.first_of(_REJECTED)
    for key in (chosen_key, rejected_key):
        if key not in fields:
            fields.text(key)
    prompt_key = next((key for key in _PROMPTS if key in row), None)
    if prompt_key is None:
        prompt, answers = _implicit(fields, chosen_key, rejected_key)
    else:
        prompt = _turns(fields, prompt_key, "user")
        answers = [_without(prompt, _turns(fields, key, "assistant")) for key in (chosen_key, rejected_key)]
    if "system" in fields and (system := fields.optional("system")):
        prompt.insert(0, said("system", system))
    return Reading(
        Preference(
            prompt=prompt,
            candidates=[
                Candidate(messages=answers[0], score=_score(fields, "score_chosen")),
                Candidate(messages=answers[1], score=_score(fields, "score_rejected")),
            ],
            tools=read_tools(fields, "tools"),
            origin=fields.origin("preference"),
        ),
        fields.notes,
    )


def _turns(fields: Fields, key: str, role: RoleName) -> list[Message]:
    """Messages under a key: a list of them, a single one, or a text that `role` says. Raises RowError."""
    value = fields.value(key)
    if is_message(value):
        return [read_message(fields, value, f"/{key}")]
    if isinstance(value, list):
        return read_messages(fields, value, f"/{key}")
    return [said(role, fields.spelt(value, f"/{key}"))]


def _without(prompt: list[Message], answer: list[Message]) -> list[Message]:
    """An answer without the prompt that some sets repeat in front of it."""
    return answer[len(prompt) :] if len(answer) > len(prompt) and answer[: len(prompt)] == prompt else answer


def _implicit(fields: Fields, chosen_key: str, rejected_key: str) -> tuple[list[Message], list[list[Message]]]:
    """Prompt and answers of a row whose two dialogues begin alike. Raises RowError SC001 or PR002 when they do not."""
    both = [_dialogue(fields, key) for key in (chosen_key, rejected_key)]
    shared = 0
    while shared < min(map(len, both)) - 1 and both[0][shared] == both[1][shared]:
        shared += 1
    if shared == 0 and all(len(dialogue) > 1 for dialogue in both):
        raise RowError(
            "PR002", f"'{chosen_key}' and '{rejected_key}' begin with different prompts", f"/{rejected_key}/0"
        )
    if shared == 0:
        raise RowError(
            "SC001", f"no prompt: none of {', '.join(_PROMPTS)}, and the answers share no first turn", "/prompt"
        )
    fields.optional("prompt")
    return both[0][:shared], [dialogue[shared:] for dialogue in both]


def _dialogue(fields: Fields, key: str) -> list[Message]:
    """A dialogue given as messages, or as one text with `Human:` and `Assistant:`."""
    value = fields.value(key)
    if not isinstance(value, str):
        return _turns(fields, key, "assistant")
    marks = list(_SPOKEN.finditer(value))
    if not marks or value[: marks[0].start()].strip():
        return [said("assistant", value)]
    ends = [*(mark.start() for mark in marks[1:]), len(value)]
    return [
        said("user" if "Human" in mark[0] else "assistant", value[mark.end() : end])
        for mark, end in zip(marks, ends, strict=True)
    ]


def _score(fields: Fields, key: str) -> float | None:
    """A judge's score, when it is a number; anything else stays in the origin."""
    value = fields.row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    fields.value(key)
    return float(value)


def _judged(fields: Fields) -> Reading:
    """A row with one answer and the verdict on it: the last turn of messages, or a completion."""
    label = fields.value(fields.first_of(VERDICTS))
    key = fields.first_of(("messages", "conversations"))
    if key in fields:
        messages = read_messages(fields, fields.value(key), f"/{key}")
        prompt, answer = messages[:-1], messages[-1:]
    else:
        prompt, answer = _turns(fields, "prompt", "user"), _turns(fields, "completion", "assistant")
    if not prompt or answer[-1].role != "assistant":
        raise RowError("RO005", "no prompt with an assistant's answer after it", f"/{key}")
    candidates = [Candidate(messages=answer, label=label)]
    return Reading(Preference(prompt=prompt, candidates=candidates, origin=fields.origin("preference")), fields.notes)


ADAPTERS = (
    Adapter(
        name="preference",
        description="prompt, chosen, rejected as texts or messages (prompt may be implicit), or one labelled answer",
        example='{"prompt": "Is it late?", "chosen": "It is noon.", "rejected": "Yes."}',
        fits=_fits,
        read=_read,
        columns={
            "prompt": "prompt",
            "chosen": "chosen",
            "rejected": "rejected",
            "system": "system",
            "messages": "messages",
        },
    ),
)
