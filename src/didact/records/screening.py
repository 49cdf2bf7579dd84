"""Which records of a block may have problems in their texts: a few passes over all of them at once spare most records
every check.

A record may be doubted that is right; one that a check objects to is always doubted, check by check. The tests compare
what the checks find with and without it.
"""

from __future__ import annotations

from codecs import utf_16_le_encode
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from didact.records.answer_checks import ECHO_LEAST, LOOP_LEAST, odd_endings
from didact.records.base import ROLES, Text
from didact.records.doubts import (
    ANOTHER,
    DECOMPOSED,
    EMPTY,
    ENTITIES,
    EVERY,
    IDENTITY,
    LINE_ENDS,
    LOST,
    MOJIBAKE,
    PLACEHOLDERS,
    SENTENCE,
    SHAPE,
    TAGS,
    TOKENS,
    UNSHOWN,
)
from didact.text.characters import codes_in
from didact.text.clean_rules import C1, MOJIBAKE_ALONE, MOJIBAKE_PAIR

_Flags = npt.NDArray[np.uint16]
_Numbers = npt.NDArray[np.int64]

NEAR = 8
"""Texts of a record up to which an answer is compared with each that stands before it."""
_ROLE_CODE: dict[str, int] = {role: code for code, role in enumerate(ROLES)}
_USER, _ASSISTANT, _NOBODY = (_ROLE_CODE[role] for role in ("user", "assistant", "text"))


def doubts_of(given: Sequence[Sequence[Text]]) -> list[int]:
    """For each record, given by its texts, the doubts about it."""
    flat = list(chain.from_iterable(given))
    return doubts_about([text[2] for text in flat], [text[1] for text in flat], list(map(len, given)))


def doubts_about(texts: Sequence[str], roles: Sequence[str], sizes: Sequence[int]) -> list[int]:
    """As `doubts_of`, of records given by all their texts, the roles of these, and how many of them each has."""
    if not texts:
        return [EVERY] * len(sizes)
    counts = np.array(sizes, np.int64)
    record = np.repeat(np.arange(len(counts)), counts)
    doubts = np.zeros(len(counts), np.uint16)
    narrow = np.fromiter(map(str.isascii, texts), np.bool_, len(texts))
    if narrow.any():
        _note(doubts, record[narrow], _ascii_signs([text for text in texts if text.isascii()]))
    if not narrow.all():
        _note(doubts, record[~narrow], _unicode_signs([text for text in texts if not text.isascii()]))
    if roles.count("text") < len(roles):
        _doubt_shapes(doubts, roles, list(map(str.strip, texts)), record, counts)
    return list(doubts.tolist())


def _doubt_shapes(
    doubts: _Flags, roles: Sequence[str], texts: Sequence[str], record: _Numbers, counts: _Numbers
) -> None:
    """What the lengths of texts without outer white space tell, and the ends of answers."""
    role = np.fromiter(map(_ROLE_CODE.__getitem__, roles), np.int8, len(roles))
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    asked, answered, seen = role == _USER, role == _ASSISTANT, sizes > 0
    some = np.zeros((4, len(counts)), np.bool_)
    for row, which in zip(some, (asked, asked & seen, answered & seen, role == _NOBODY), strict=True):
        row[record[which]] = True
    doubts[(some[0] & ~some[1]) | ~(some[2] | some[3])] |= EMPTY
    firsts = (np.cumsum(counts) - counts)[counts > 0]
    doubts[record[firsts[~seen[firsts]]]] |= EMPTY
    lengths = record << 32 | sizes
    given, echoed = np.where(asked, lengths, -1), np.where(answered & (sizes >= ECHO_LEAST), lengths, -2)
    for back in range(1, min(int(counts.max()), NEAR)):
        doubts[record[back:][echoed[back:] == given[:-back]]] |= SHAPE
    doubts[counts > NEAR] |= SHAPE
    doubts[record[odd_endings(texts, np.flatnonzero(answered & (sizes >= LOOP_LEAST)).tolist())]] |= SHAPE


class _Signs(NamedTuple):
    """What single characters of joined texts and their neighbours tell."""

    sizes: _Numbers
    """Of the texts, in units such as the places count."""
    places: _Numbers
    doubts: _Flags
    """At each place."""


def _note(doubts: _Flags, record: _Numbers, signs: _Signs) -> None:
    """Add the doubts of texts to those of their records."""
    found = np.flatnonzero(signs.doubts)
    text = np.searchsorted(np.cumsum(signs.sizes), signs.places[found], side="right")
    np.bitwise_or.at(doubts, record[text], signs.doubts[found])


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OTHER = "\xff"
"""Stands for every character beyond ASCII."""
_BEGINNINGS: dict[str, tuple[tuple[int, str, str], ...]] = {
    "<": (
        (TOKENS, "|", _LETTERS),
        (TOKENS, _OTHER, ""),
        (TOKENS, "<", "S/"),
        (TOKENS, "s", "t"),
        (TOKENS, "e", "no"),
        (TOKENS, "b", "o"),
        (TOKENS, "p", "a"),
        (TOKENS, "t", "o"),
        (TOKENS, "/", "t"),
        (SENTENCE, "s", ">"),
        (SENTENCE, "/", "s"),
        (TAGS, "tr", "he"),
        (TAGS, "/", "tr"),
    ),
    "[": ((TOKENS, "I", "N"), (TOKENS, "/", "I")),
    "&": ((ENTITIES, "#" + _LETTERS, ""),),
    "\\": ((LINE_ENDS, "n", ""),),
    "{": ((PLACEHOLDERS, "{", ""),),
    "A": ((IDENTITY, "I", ""),),
    "G": ((IDENTITY, "P", "T"),),
    "_": ((TAGS, "o", "f"),),
    "I": ((ANOTHER, "n", "s"),),
}
"""How what is looked for begins: first character, and for each doubt the second and the third; none: any."""
_CONTROLS = sorted({*range(32), 127} - set(b"\t\n\r"))

_COMPOSED = (
    "80-2FF 370-373 388-482 48A-52F 2002-20CF 2100-2125 2127-2129 212C-2328 232B-2ADB 2ADD-2BFF 3000-3029 3030-3098"
    " 309B-312F 3400-9FFF AC00-D7A3 FF01-FFEF"
)
"""Characters that Normalization Form C leaves alone wherever they stand; there are others."""
_ALL_SHOWN = 0x3400, 0xFF00
"""Bounds of those that are all printable."""
PAIRED = 1 << 15
"""Two such characters side by side make a doubt of mojibake."""

_NOTED = bytes(byte in _CONTROLS or chr(byte) in _BEGINNINGS for byte in range(256))
"""For `bytes.translate`: 1 for the bytes that are looked at, else 0."""
LOOK_BEHIND = 1 << 14
"""The doubts depend on the two characters behind such a one."""
_AFTER_ALL = "\n\n"
"""So that two characters follow each."""


@cache
def beginnings() -> tuple[npt.NDArray[np.int32], _Flags]:
    """A row for each first byte, and rows of the doubts by the two bytes behind it."""
    rows = np.zeros(128, np.int32)
    table = np.zeros((2 + len(_BEGINNINGS), 256, 256), np.uint16)
    rows[_CONTROLS] = 1
    table[1] = UNSHOWN
    for row, (first, followers) in enumerate(_BEGINNINGS.items(), 2):
        rows[ord(first)] = row
        for doubt, second, third in followers:
            behind = np.zeros(256, np.bool_)
            behind[[*third.encode("latin-1")] or slice(None)] = True
            for byte in second.encode("latin-1"):
                table[row, byte, behind] |= doubt
    return rows, table


def _ascii_signs(texts: Sequence[str]) -> _Signs:
    content = "".join([*texts, _AFTER_ALL]).encode()
    places = np.flatnonzero(np.frombuffer(content.translate(_NOTED), np.bool_))
    codes = np.frombuffer(content, np.uint8)
    rows, table = beginnings()
    doubts = table[rows[codes[places]], codes[places + 1], codes[places + 2]]
    return _Signs(np.fromiter(map(len, texts), np.int64, len(texts)), places, doubts)


@cache
def characters() -> _Flags:
    """The doubts by UTF-16 code unit; halves of surrogate pairs are characters of which nothing is known."""
    table = np.full(0x10000, UNSHOWN | DECOMPOSED, np.uint16)
    composed = codes_in(_COMPOSED)
    table[composed] = 0
    others = composed[(composed < _ALL_SHOWN[0]) | (composed >= _ALL_SHOWN[1])]
    table[[code for code in others.tolist() if not chr(code).isprintable()]] = UNSHOWN
    table[0x3000] = 0
    table[:128] = np.frombuffer(_NOTED, np.bool_)[:128] * np.uint16(LOOK_BEHIND)
    table[codes_in(MOJIBAKE_PAIR)] |= PAIRED
    table[[*codes_in(C1), *map(ord, MOJIBAKE_ALONE)]] |= MOJIBAKE
    for character, doubt in (("\ufffd", LOST), ("◁", TAGS), ("我", IDENTITY), ("指", ANOTHER)):
        table[ord(character)] |= doubt
    return table


def _unicode_signs(texts: Sequence[str]) -> _Signs:
    encoded = [utf_16_le_encode(text)[0] for text in texts]
    units = np.frombuffer(b"".join([*encoded, utf_16_le_encode(_AFTER_ALL)[0]]), "<u2")
    doubts = characters()[units]
    places = np.flatnonzero(doubts)
    doubts = doubts[places]
    paired = doubts >= PAIRED
    doubts &= PAIRED - 1
    doubts[1:][paired[1:] & paired[:-1] & (places[1:] == places[:-1] + 1)] |= MOJIBAKE
    open_ = np.flatnonzero(doubts & LOOK_BEHIND)
    rows, table = beginnings()
    first, second, third = (np.minimum(units[places[open_] + i], ord(_OTHER)) for i in range(3))
    doubts[open_] = table[rows[first], second, third]
    return _Signs(np.fromiter(map(len, encoded), np.int64, len(texts)) // 2, places, doubts)
