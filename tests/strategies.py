"""Hypothesis strategies for records of every kind, with text as wild as Unicode allows."""

from __future__ import annotations

from hypothesis import strategies as st

from didact.records import (
    QA,
    Answer,
    Candidate,
    Chat,
    Choice,
    MediaPart,
    Message,
    Origin,
    PlainText,
    Preference,
    ReasoningPart,
    Record,
    Task,
    TextPart,
    ToolCallPart,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
"""Any valid Unicode string, empty ones included."""

_SCRAPS = (
    "the ",
    "Compatibility",
    " 42",
    ", ",
    "  ",
    "\n",
    "用",
    "(Recycle",
    "é",
    "I'm ",
    "....",
    "3 * 14",
    "\\n",
    "x\t",
)
PROSE = st.lists(st.sampled_from(_SCRAPS) | st.text(st.characters(max_codepoint=127), max_size=12), max_size=12).map(
    "".join
)
"""Text mostly of ASCII and longer than what kernels take at a time."""

NAME = st.text("abcdefghijklmnop_", min_size=1, max_size=8)
_OPTIONAL = st.none() | TEXT

ORIGINS = st.builds(
    Origin, format=NAME, key=_OPTIONAL, extra=st.dictionaries(NAME, st.none() | st.integers(-5, 5) | TEXT, max_size=2)
)

_COMMON = {
    "group": _OPTIONAL,
    "task": st.none() | NAME,
    "language": st.none() | st.just("en"),
    "split": st.none() | st.just("train"),
    "origin": st.none() | ORIGINS,
}

_PARTS = st.lists(
    st.builds(TextPart, text=TEXT)
    | st.builds(ReasoningPart, text=TEXT)
    | st.builds(ToolCallPart, id=_OPTIONAL, name=NAME, arguments=st.just('{"a": 1}'))
    | st.builds(MediaPart, uri=NAME),
    max_size=3,
)
_ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
MESSAGES = st.lists(
    st.builds(Message, role=_ROLES, parts=_PARTS, name=_OPTIONAL, weight=st.none() | st.just(0.0)),
    min_size=1,
    max_size=4,
)

QAS = st.builds(
    QA,
    question=TEXT,
    context=_OPTIONAL,
    choices=st.lists(st.builds(Choice, label=NAME, text=TEXT), max_size=3),
    answers=st.lists(st.builds(Answer, text=TEXT), max_size=3),
    answerable=st.booleans(),
    rationale=_OPTIONAL,
    **_COMMON,
)
TASKS = st.builds(
    Task,
    definition=_OPTIONAL,
    input=TEXT,
    outputs=st.lists(TEXT, min_size=1, max_size=3),
    choices=st.lists(TEXT, max_size=2),
    **_COMMON,
)
CHATS = st.builds(Chat, messages=MESSAGES, **_COMMON)
PREFERENCES = st.builds(
    Preference,
    prompt=MESSAGES,
    candidates=st.lists(
        st.builds(Candidate, messages=MESSAGES, score=st.none() | st.just(1.5)), min_size=1, max_size=3
    ),
    **_COMMON,
)
TEXTS = st.builds(PlainText, text=TEXT, title=_OPTIONAL, **_COMMON)


def identified(record: Record) -> Record:
    """The record under the id its content has."""
    record.id = record.content_id()
    return record


RECORDS: st.SearchStrategy[Record] = st.one_of(QAS, TASKS, CHATS, PREFERENCES, TEXTS).map(identified)
"""A record of any kind, with its id."""
