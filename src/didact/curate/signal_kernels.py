"""Kernels that count what signals are made of, in one pass over the bytes of a view."""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit

from didact.text.characters import DIGIT, LETTER, SPACE, SYMBOL, UNSPACED, UPPER, WORD, tables
from didact.text.tokens import token_hash
from didact.text.utf8 import FNV_OFFSET, code_point, fold, mix
from didact.text.views import View


class Count(IntEnum):
    """Columns of the counts, a row for each record. A line ends at a line feed and holds a visible character."""

    BYTES = 0
    CHARS = 1
    WORDS = 2
    WORD_CHARS = 3
    LETTERS = 4
    DIGITS = 5
    UNSPACED = 6
    SPACES = 7
    UPPER = 8
    SYMBOLS = 9
    LONGEST_RUN = 10
    DISTINCT_WORDS = 11
    LETTER_WORDS = 12
    STOP_WORDS = 13
    LINES = 14
    LINE_CHARS = 15
    REPEATED_LINES = 16
    REPEATED_LINE_CHARS = 17
    SHORT_LINES = 18
    ENDED_LINES = 19
    ELLIPSIS_LINES = 20
    BULLET_LINES = 21
    FENCES = 22
    LAST = 23
    """Not a count: the last visible code point, 0 when there is none."""


STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's words (arXiv:2112.11446, appendix A1): English prose holds at least two of them."""
SHORT_LINE = 30
"""Characters up to which FineWeb calls a line short."""

LINE = 0x110000
"""Folded into the hash of a line; beyond every code point."""

_LETTER, _DIGIT, _UNSPACED, _SPACE = np.uint8(LETTER), np.uint8(DIGIT), np.uint8(UNSPACED), np.uint8(SPACE)
_UPPER, _SYMBOL, _WORD = np.uint8(UPPER), np.uint8(SYMBOL), np.uint8(WORD)
_BYTES, _CHARS, _WORDS, _WORD_CHARS, _LETTERS, _DIGITS = (int(c) for c in list(Count)[:6])
_UNSPACED_CHARS, _SPACES, _UPPERS, _SYMBOLS, _LONGEST_RUN, _DISTINCT = (int(c) for c in list(Count)[6:12])
_LETTER_WORDS, _STOPS, _LINES, _LINE_CHARS, _REPEATED, _REPEATED_CHARS = (int(c) for c in list(Count)[12:18])
_SHORT, _ENDED, _ELLIPSES, _BULLETS, _FENCES, _LAST = (int(c) for c in list(Count)[18:])
_ENDS = 1
_BULLET = 2


@njit(cache=True, nogil=True)
def _seen(table, stamps, stamp, value):  # type: ignore[no-untyped-def]
    """Put a hash into an open-addressing set; whether it was in it. Entries of other stamps count as free."""
    place = value & np.uint64(len(table) - 1)
    while stamps[place] == stamp:
        if table[place] == value:
            return True
        place = (place + np.uint64(1)) & np.uint64(len(table) - 1)
    table[place], stamps[place] = value, stamp
    return False


@njit(cache=True, nogil=True)
def _count_characters(data, start, end, classes, kinds, row):  # type: ignore[no-untyped-def]
    """Add a segment's bytes, how many characters of each class it has, and its longest run of one visible character."""
    row[_BYTES] += end - start
    i, previous, run, longest, last = start, -1, 0, 0, row[_LAST]
    while i < end:
        code, width = code_point(data, i)
        i += width
        kind = classes[code]
        kinds[kind] += 1
        run = run + 1 if code == previous else 1
        previous = code
        if not kind & _SPACE:
            last = code
            longest = max(longest, run)
    row[_LAST], row[_LONGEST_RUN] = last, max(row[_LONGEST_RUN], longest)


@njit(cache=True, nogil=True)
def _sum_classes(kinds, row):  # type: ignore[no-untyped-def]
    """Turn how often each combination of class bits occurred into counts, and clear it."""
    for kind in range(256):
        count = kinds[kind]
        if count:
            row[_CHARS] += count
            row[_LETTERS] += count * ((kind & _LETTER) > 0)
            row[_DIGITS] += count * ((kind & _DIGIT) > 0)
            row[_UNSPACED_CHARS] += count * ((kind & _UNSPACED) > 0)
            row[_SPACES] += count * ((kind & _SPACE) > 0)
            row[_UPPERS] += count * ((kind & _UPPER) > 0)
            row[_SYMBOLS] += count * ((kind & _SYMBOL) > 0)
            kinds[kind] = 0


@njit(cache=True, nogil=True)
def _end_word(state, chars, letters, stops, table, stamps, stamp, row):  # type: ignore[no-untyped-def]
    """Count one word of `chars` characters whose FNV state is given; `letters` when one of them is a letter."""
    word = mix(state)
    row[_WORDS] += 1
    row[_WORD_CHARS] += chars
    row[_LETTER_WORDS] += letters
    if not _seen(table, stamps, stamp, word):
        row[_DISTINCT] += 1
        for stop in stops:
            row[_STOPS] += word == stop


@njit(cache=True, nogil=True)
def _count_words(data, start, end, classes, lower, stops, table, stamps, stamp, row):  # type: ignore[no-untyped-def]
    """Add a segment's words: as tokens are, but a segment without any has none."""
    i, state, chars, letters = start, FNV_OFFSET, 0, False
    while i < end:
        code, width = code_point(data, i)
        i += width
        kind = classes[code]
        if kind & _WORD and not kind & _UNSPACED:
            state = fold(state, lower[code] if code < len(lower) else code)
            chars += 1
            letters |= (kind & _LETTER) > 0
            continue
        if chars:
            _end_word(state, chars, letters, stops, table, stamps, stamp, row)
            state, chars, letters = FNV_OFFSET, 0, False
        if kind & _UNSPACED:
            _end_word(fold(FNV_OFFSET, code), 1, True, stops, table, stamps, stamp, row)
    if chars:
        _end_word(state, chars, letters, stops, table, stamps, stamp, row)


@njit(cache=True, nogil=True)
def _end_line(data, start, end, state, first, last, chars, marks, table, stamps, stamp, row):  # type: ignore[no-untyped-def]
    """Count one line: visible characters from `first` to `last`, `chars` characters with the space between them."""
    row[_LINES] += 1
    row[_LINE_CHARS] += chars
    row[_SHORT] += chars <= SHORT_LINE
    row[_ENDED] += (marks[last] & _ENDS) > 0
    row[_BULLETS] += (marks[first] & _BULLET) > 0
    dots = end - start >= 3 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46
    row[_ELLIPSES] += dots or last == 0x2026
    row[_FENCES] += end - start >= 3 and data[start] == 96 and data[start + 1] == 96 and data[start + 2] == 96
    # Words and lines share the set: a line's hash has one unit more than any text, so it is no word's.
    if _seen(table, stamps, stamp, mix(fold(state, LINE))):
        row[_REPEATED] += 1
        row[_REPEATED_CHARS] += chars


@njit(cache=True, nogil=True)
def _count_lines(data, start, end, classes, marks, table, stamps, stamp, row):  # type: ignore[no-untyped-def]
    """Add a segment's lines, each without the white space at its ends."""
    i, line, stop, state, trimmed, first, last, chars, visible = start, start, start, FNV_OFFSET, FNV_OFFSET, 0, 0, 0, 0
    while i < end:
        code, width = code_point(data, i)
        if code != 10 and (visible or not classes[code] & _SPACE):
            state = fold(state, code)
            chars += 1
        if not classes[code] & _SPACE:
            if not visible:
                line, first = i, code
            trimmed, last, visible, stop = state, code, chars, i + width
        i += width
        if visible and (code == 10 or i == end):
            _end_line(data, line, stop, trimmed, first, last, visible, marks, table, stamps, stamp, row)
        if code == 10:
            state, chars, visible = FNV_OFFSET, 0, 0


@njit(cache=True, nogil=True)
def _places_for(size):  # type: ignore[no-untyped-def]
    """Places of a hash set for the words and lines in `size` bytes: about half of them stay free at worst."""
    places = 64
    while places < 2 * size:
        places *= 2
    return places


@njit(cache=True, nogil=True)
def _measure(data, text_offsets, record_offsets, mask, classes, lower, marks, stops, columns):  # type: ignore[no-untyped-def]
    out = np.zeros((len(record_offsets) - 1, columns), dtype=np.int64)
    kinds = np.zeros(256, dtype=np.int64)
    table, stamps = np.empty(4096, dtype=np.uint64), np.zeros(4096, dtype=np.int64)
    for r in range(len(out)):
        stamp = r + 1
        first, last = record_offsets[r], record_offsets[r + 1]
        places = _places_for(text_offsets[last] - text_offsets[first])
        if places > len(table):
            table, stamps = np.empty(places, dtype=np.uint64), np.zeros(places, dtype=np.int64)
        # Small records use the front of the set only, so that it stays in the nearest cache.
        seen, taken, row = table[:places], stamps[:places], out[r]
        for s in range(first, last):
            if mask[s]:
                start, end = text_offsets[s], text_offsets[s + 1]
                _count_characters(data, start, end, classes, kinds, row)
                _count_words(data, start, end, classes, lower, stops, seen, taken, stamp, row)
                _count_lines(data, start, end, classes, marks, seen, taken, stamp, row)
        _sum_classes(kinds, row)
    return out


_END_MARKS = ".!?…。！？\"'”’」』)）]】}》>;；`*_|~"
_BULLET_MARKS = "-*•‣◦▪●·–"


@cache
def line_marks() -> npt.NDArray[np.uint8]:
    """For each code point: bit 1 when a line may end on it as a sentence does, bit 2 when it opens a list item."""
    marks = np.zeros(0x110000, dtype=np.uint8)
    for character in _END_MARKS:
        marks[ord(character)] |= _ENDS
    for character in _BULLET_MARKS:
        marks[ord(character)] |= _BULLET
    marks.setflags(write=False)
    return marks


def measure(view: View) -> npt.NDArray[np.int64]:
    """The counts (n, len(Count)) of every record's view."""
    stops = np.array([token_hash(word) for word in STOP_WORDS], dtype=np.uint64)
    return _measure(*view.arrays, *tables(), line_marks(), stops, len(Count))


_UNENDED_SYMBOLS = ",:;，、：；-–—([{（【《「『&/\\=<+"


def unended(last: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """1 where the last visible character is a letter, a digit or a mark that announces more; 0 where there is none."""
    kinds = tables().classes[last]
    announces = np.array([ord(character) for character in _UNENDED_SYMBOLS])
    return ((last > 0) & (((kinds & _WORD) > 0) | np.isin(last, announces))).astype(np.int64)
