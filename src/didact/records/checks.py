"""What a record that has the right shape can still have wrong: roles, emptiness, keys."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from didact.records import QA, Chat, MediaPart, Message, Preference, Record
from didact.records.base import Text

Problem = tuple[str, str, str]
"""Code, JSON pointer in the record, message."""


def check(record: Record, texts: Sequence[Text] | None = None) -> Iterator[Problem]:
    """Every problem of a well-shaped record, errors and warnings, in reading order.

    `texts` are the record's texts, for callers that have them at hand.
    """
    yield from _emptiness(record, record.texts() if texts is None else texts)
    if isinstance(record, Chat):
        yield from _roles(record.messages)
        yield from _media(record.messages, "/messages")
    elif isinstance(record, QA):
        yield from _answers(record)
    elif isinstance(record, Preference):
        yield from _candidates(record)


def _emptiness(record: Record, texts: Sequence[Text]) -> Iterator[Problem]:
    asked = [text for text in texts if text.role == "user"]
    answered = [text for text in texts if text.role == "assistant"]
    if asked and record.header is None and not any(text.text.strip() for text in asked):
        yield "CO001", f"/{asked[0].field}", "the prompt is empty"
    if answered and not any(text.text.strip() for text in answered):
        yield "CO002", f"/{answered[0].field}", "the response is empty"


def _roles(messages: Sequence[Message]) -> Iterator[Problem]:
    spoken = [(i, message.role) for i, message in enumerate(messages) if message.role not in ("system", "developer")]
    for i, message in enumerate(messages[1:], 1):
        if message.role in ("system", "developer") and messages[i - 1].role not in ("system", "developer"):
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


def _media(messages: Sequence[Message], where: str) -> Iterator[Problem]:
    for i, message in enumerate(messages):
        for j, part in enumerate(message.parts):
            if isinstance(part, MediaPart):
                yield "MM001", f"{where}/{i}/parts/{j}", f"a medium by reference: {part.uri[:60]}"


def _answers(record: QA) -> Iterator[Problem]:
    if record.answerable and not record.answers:
        yield "QA001", "/answers", "no answer"
    labels = {choice.label for choice in record.choices}
    for i, answer in enumerate(record.answers):
        if labels and answer.text not in labels:
            yield (
                "QA002",
                f"/answers/{i}/text",
                f"'{answer.text[:40]}' is none of the labels {', '.join(sorted(labels))}",
            )


def _candidates(record: Preference) -> Iterator[Problem]:
    spoken = [[part for message in candidate.messages for part in message.parts] for candidate in record.candidates]
    if len(spoken) > 1 and all(parts == spoken[0] for parts in spoken[1:]):
        yield "PR001", "/candidates", "the candidates are the same text"
