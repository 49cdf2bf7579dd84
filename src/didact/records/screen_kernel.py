"""`screening` over Arrow buffers: for whole columns of texts a kernel tells in one pass which records are doubted.

As there, a record may be doubted that is right; one that a check objects to is always doubted, check by check.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.records.answer_checks import (
    ECHO_LEAST,
    LOOP_LEAST,
    LOOP_NEEDLE,
    LOOP_REACH,
    LOOP_ROUNDS,
    OPEN_MARKS,
    OPEN_WORDS,
)
from didact.records.base import ROLES
from didact.records.doubts import EMPTY, MOJIBAKE, SHAPE
from didact.records.screening import LOOK_BEHIND, NEAR, PAIRED, beginnings, characters
from didact.text.characters import SPACE, tables
from didact.text.compiled import inlined, kernel, part
from didact.text.eight import Index, byte_of, continuations, eight_bytes, how_many
from didact.text.utf8 import code_point, code_point_before, place_before
from didact.text.views import View, all_read_only

_USER, _ASSISTANT, _NOBODY = (ROLES.index(role) for role in ("user", "assistant", "text"))
_BEYOND = 0xFF
"""Stands for every byte of a character beyond ASCII where the bytes behind a place are looked at."""
_FAR = 0x10000
"""Characters from here on are like halves of surrogate pairs: nothing is known of them."""
_WORD = max(map(len, OPEN_WORDS))
"""Letters of the longest word that no sentence ends with; eight fit the number that a word is compared as."""


class _Tables(NamedTuple):
    """What the kernel knows of characters. beginnings: see `screening.beginnings`.

    doubts: (0x10000,), by code point, and what `LOOK_BEHIND` and `PAIRED` say.  quiet: (256,), bytes that eight are
    passed over for.  words: (n,), `OPEN_WORDS` as the numbers their bytes are.
    """

    rows: NDArray[np.int32]
    beginnings: NDArray[np.uint16]
    doubts: NDArray[np.uint16]
    quiet: NDArray[np.bool_]
    classes: NDArray[np.uint8]
    words: NDArray[np.uint64]
    marks: NDArray[np.int32]


@cache
def _tables() -> _Tables:
    rows, begin = beginnings()
    doubts = characters()
    quiet = np.zeros(256, np.bool_)
    quiet[:128] = doubts[:128] == 0
    words = np.array([int.from_bytes(word.encode(), "little") for word in sorted(OPEN_WORDS)], np.uint64)
    marks = np.array([*map(ord, OPEN_MARKS)], np.int32)
    return all_read_only(_Tables(rows, begin, doubts, quiet, tables().classes, words, marks))


def doubts_of_columns(texts: pa.StringArray, roles: NDArray[np.int8], bounds: NDArray[np.int64]) -> NDArray[np.uint16]:
    """The doubts about records. roles: of each text the place of its role in `ROLES`. bounds: where the texts of each
    record begin, (records + 1,).
    """
    view = View.of_texts(texts)
    doubts = np.zeros(len(bounds) - 1, np.uint16)
    _screen(view.data, view.text_offsets, roles, bounds, _tables(), np.empty((len(texts), 2), np.int64), doubts)
    return doubts


@kernel
def _screen(data, offsets, roles, bounds, known, spans, doubts):  # type: ignore[no-untyped-def]
    for record in range(len(doubts)):
        found = 0
        for text in range(bounds[record], bounds[record + 1]):
            found |= _signs(data, offsets[text], offsets[text + 1], known)
        doubts[record] = found | _shapes(data, offsets, roles, bounds[record], bounds[record + 1], known, spans)


@inlined
def _behind(data, i, end):  # type: ignore[no-untyped-def]
    """The byte at a place; a line end where the text has ended, and one for all characters beyond ASCII."""
    if i >= end:
        return np.uint8(10)
    return data[i] if data[i] < 0x80 else np.uint8(_BEYOND)


@part
def _signs(data, start, end, known):  # type: ignore[no-untyped-def]
    """What single characters of a text and their neighbours tell."""
    found, paired = 0, False
    i: Index = np.int64(start)
    while i < end:
        if i + 8 <= end:
            eight = eight_bytes(data, i)
            quiet = True
            for k in range(8):
                quiet &= known.quiet[byte_of(eight, k)]
            if quiet:
                i += 8
                paired = False
                continue
        code, width = code_point(data, i)
        doubt = known.doubts[code if code < _FAR else 0xD800]
        if doubt & LOOK_BEHIND:
            found |= known.beginnings[known.rows[code], _behind(data, i + 1, end), _behind(data, i + 2, end)]
        else:
            found |= doubt & (PAIRED - 1)
        if doubt & PAIRED:
            found |= MOJIBAKE * paired
        paired = doubt & PAIRED > 0
        i += width
    return found


@part
def _shapes(data, offsets, roles, first, last, known, spans):  # type: ignore[no-untyped-def]
    """What the lengths of texts without outer white space tell, and the ends of answers. spans: takes where they are
    without it.
    """
    asked, asks, answers, alone, found = False, False, False, last > first, 0
    for text in range(first, last):
        start, end = _stripped(data, offsets[text], offsets[text + 1], known.classes)
        spans[text, 0], spans[text, 1] = start, end
        role, says = roles[text], end > start
        asked |= role == _USER
        asks |= role == _USER and says
        answers |= role == _NOBODY or (role == _ASSISTANT and says)
        alone &= role == _NOBODY
    if alone:
        return 0
    if (asked and not asks) or not answers or first == last or spans[first, 0] == spans[first, 1]:
        found |= EMPTY
    if last - first > NEAR:
        return found | SHAPE
    for text in range(first, last):
        if roles[text] == _ASSISTANT and (
            _is_echo(data, roles, first, text, spans) or _is_odd(data, spans[text, 0], spans[text, 1], known)
        ):
            found |= SHAPE
    return found


@part
def _stripped(data, start, end, classes):  # type: ignore[no-untyped-def]
    """Where a text begins and ends without outer white space."""
    while start < end:
        code, width = code_point(data, start)
        if not classes[code] & SPACE:
            break
        start += width
    while start < end:
        code, width = code_point_before(data, start, end)
        if not classes[code] & SPACE:
            break
        end -= width
    return start, end


@part
def _is_echo(data, roles, first, text, spans):  # type: ignore[no-untyped-def]
    """Whether an answer says what was asked before it."""
    start, size = spans[text, 0], spans[text, 1] - spans[text, 0]
    if size < ECHO_LEAST:
        return False
    for other in range(first, text):
        if roles[other] == _USER and spans[other, 1] - spans[other, 0] == size:
            k, there = 0, spans[other, 0]
            while k < size and data[start + k] == data[there + k]:
                k += 1
            if k == size:
                return True
    return False


@part
def _is_odd(data, start, end, known):  # type: ignore[no-untyped-def]
    """Whether an answer may end in a loop or inside a sentence; see `odd_endings`."""
    size = _characters(data, start, end) if end - start >= LOOP_LEAST else 0
    if size < LOOP_LEAST:
        return False
    last = code_point_before(data, start, end)[0]
    for mark in known.marks:
        if last == mark:
            return True
    return _ends_with_word(data, end, known.words) or _ends_again(data, start, end, size)


@part
def _characters(data, start, end):  # type: ignore[no-untyped-def]
    """How many there are."""
    count = end - start
    while start + 8 <= end:
        count -= how_many(continuations(eight_bytes(data, start)))
        start += 8
    while start < end:
        count -= data[start] & 0xC0 == 0x80
        start += 1
    return count


@part
def _ends_with_word(data, end, words):  # type: ignore[no-untyped-def]
    """Whether the last word of a text of more than eight bytes is one of these."""
    value, size = np.uint64(0), 0
    while data[end - size - 1] != 32:
        if size == _WORD:
            return False
        size += 1
        value = value << np.uint64(8) | np.uint64(data[end - size])
    known = False
    for word in words:
        known |= value == word
    return known


@part
def _ends_again(data, start, end, size):  # type: ignore[no-untyped-def]
    """Whether the last characters of a text stand before already, not farther off than the unit of a loop is long."""
    longest = size // LOOP_ROUNDS if size < LOOP_ROUNDS * LOOP_REACH else LOOP_REACH
    needle = place_before(data, start, end, LOOP_NEEDLE)
    eight = eight_bytes(data, needle)
    for place in range(place_before(data, start, needle, longest), needle):
        if eight_bytes(data, place) == eight:
            k = 8
            while needle + k < end and data[place + k] == data[needle + k]:
                k += 1
            if needle + k == end:
                return True
    return False
