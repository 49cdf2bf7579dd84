"""Classes of characters and the simple lower-case map, as tables that kernels index by code point."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LETTER = 1
"""A letter (general category L), the unspaced scripts' included."""
MARK = 2
"""A combining mark (M)."""
DIGIT = 4
"""A number (N): decimal digits, fractions, numerals."""
UNSPACED = 8
"""A letter or mark of a script written without spaces (Han, kana, Thai, Lao, Khmer, Burmese): one token each."""
SPACE = 16
"""White space, as `str.isspace` has it."""
UPPER = 32
"""An upper- or title-case letter."""
SYMBOL = 64
"""Punctuation or a symbol (P, S)."""
OTHER = 128
"""Control, format, private-use and unassigned characters that are not white space."""
WORD = LETTER | MARK | DIGIT
"""What words are made of."""

CODE_POINTS = 0x110000
_LAST_ASSIGNED = 0x20000
"""From here on: ideographs (planes 2 and 3, assigned or not, so that a newer Unicode changes no token) and plane 14."""
_CASED = 0x1E960
"""No character from here on has a lower case."""

_UNSPACED_BLOCKS = (
    (0x0E00, 0x0F00),  # Thai, Lao
    (0x1000, 0x10A0),  # Burmese
    (0x1780, 0x1800),  # Khmer
    (0x3005, 0x3008),  # iteration mark, closing mark, ideographic zero
    (0x3021, 0x302E),  # Hangzhou numerals, tone marks
    (0x3031, 0x303D),
    (0x3041, 0x3130),  # hiragana, katakana, bopomofo
    (0x31A0, 0x31C0),
    (0x31F0, 0x3200),
    (0x3400, 0x4DC0),  # Han
    (0x4E00, 0xA000),
    (0xA9E0, 0xAA00),  # Burmese extensions
    (0xAA60, 0xAA80),
    (0xF900, 0xFB00),
    (0xFF66, 0xFFA0),  # half-width katakana
    (0x1AFF0, 0x1B170),
)

_BITS = {"L": LETTER, "M": MARK, "N": DIGIT, "P": SYMBOL, "S": SYMBOL, "Z": SPACE, "C": OTHER}


class Tables(NamedTuple):
    """What kernels know about characters."""

    classes: npt.NDArray[np.uint8]
    """Bits above, for every code point."""
    lower: npt.NDArray[np.int32]
    """Simple lower-case map of the code points below its length; the others are their own lower case."""


@cache
def tables() -> Tables:
    """The tables of the running Python's Unicode version; built once, read-only."""
    classes = np.full(CODE_POINTS, OTHER, dtype=np.uint8)
    characters = list(map(chr, range(_LAST_ASSIGNED)))
    classes[:_LAST_ASSIGNED] = _classes_of("".join(characters))
    classes[0x20000:0x40000] = LETTER | UNSPACED
    classes[0xE0100:0xE01F0] = MARK
    for start, end in _UNSPACED_BLOCKS:
        block = classes[start:end]
        block[(block & (LETTER | MARK)) > 0] |= UNSPACED
    for numeral in (0x3007, *range(0x3021, 0x302A), *range(0x3038, 0x303B)):
        classes[numeral] = LETTER | UNSPACED
    lower = np.arange(_CASED, dtype=np.int32)
    # No other characters have a lower case than those that are in one of the two.
    for of_case in (str.isupper, str.istitle):
        for character in filter(of_case, characters[:_CASED]):
            lower[ord(character)] = ord(character.lower()[0])
    classes.setflags(write=False)
    lower.setflags(write=False)
    return Tables(classes, lower)


def _classes_of(characters: str) -> npt.NDArray[np.uint8]:
    """The bits of their general categories, and of white space, which has several."""
    kinds = np.frombuffer("".join(map(unicodedata.category, characters)).encode(), np.uint8).reshape(-1, 2)
    bits = np.zeros(128, np.uint8)
    for letter, bit in _BITS.items():
        bits[ord(letter)] = bit
    cased = (kinds[:, 0] == ord("L")) & np.isin(kinds[:, 1], [ord("u"), ord("t")])
    found = bits[kinds[:, 0]] | cased * np.uint8(UPPER)
    found[[space.start() for space in re.finditer(r"\s", characters)]] = SPACE
    return found


def codes_in(ranges: str) -> npt.NDArray[np.int64]:
    """The code points of ranges.

    >>> codes_in("41-43 61").tolist()
    [65, 66, 67, 97]
    """
    bounds = [[int(code, 16) for code in part.split("-")] for part in ranges.split()]
    return np.concatenate([np.arange(pair[0], pair[-1] + 1) for pair in bounds])


def class_of(character: str) -> int:
    """The class bits of one character.

    >>> class_of("中") & UNSPACED > 0, class_of("a") & UNSPACED > 0
    (True, False)
    """
    return int(tables().classes[ord(character)])


def lower_of(character: str) -> str:
    """The simple lower case of one character: always one character.

    >>> lower_of("Ä"), lower_of("İ"), lower_of("ß")
    ('ä', 'i', 'ß')
    """
    lower = tables().lower
    return chr(lower[ord(character)]) if ord(character) < len(lower) else character
