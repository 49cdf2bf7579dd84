"""Character tables: what they say is what Python's own methods say, and no Unicode version moves an ideograph."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from didact.text.characters import (
    DIGIT,
    LETTER,
    MARK,
    OTHER,
    SPACE,
    SYMBOL,
    UNSPACED,
    UPPER,
    WORD,
    class_of,
    lower_of,
    tables,
)

EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
ASSIGNED = [character for character in EVERY if unicodedata.category(character) != "Cn"]


def test_every_code_point_has_exactly_one_major_class() -> None:
    """Letter, mark, number, space, symbol, other: one of them, never two."""
    major = tables().classes & (LETTER | MARK | DIGIT | SPACE | SYMBOL | OTHER)
    assert set(np.unique(major).tolist()) == {LETTER, MARK, DIGIT, SPACE, SYMBOL, OTHER}


def test_white_space_is_what_python_strips() -> None:
    """A character is white space exactly when `str.isspace` says so."""
    assert all((class_of(c) == SPACE) == c.isspace() for c in EVERY)


def test_letters_are_general_category_l() -> None:
    """Outside the ideographic numerals, which are words of their own, the letter bit is category L."""
    differing = [c for c in ASSIGNED if bool(class_of(c) & LETTER) != unicodedata.category(c).startswith("L")]
    assert {unicodedata.category(c) for c in differing} <= {"Nl"}
    assert all(class_of(c) & UNSPACED for c in differing)


def test_upper_case_letters_are_upper() -> None:
    """The upper-case bit is general category Lu or Lt."""
    assert all(bool(class_of(c) & UPPER) == (unicodedata.category(c) in ("Lu", "Lt")) for c in ASSIGNED)


@pytest.mark.parametrize(
    "script",
    [
        "CJK UNIFIED IDEOGRAPH",
        "HIRAGANA LETTER",
        "KATAKANA LETTER",
        "THAI CHARACTER",
        "LAO LETTER",
        "KHMER LETTER",
        "MYANMAR LETTER",
    ],
)
def test_unspaced_scripts_are_one_token_for_each_letter(script: str) -> None:
    """Every letter or mark whose Unicode name begins with the script's is a token of its own."""
    named = [c for c in ASSIGNED if unicodedata.name(c, "").startswith(script) and unicodedata.category(c)[0] in "LM"]
    assert named
    assert all(class_of(c) & UNSPACED for c in named)


def test_spaced_scripts_are_not_split() -> None:
    """No letter of a script written with spaces is taken apart."""
    spaced = ("LATIN", "GREEK", "CYRILLIC", "HANGUL", "ARABIC", "HEBREW", "DEVANAGARI")
    named = [c for c in ASSIGNED if unicodedata.name(c, "").startswith(spaced) and class_of(c) & WORD]
    assert not [c for c in named if class_of(c) & UNSPACED]


def test_ideographs_of_later_unicode_versions_are_ideographs() -> None:
    """All of planes 2 and 3 counts as Han, assigned or not, so tokens do not depend on the running Python."""
    assert all(class_of(chr(code)) == LETTER | UNSPACED for code in (0x20000, 0x2EBF0, 0x323B0, 0x3FFFF))


def test_lower_case_is_the_simple_map() -> None:
    """Every character has one lower-case character: Python's, but for the one whose full map has two."""
    assert [c for c in EVERY if lower_of(c) != c.lower()] == ["İ"]
    assert lower_of("İ") == "i"
