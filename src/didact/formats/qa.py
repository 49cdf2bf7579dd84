"""Questions and answers under the column names that are in use: free, about a passage, or with choices.

Names are compared without case: `Question`, `question` and `QUESTION` are one column. An answer to a question with
choices becomes the label of the right choice, whether the file gives the label, the index, or the text of the choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from didact.canonical import content_hash
from didact.errors import RowError
from didact.formats.choices import label_of, lettered_columns, listed_choices, new_key, written_choices, written_key
from didact.formats.draft import Draft
from didact.formats.fields import Fields, pointer, shown_keys
from didact.formats.registry import Adapter, Reading
from didact.records import QA, Answer, Choice, Header, Record

_QUESTIONS = ("question", "query", "problem", "question_stem", "ctx")
_CONTEXTS = ("context", "passage", "paragraph", "body", "article")
_ANSWERS = (
    "answer",
    "answers",
    "best answer",
    "answerkey",
    "label",
    "final_answer",
    "target",
    "solution",
    "correct",
    "correct_answer",
)
_CHOICES = ("choices", "options", "endings")
_RATIONALES = ("rationale", "explanation", "support")


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
    chosen = _find(names, _CHOICES) is not None or isinstance(row[question], dict)
    if names.get("question") is None and "answer" not in names and not chosen:
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
    return fields.spelt(asked.get("stem"), pointer(key, "stem")), listed_choices(
        fields, asked.get("choices"), pointer(key, "choices")
    )


def _choices(fields: Fields, names: dict[str, str]) -> list[Choice]:
    """The options: under a key, or as columns A, B, C, ...; none when the question is free."""
    key = _find(names, _CHOICES)
    if key is not None:
        return listed_choices(fields, fields.value(key), pointer(key))
    return [Choice(label=letter, text=fields.optional(letter)) for letter in lettered_columns(fields.row)]


def _answers(fields: Fields, names: dict[str, str], choices: list[Choice]) -> tuple[list[Answer], bool]:
    """The accepted answers, and whether the question can be answered at all."""
    key = _find(names, _ANSWERS)
    if key is None:
        raise RowError("SC001", f"no answer: none of {', '.join(_ANSWERS)}; the row has {shown_keys(fields.row)}")
    value = fields.value(key)
    impossible = fields.row.get("is_impossible") is True
    if "is_impossible" in fields:
        fields.held_as("is_impossible", fields.value("is_impossible"))
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        starts = value.get("answer_start") or []
        texts = fields.texts(value["text"], pointer(key, "text"))
        return [Answer(text=text, start=_start(starts, i)) for i, text in enumerate(texts)], bool(
            texts
        ) and not impossible
    if choices:
        return [Answer(text=label_of(fields, value, choices, pointer(key)))], True
    if value is None:
        raise RowError("QA001", "the answer is null", pointer(key))
    return [Answer(text=text) for text in fields.texts(value, pointer(key))], not impossible


def _start(starts: Any, place: int) -> int | None:
    """Where an answer begins in the passage, when the file says so."""
    known = isinstance(starts, list) and place < len(starts) and isinstance(starts[place], int) and starts[place] >= 0
    return starts[place] if known else None


def _write(draft: Draft) -> None:
    record, names = draft.record, _by_name(draft.row)
    assert isinstance(record, QA)
    _put_question(draft, names, record)
    _put_beside(draft, names, _CONTEXTS, lambda qa: qa.context)
    _put_beside(draft, names, _RATIONALES, lambda qa: qa.rationale)
    if draft.changed(_judged):
        key = _find(names, _ANSWERS) or ("answer" if _is_single(record) else "answers")
        draft.row[key] = _written_answers(draft.row.get(key), record, draft.was)
    if draft.was is None and record.answers and not record.answerable:
        draft.row["is_impossible"] = True


def _judged(record: Record) -> Any:
    """What the answer's field depends on: the answers and, for keys that spell out an option, the options."""
    assert isinstance(record, QA)
    return (record.answers, record.answerable, record.choices)


def _put_question(draft: Draft, names: dict[str, str], record: QA) -> None:
    """The question and its choices, where the row has them: beside each other, inside one object, or in columns."""
    key = _find(names, _QUESTIONS) or "question"
    inside = draft.row.get(key)
    was = draft.was.choices if isinstance(draft.was, QA) else []
    if isinstance(inside, dict):
        if draft.changed(lambda qa: qa.question):
            inside["stem"] = record.question
        if draft.changed(lambda qa: qa.choices):
            inside["choices"] = written_choices(inside.get("choices"), record.choices, was)
        return
    draft.put(key, lambda qa: qa.question)
    columns = lettered_columns(draft.row)
    if not draft.changed(lambda qa: qa.choices) or not (record.choices or was):
        return
    if columns and len(columns) == len(record.choices) == len(was):
        for letter, choice, before in zip(columns, record.choices, was, strict=True):
            if choice != before:
                draft.row[letter] = choice.text
        return
    at = _find(names, _CHOICES) or "choices"
    draft.row[at] = written_choices(draft.row.get(at), record.choices, was)


def _put_beside(draft: Draft, names: dict[str, str], wanted: tuple[str, ...], view: Callable[[QA], str | None]) -> None:
    """A text the row may have, under the name it has there."""
    key = next((names[name] for name in wanted if name in names and _is_cell(draft.row[names[name]])), wanted[0])
    if view(draft.record) is not None or key in draft.row:  # type: ignore[arg-type]
        draft.put(key, lambda qa: view(qa) or "")


def _is_cell(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _is_single(record: QA) -> bool:
    return len(record.answers) == 1 and record.answers[0].start is None and record.answerable


def _written_answers(given: Any, record: QA, before: Record | None) -> Any:
    """The answers in the shape of those given; new ones as one text, a key, a list, or texts with their starts."""
    was = before if isinstance(before, QA) else None
    answers = record.answers
    if record.choices and len(answers) == 1:
        if was is None or not was.choices:
            return new_key(answers[0].text, record.choices)
        return written_key(given, answers[0].text, record.choices, was.choices)
    texts = [answer.text for answer in answers]
    if isinstance(given, dict) or (was is None and not _is_plain(record)):
        rest = given if isinstance(given, dict) else {}
        starts = [-1 if answer.start is None else answer.start for answer in answers]
        known = was is not None and [answer.start for answer in was.answers] == [answer.start for answer in answers]
        return rest | {"text": texts} | ({} if known else {"answer_start": starts})
    if isinstance(given, list) and was is not None and len(given) == len(texts):
        pairs = zip(given, answers, was.answers, strict=True)
        return [item if answer.text == old.text else answer.text for item, answer, old in pairs]
    return texts[0] if len(texts) == 1 and not isinstance(given, list) else texts


def _is_plain(record: QA) -> bool:
    return record.answerable and all(answer.start is None for answer in record.answers)


ADAPTERS = (
    Adapter(
        name="qa",
        description="question and answer(s) under common names; optional context, choices (list, or columns A to D)",
        example='{"question": "Which is a colour?", "choices": ["red", "two"], "answer": 0}',
        fits=_fits,
        read=_read,
        write=_write,
        kinds=("qa",),
        columns={
            "question": "question",
            "prompt": "question",
            "answer": "answer",
            "response": "answer",
            "context": "context",
        },
    ),
)
