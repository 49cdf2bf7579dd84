"""Records as another kind, for formats that do not hold their own: a task as a conversation, and the way back.

Nothing here decides whether something is lost; `losses` finds that out by going there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from didact.errors import NoPlace
from didact.records import (
    QA,
    Answer,
    Candidate,
    Chat,
    Choice,
    Header,
    Message,
    Preference,
    Record,
    Task,
    TextPart,
)

_SHARED = ("id", "source", "license", "language", "split", "group", "task", "tags", "header", "origin")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def recast(record: Record, kind: str, header: Header | None = None) -> Record:
    """The record as one of another kind, as near as that kind comes. Raises NoPlace when it has nothing alike."""
    if record.kind == kind:
        return record
    change = _CHANGES.get((record.kind, kind))
    if change is None:
        raise NoPlace(f"a {record.kind} record cannot be written as {kind}")
    made = change(record, header)
    made.assign(**{name: getattr(record, name) for name in _SHARED})
    return made


def _as_chat(record: Record, header: Header | None) -> Chat:
    """The record as it is rendered for training."""
    turns = record.dialogue(header)
    if not turns:
        raise NoPlace(f"this {record.kind} record is no dialogue")
    if isinstance(record, Preference):
        return Chat(messages=[*record.prompt, *record.candidates[0].messages], tools=record.tools)
    return Chat(
        messages=[
            Message(role="assistant" if turn["role"] == "assistant" else "user", parts=[TextPart(text=turn["content"])])
            for turn in turns
        ]
    )


def _single_turn(record: Record) -> tuple[str, str]:
    """What is asked and answered in a conversation of just that. Raises NoPlace with the first turn too many."""
    messages = record.messages if isinstance(record, Chat) else []
    roles = [message.role for message in messages]
    if roles != ["user", "assistant"]:
        raise NoPlace(f"{turns_told(roles)} where one question and one answer belong", "/messages")
    return words(messages[0]), words(messages[1])


def turns_told(roles: Sequence[str]) -> str:
    """What keeps a conversation from being questions and answers, in the same words for all alike."""
    others = sorted(set(roles) - {"user", "assistant"})
    if others:
        return f"a conversation with messages of role {', '.join(others)}"
    if list(roles) == ["user", "assistant"] * (len(roles) // 2):
        return "a conversation of several turns"
    return f"a conversation that ends with the {roles[-1] if roles else 'system prompt'}, or does not alternate,"


def words(message: Message) -> str:
    """The words of a message that consists of nothing else. Raises NoPlace."""
    if not all(isinstance(part, TextPart) for part in message.parts):
        raise NoPlace("reasoning, tool calls or media where only words have a place", "/messages")
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


def _chat_as_task(record: Record, header: Header | None) -> Task:
    del header
    asked, answered = _single_turn(record)
    return Task(definition=asked, outputs=[answered])


def _chat_as_qa(record: Record, header: Header | None) -> QA:
    del header
    asked, answered = _single_turn(record)
    return QA(question=asked, answers=[Answer(text=answered)])


def _chat_as_preference(record: Record, header: Header | None) -> Preference:
    """The last turn is the one candidate."""
    del header
    if not isinstance(record, Chat) or len(record.messages) < 2:
        raise NoPlace("a conversation of one turn has no prompt", "/messages")
    return Preference(
        prompt=record.messages[:-1], candidates=[Candidate(messages=record.messages[-1:])], tools=record.tools
    )


def _task_as_qa(record: Record, header: Header | None) -> QA:
    """The definition asks, the input is the passage; outputs that are choices become their labels."""
    assert isinstance(record, Task)
    asked = defined(record, header)
    labels = {text: _LETTERS[i % 26] for i, text in enumerate(record.choices)}
    return QA(
        question=asked or record.input,
        context=record.input if asked and record.input else None,
        choices=[Choice(label=label, text=text) for text, label in labels.items()],
        answers=[Answer(text=labels.get(output, output)) for output in record.outputs],
    )


def defined(task: Task, header: Header | None) -> str | None:
    """What a task says is to be done, in the row or once for its file; both, when both say something."""
    shared = header.definition[0] if header and header.definition else None
    return "\n\n".join(part for part in (shared, task.definition) if part) or task.definition


def only_output(task: Task) -> str:
    """The output of a task that accepts just one. Raises NoPlace when it accepts several."""
    if len(task.outputs) != 1:
        raise NoPlace(f"{len(task.outputs)} accepted outputs where one has a place", "/outputs/1")
    return task.outputs[0]


def _qa_as_task(record: Record, header: Header | None) -> Task:
    """The question is the definition, the passage the input; a choice's label becomes its text."""
    assert isinstance(record, QA)
    del header
    if not record.answers:
        raise NoPlace("a question without an answer", "/answers")
    texts = {choice.label: choice.text for choice in record.choices}
    return Task(
        definition=record.question,
        input=record.context or "",
        outputs=[texts.get(answer.text, answer.text) for answer in record.answers],
        choices=list(texts.values()),
    )


def _via_chat(last: Callable[[Record, Header | None], Record]) -> Callable[[Record, Header | None], Record]:
    return lambda record, header: last(_as_chat(record, header), None)


_CHANGES: dict[tuple[str, str], Callable[[Record, Header | None], Record]] = {
    ("task", "chat"): _as_chat,
    ("qa", "chat"): _as_chat,
    ("preference", "chat"): _as_chat,
    ("chat", "task"): _chat_as_task,
    ("chat", "qa"): _chat_as_qa,
    ("chat", "preference"): _chat_as_preference,
    ("task", "qa"): _task_as_qa,
    ("qa", "task"): _qa_as_task,
    ("task", "preference"): _via_chat(_chat_as_preference),
    ("qa", "preference"): _via_chat(_chat_as_preference),
    ("preference", "task"): _via_chat(_chat_as_task),
    ("preference", "qa"): _via_chat(_chat_as_qa),
}

__all__ = ["defined", "only_output", "recast", "words"]
