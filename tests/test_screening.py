"""Screening: the checks that it spares a record would find nothing, whatever the record says."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich_texts import PROSE, RICH
from strategies import RECORDS

from didact.records import QA, Answer, Chat, Message, PlainText, Record, Task, Text, TextPart
from didact.records.base import ROLES
from didact.records.checks import check
from didact.records.doubts import DECOMPOSED, EVERY, LINE_ENDS, MOJIBAKE, PLACEHOLDERS, SENTENCE, SHAPE, TOKENS, UNSHOWN
from didact.records.screen_kernel import doubts_of_columns
from didact.records.screening import doubts_of
from didact.text.clean_rules import control_characters, invisible_characters, mojibake

_SAID = st.lists(st.builds(TextPart, text=RICH), max_size=2)
_MESSAGES = st.lists(
    st.builds(Message, role=st.sampled_from(["system", "user", "assistant", "tool"]), parts=_SAID),
    min_size=1,
    max_size=12,
)
_TASKS = st.builds(
    Task,
    definition=st.none() | RICH,
    input=RICH,
    outputs=st.lists(RICH, min_size=1, max_size=2),
    choices=st.lists(RICH),
)
_QAS = st.builds(
    QA, question=RICH, context=st.none() | RICH, answers=st.lists(st.builds(Answer, text=RICH), max_size=2)
)
_CHATS = st.builds(Chat, messages=_MESSAGES)
_PLAIN = st.builds(PlainText, text=RICH)


Screen = Callable[[Sequence[Sequence[Text]]], Sequence[int]]


def _by_kernel(given_: Sequence[Sequence[Text]]) -> Sequence[int]:
    """The doubts that the kernel has about records of these texts."""
    flat = [text for texts in given_ for text in texts]
    roles = np.array([ROLES.index(text.role) for text in flat], np.int8)
    bounds = np.cumsum([0, *map(len, given_)]).astype(np.int64)
    return list(doubts_of_columns(pa.array([text.text for text in flat], pa.string()), roles, bounds).tolist())


BOTH = pytest.mark.parametrize("screen", [doubts_of, _by_kernel])


@BOTH
@given(st.lists(_TASKS | _QAS | _CHATS | _PLAIN | RECORDS, max_size=6) | st.lists(_PLAIN, max_size=3))
def test_no_check_is_spared_that_finds_something(screen: Screen, records: list[Record]) -> None:
    """What is found in records of several kinds side by side is the same with and without, in the same order."""
    texts = [record.texts() for record in records]
    for record, given_, doubts in zip(records, texts, screen(texts), strict=True):
        assert check(record, given_, doubts) == check(record, given_, EVERY)


@BOTH
@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("CO005", " Say again what I say to you, word for word.\n"),
        ("CO005", "\u3000请你再说一遍这句话。"),
        ("CO006", PROSE * 2 + "They like the"),
        ("CO006", PROSE * 2 + "In May, "),
        ("CO006", "茶。" * 110 + "好，"),
        ("CO007", "and the cat sat " * 9),
        ("CO007", "哈哈，" * 60),
        ("UN002", "crÃ¨me"),
        ("UN002", "It isnâ€™t."),
        ("UN006", "Yes.<｜end▁of▁sentence｜>"),
        ("UN006", "Yes. [/INST]"),
        ("UN001", "a\x07b"),
        ("UN004", "wo\u200brd"),
        ("UN005", "cafe\u0301"),
        ("UN007", "a\ufffdb"),
        ("CO004", "Yes.\n\n### Instruction: Sing."),
        ("CO008", "As an AI language model, I cannot."),
        ("CO009", "<think>Hm."),
        ("CO010", "Dear {{name}}, hello."),
        ("CO012", "Fish &amp; chips"),
    ],
)
def test_every_kind_of_problem_is_doubted(screen: Screen, code: str, answer: str) -> None:
    """An answer with the problem has it with the checks that are not spared too, beside answers that have none."""
    asked = answer.strip() if code == "CO005" else "Say something."
    right = Task(definition="Say it.", outputs=["It is said."])
    records = [right, Task(definition=asked, outputs=[answer]), right]
    texts = [record.texts() for record in records]
    found = [[problem[0] for problem in check(*one)] for one in zip(records, texts, screen(texts), strict=True)]
    assert found == [[], [code], []]


@BOTH
def test_right_records_are_spared_every_check_of_texts(screen: Screen) -> None:
    """Nothing in plain English, French, Chinese, Korean and code raises a doubt."""
    answers = (
        "The Nile; it is 6,650 km long (4,130 mi).",
        "Déjà vu à l'école, n'est-ce pas ?",
        "“你好”，他说：“再见……”——完。",
        "서울은 한국의 수도이다.",
        "def f(x):\n    return x < 3 and x > [1][0]",
    )
    records = [Task(definition="Say it.", outputs=[answer]).texts() for answer in answers]
    assert screen(records) == [0] * len(answers)


@BOTH
def test_every_character_that_a_check_minds_is_doubted(screen: Screen) -> None:
    """Each code point alone, each that composes with the one before, and each beside itself."""
    every = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000] + [chr(0xE0041)]
    composing = [parts for one in every if len(parts := unicodedata.normalize("NFD", one)) > 1]
    texts = [*every, *composing, *(one * 2 for one in every)]
    for text, doubts in zip(texts, screen([[Text("text", "text", text)] for text in texts]), strict=True):
        read = mojibake(text)
        assert doubts & UNSHOWN or control_characters(read) == read or doubts & MOJIBAKE, ascii(text)
        assert doubts & UNSHOWN or invisible_characters(text) == text, ascii(text)
        assert doubts & UNSHOWN or text.isprintable() or not text.strip("\n\t\r\u3000"), ascii(text)
        assert doubts & DECOMPOSED or unicodedata.is_normalized("NFC", text), ascii(text)
        assert doubts & MOJIBAKE or read == text, ascii(text)


@given(st.lists(_TASKS | _CHATS | _PLAIN, min_size=1, max_size=6))
def test_the_kernel_doubts_hardly_more(records: list[Record]) -> None:
    """But for neighbouring characters and lengths, it doubts what joined texts raise a doubt of."""
    texts = [record.texts() for record in records if record.texts()]
    for joined, alone in zip(doubts_of(texts), _by_kernel(texts), strict=True):
        assert alone & ~joined & ~_OF_NEIGHBOURS == 0


_OF_NEIGHBOURS = TOKENS | SENTENCE | LINE_ENDS | PLACEHOLDERS | SHAPE
"""Depend on the characters behind, of which the kernel takes those beyond ASCII for one, or on lengths."""
