"""What a record that has the right shape can still have wrong: roles, emptiness, keys, texts, tools."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from didact.records import QA, Chat, MediaPart, Message, Preference, Record, Task
from didact.records.answer_checks import answer_problems
from didact.records.base import Common, Text
from didact.records.doubts import EMPTY, EVERY, OF_ANSWERS
from didact.records.findings import Problem
from didact.records.text_checks import text_problems
from didact.records.tool_checks import Placed, tool_problems

__all__ = ["Problem", "check"]

_SYSTEM = ("system", "developer")


def check(record: Record, texts: Sequence[Text] | None = None, doubts: int = EVERY) -> list[Problem]:
    """Every problem of a well-shaped record, errors and warnings.

    `texts` are the record's texts, for callers that have them at hand; `doubts` what `doubts_of` says of them.
    """
    if not doubts and not always_checked(record):
        return []
    own = _OF_KIND.get(type(record))
    given = record.texts() if texts is None else texts
    found = _emptiness(record, given) if doubts & EMPTY else []
    found += check_texts(given, doubts)
    if doubts & EMPTY and isinstance(record, Task):
        found += _definition(record)
    if own is not None:
        found += own(record)
    return found


def check_texts(texts: Sequence[Text], doubts: int) -> list[Problem]:
    """Every problem of a record's texts, as far as there are doubts: all that `check` finds where there is none that a
    side of the dialogue is empty (EMPTY) and the record is none that it looks at always.
    """
    found = [*text_problems(texts, doubts)] if doubts else []
    return found + answer_problems(texts, doubts) if doubts & OF_ANSWERS else found


def always_checked(record: Record) -> bool:
    """Whether `check` looks at such a record whatever the doubts about its texts."""
    return type(record) in _OF_KIND


def _emptiness(record: Record, texts: Sequence[Text]) -> list[Problem]:
    """A prompt or a response without a visible character; a prompt may stand in the file's header."""
    empty: dict[str, str | None] = {}
    for field, role, text in texts:
        if text and not text.isspace():
            empty[role] = None
        else:
            empty.setdefault(role, field)
    found: list[Problem] = []
    if (asked := empty.get("user")) is not None and record.header is None:
        found.append(("CO001", f"/{asked}", "the prompt is empty"))
    answered = empty["assistant"] if "assistant" in empty else _silent(record)
    if answered is not None:
        found.append(("CO002", f"/{answered}", "the response is empty"))
    return found


def _silent(record: Record) -> str | None:
    """Where the first of the assistant's messages stands that has no part at all, such as one whose content is null."""
    messages = record.messages if isinstance(record, Chat) else ()
    silent = (i for i, message in enumerate(messages) if message.role == "assistant" and not message.parts)
    place = next(silent, None)
    return None if place is None else f"messages/{place}"


def _definition(record: Task) -> Iterator[Problem]:
    asked = record.definition
    if asked is not None and not asked.strip() and record.header is None and record.input.strip():
        yield "TK002", "/definition", "an empty instruction beside an input"


def _conversation(record: Chat) -> Iterator[Problem]:
    yield from _roles(record.messages)
    yield from _systems(record.messages)
    placed = [(f"/messages/{i}", message) for i, message in enumerate(record.messages)]
    yield from _media(placed)
    yield from tool_problems(placed, record.tools)


def _roles(messages: Sequence[Message]) -> Iterator[Problem]:
    spoken = [(i, message.role) for i, message in enumerate(messages) if message.role not in _SYSTEM]
    for i, message in enumerate(messages[1:], 1):
        if message.role in _SYSTEM and messages[i - 1].role not in _SYSTEM:
            yield "RO006", f"/messages/{i}", "a system message inside the conversation"
    if not any(role == "assistant" for _, role in spoken):
        yield "RO005", "/messages", f"{len(messages)} messages and none is the assistant's"
        return
    if spoken[0][1] == "assistant":
        yield "RO003", f"/messages/{spoken[0][0]}", "the assistant speaks first"
    for (_, before), (i, role) in itertools.pairwise(spoken):
        if before == role and role != "tool":
            yield "RO002", f"/messages/{i}", f"two turns of the {role} in a row"
    if spoken[-1][1] != "assistant":
        yield "RO004", f"/messages/{spoken[-1][0]}", f"the last turn is the {spoken[-1][1]}'s"
    if all(message.weight == 0 for message in messages if message.role == "assistant"):
        yield "RO008", "/messages", "every message of the assistant has the weight 0"


def _systems(messages: Sequence[Message]) -> Iterator[Problem]:
    for i, (before, message) in enumerate(itertools.pairwise(messages), 1):
        if message.role in _SYSTEM and before.role == message.role and message.parts and message.parts == before.parts:
            yield "RO007", f"/messages/{i}", "the system message before it again, word for word"


def _media(messages: Sequence[Placed]) -> Iterator[Problem]:
    for where, message in messages:
        for j, part in enumerate(message.parts):
            if isinstance(part, MediaPart):
                yield "MM001", f"{where}/parts/{j}", f"a medium by reference: {part.uri[:60]}"


def _answers(record: QA) -> Iterator[Problem]:
    if record.answerable and not record.answers:
        yield "QA001", "/answers", "no answer"
    labels = {choice.label for choice in record.choices}
    for i, answer in enumerate(record.answers):
        if labels and answer.text not in labels:
            known = ", ".join(sorted(labels))
            yield "QA002", f"/answers/{i}/text", f"'{answer.text[:40]}' is none of the labels {known}"
        if answer.start is not None and record.context is not None:
            there = record.context[answer.start : answer.start + len(answer.text)]
            if there != answer.text:
                yield (
                    "QA003",
                    f"/answers/{i}/start",
                    f"'{there[:40]}' stands there, the answer is '{answer.text[:40]}'",
                )
    yield from _choices(record)


def _choices(record: QA) -> Iterator[Problem]:
    """Choices that cannot be told apart; blank ones are the unused columns of a table with fewer choices."""
    for kind in ("label", "text"):
        seen: set[str] = set()
        for i, choice in enumerate(record.choices):
            said: str = getattr(choice, kind).strip()
            if said in seen:
                yield "QA004", f"/choices/{i}/{kind}", f"another choice has the {kind} '{said[:40]}' too"
            elif said:
                seen.add(said)


def _candidates(record: Preference) -> Iterator[Problem]:
    spoken = [[part for message in candidate.messages for part in message.parts] for candidate in record.candidates]
    if len(spoken) > 1 and all(parts == spoken[0] for parts in spoken[1:]):
        yield "PR001", "/candidates", "the candidates are the same text"
    prompt = [(f"/prompt/{i}", message) for i, message in enumerate(record.prompt)]
    yield from _media(prompt)
    for k, candidate in enumerate(record.candidates):
        answer = [(f"/candidates/{k}/messages/{i}", message) for i, message in enumerate(candidate.messages)]
        yield from _media(answer)
        if k == 0:
            yield from tool_problems([*prompt, *answer], record.tools)


_OF_KIND: dict[type[Common], Callable[[Any], Iterator[Problem]]] = {
    Chat: _conversation,
    QA: _answers,
    Preference: _candidates,
}
"""The checks of each kind's own fields, whatever its texts."""
