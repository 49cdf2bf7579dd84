"""Questions and answers under the column names that are in use: free, about a passage, or with choices.

Names are compared without case: `Question`, `question` and `QUESTION` are one column. An answer to a question with
choices becomes the label of the right choice, whether the file gives the label, the index, or the text of the choice.
"""

from __future__ import annotations

from typing import Any

from didact.canonical import content_hash
from didact.errors import RowError
from didact.formats.fields import Fields, kind_of, pointer, shown_keys
from didact.formats.registry import Adapter, Reading
from didact.records import QA, Answer, Choice, Header

_QUESTIONS = ("question", "query", "problem", "ctx")
_CONTEXTS = ("context", "passage", "paragraph", "body", "article")
_ANSWERS = ("answer", "answers", "best answer", "answerkey", "label", "final_answer", "target", "solution")
_CHOICES = ("choices", "options", "endings")
_RATIONALES = ("rationale", "explanation", "support")
_LETTERS = "ABCDEFGHIJ"


def _by_name(row: dict[str, Any]) -> dict[str, str]:
    """The row's own spelling of each key, by its spelling in lower case."""
    return {key.lower(): key for key in reversed(row)}


def _find(names: dict[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _fits(row: Any) -> float:
    if not isinstance(row, dict):
        return 0.0
    names = _by_name(row)
    question, answer = _find(names, _QUESTIONS), _find(names, _ANSWERS)
    if question is None or answer is None or "instruction" in names or "chosen" in names:
        return 0.0
    if names.get("question") is None and "answer" not in names:
        return 0.4
    if isinstance(row[answer], str) and "####" in row[answer]:
        return 0.8
    return 0.9


def _read(row: Any, header: Header | None) -> Reading:
    del header
    fields = Fields(row)
    names = _by_name(row)
    question_key = _find(names, _QUESTIONS)
    if question_key is None:
        raise RowError("SC001", f"no question: none of {', '.join(_QUESTIONS)}; the row has {shown_keys(row)}")
    question, choices = _question(fields, question_key, names)
    context = _optional(fields, names, _CONTEXTS)
    answers, answerable = _answers(fields, names, choices)
    record = QA(
        question=question,
        context=context,
        choices=choices,
        answers=answers,
        answerable=answerable,
        rationale=_optional(fields, names, _RATIONALES),
        group=content_hash(context) if context and context.strip() else None,
        origin=fields.origin("qa"),
    )
    return Reading(record, fields.notes)


def _optional(fields: Fields, names: dict[str, str], wanted: tuple[str, ...]) -> str | None:
    """A text that the row may have; None when it has none or an empty one."""
    key = _find(names, wanted)
    if key is None or isinstance(fields.row[key], dict | list):
        return None
    text = fields.optional(key)
    if not text and fields.row[key] is not None:
        fields.held_as(key, text)
    return text or None


def _question(fields: Fields, key: str, names: dict[str, str]) -> tuple[str, list[Choice]]:
    """The question and its choices, beside it or, as CommonsenseQA has them, inside it with a stem."""
    asked = fields.value(key)
    if not isinstance(asked, dict):
        return fields.text(key), _choices(fields, names)
    for inner in asked.keys() - {"stem", "choices"}:
        fields.keep(f"{key}/{inner}", asked[inner])
    return fields.spelt(asked.get("stem"), pointer(key, "stem")), _listed_choices(
        fields, asked.get("choices"), pointer(key, "choices")
    )


def _choices(fields: Fields, names: dict[str, str]) -> list[Choice]:
    """The options: a list, ARC's pair of lists, or columns A, B, C, ...; none when the question is free."""
    key = _find(names, _CHOICES)
    if key is not None:
        return _listed_choices(fields, fields.value(key), pointer(key))
    columns = [letter for letter in _LETTERS if letter in fields.row]
    if len(columns) < 2 or columns != list(_LETTERS[: len(columns)]):
        return []
    return [Choice(label=letter, text=fields.optional(letter)) for letter in columns]


def _listed_choices(fields: Fields, value: Any, where: str) -> list[Choice]:
    if value is None:
        return []
    if isinstance(value, dict) and isinstance(value.get("text"), list) and isinstance(value.get("label"), list):
        value = [{"text": text, "label": label} for text, label in zip(value["text"], value["label"], strict=False)]
    if not isinstance(value, list):
        raise RowError("SC002", f"{kind_of(value)} where a list of choices belongs", where)
    return [_choice(fields, item, i, f"{where}/{i}") for i, item in enumerate(value)]


def _choice(fields: Fields, item: Any, place: int, where: str) -> Choice:
    """One option; without a label of its own it gets the letter of its place."""
    label = _LETTERS[place] if place < len(_LETTERS) else str(place + 1)
    if isinstance(item, dict):
        return Choice(
            label=fields.spelt(item.get("label", label), f"{where}/label"),
            text=fields.spelt(item.get("text"), f"{where}/text"),
        )
    return Choice(label=label, text=fields.spelt(item, where))


def _answers(fields: Fields, names: dict[str, str], choices: list[Choice]) -> tuple[list[Answer], bool]:
    """The accepted answers, and whether the question can be answered at all."""
    key = _find(names, _ANSWERS)
    if key is None:
        raise RowError("SC001", f"no answer: none of {', '.join(_ANSWERS)}; the row has {shown_keys(fields.row)}")
    value = fields.value(key)
    impossible = fields.row.get("is_impossible") is True
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        starts = value.get("answer_start") or []
        texts = fields.texts(value["text"], pointer(key, "text"))
        return [Answer(text=text, start=_start(starts, i)) for i, text in enumerate(texts)], bool(
            texts
        ) and not impossible
    if choices:
        return [Answer(text=_label(fields, value, choices, pointer(key)))], True
    if value is None:
        raise RowError("QA001", "the answer is null", pointer(key))
    return [Answer(text=text) for text in fields.texts(value, pointer(key))], not impossible


def _start(starts: Any, place: int) -> int | None:
    """Where an answer begins in the passage, when the file says so."""
    known = isinstance(starts, list) and place < len(starts) and isinstance(starts[place], int) and starts[place] >= 0
    return starts[place] if known else None


def _label(fields: Fields, value: Any, choices: list[Choice], where: str) -> str:
    """The label of the right choice, from its label, its index counted from 0, or its text."""
    labels = [choice.label for choice in choices]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        fields.held_as(where.removeprefix("/"), value)
        return labels[value]
    text = fields.spelt(value, where)
    if text in labels:
        return text
    bare = text.strip().rstrip(".)").lstrip("(")
    if bare in labels:
        fields.held_as(where.removeprefix("/"), value)
        return bare
    same = [choice.label for choice in choices if choice.text == text]
    if len(same) == 1:
        fields.held_as(where.removeprefix("/"), value)
        return same[0]
    if text.isdigit() and int(text) < len(choices):
        fields.held_as(where.removeprefix("/"), value)
        return labels[int(text)]
    return text


ADAPTERS = (
    Adapter(
        name="qa",
        description="question and answer(s) under common names; optional context, choices (list, or columns A to D)",
        example='{"question": "Which is a colour?", "choices": ["red", "two"], "answer": 0}',
        fits=_fits,
        read=_read,
        columns={
            "question": "question",
            "prompt": "question",
            "answer": "answer",
            "response": "answer",
            "context": "context",
        },
    ),
)
