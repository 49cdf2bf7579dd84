"""GSM8K: a question and a worked answer whose last line gives the result after `####`."""

from __future__ import annotations

import re
from typing import Any

from didact.errors import NoPlace
from didact.formats.draft import Draft
from didact.formats.fields import Fields, has_text
from didact.formats.registry import Adapter, Reading
from didact.records import QA, Answer, Header

_FINAL = re.compile(r"####[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def _fits(row: Any) -> float:
    if not has_text(row, "question", "answer"):
        return 0.0
    return 1.0 if isinstance(row["answer"], str) and "####" in row["answer"] else 0.2


def final_answer(answer: str) -> str | None:
    """What stands after the last `####`, without thousands commas, dollar sign and closing dot; None: nothing does.

    >>> final_answer("6 * 7 = 42 dollars\\n#### $1,042.")
    '1042'
    """
    marked = _FINAL.findall(answer)
    if not marked:
        return None
    return marked[-1].replace(",", "").lstrip("$").rstrip(".").strip() or None


def _read(row: Any, header: Header | None) -> Reading:
    """The answer stays as written; the result is derived from it."""
    del header
    fields = Fields(row)
    question, answer = fields.text("question"), fields.text("answer")
    record = QA.made(
        question=question,
        answers=[Answer.made(text=answer)],
        final_answer=final_answer(answer),
        origin=fields.origin("gsm8k"),
    )
    return Reading(record, fields.notes)


def _write(draft: Draft) -> None:
    draft.put("question", lambda qa: qa.question)
    draft.put("answer", _only_answer)


def _only_answer(qa: QA) -> str:
    if len(qa.answers) != 1:
        raise NoPlace(f"{len(qa.answers)} answers where one has a place", "/answers")
    return qa.answers[0].text


ADAPTERS = (
    Adapter(
        name="gsm8k",
        description="question and worked answer with the result after ####",
        example='{"question": "Six boxes of seven?", "answer": "6 * 7 = <<6*7=42>>42\\n#### 42"}',
        fits=_fits,
        read=_read,
        write=_write,
        kinds=("qa",),
        columns={"question": "question", "answer": "answer"},
    ),
)
