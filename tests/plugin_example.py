"""The example of docs/plugins.md: a format, a signal and a metric of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from didact.curate.signals import SignalText, signal
from didact.evaluate.metrics import register as metric
from didact.formats.fields import Fields, has_text
from didact.formats.registry import Adapter, Reading
from didact.records import QA, Answer, Header


def _fits(row: Any) -> float:
    """How much a row looks like a flash card, from 0 to 1."""
    return 1.0 if has_text(row, "front", "back") else 0.0


def _read(row: Any, header: Header | None) -> Reading:
    """A flash card as a question; keys that are not taken stay with the record's origin."""
    fields = Fields(row)
    record = QA(
        question=fields.text("front"),
        answers=[Answer(text=fields.text("back"))],
        origin=fields.origin("flash_cards"),
    )
    return Reading(record, fields.notes)


FLASH_CARDS = Adapter(
    name="flash_cards",
    description="flash cards with a front and a back",
    example='{"front": "Capital of Peru?", "back": "Lima"}',
    fits=_fits,
    read=_read,
    columns={"question": "front", "answer": "back"},
)


@signal("response.shouting", "0 or 1", "whether an answer is written in capitals")
def shouting(texts: Sequence[SignalText]) -> float:
    """1 when some answer has letters and none of them is lower-case."""
    return float(any(text.role == "assistant" and text.text.isupper() for text in texts))


@metric("first_word")
def first_word(answer: str, reference: str) -> float:
    """1 when both texts begin with the same word."""
    return float(answer.split()[:1] == reference.split()[:1])
