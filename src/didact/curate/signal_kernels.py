"""Kernels that count what signals are made of, in one pass over the bytes of a view."""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import numpy as np
import numpy.typing as npt

from didact.text.characters import DIGIT, LETTER, SPACE, SYMBOL, UNSPACED, UPPER, WORD, tables
from didact.text.compiled import inlined, kernel, part
from didact.text.eight import (
    Index,
    between,
    byte_of,
    continuations,
    eight_bytes,
    equal,
    first_place,
    how_many,
    low_bytes,
    not_ascii,
    unmarked,
)
from didact.text.tokens import token_hash, words_of
from didact.text.utf8 import code_point, mix
from didact.text.views import View, read_only


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

_SPACE, _WORD = np.uint8(SPACE), np.uint8(WORD)
_BYTES, _CHARS, _WORDS, _WORD_CHARS, _LETTERS, _DIGITS = (int(c) for c in list(Count)[:6])
_UNSPACED_CHARS, _SPACES, _UPPERS, _SYMBOLS, _LONGEST_RUN, _DISTINCT = (int(c) for c in list(Count)[6:12])
_LETTER_WORDS, _STOPS, _LINES, _LINE_CHARS, _REPEATED, _REPEATED_CHARS = (int(c) for c in list(Count)[12:18])
_SHORT, _ENDED, _ELLIPSES, _BULLETS, _FENCES, _LAST = (int(c) for c in list(Count)[18:])
_TALLIED = (
    (LETTER, _LETTERS),
    (DIGIT, _DIGITS),
    (UNSPACED, _UNSPACED_CHARS),
    (SPACE, _SPACES),
    (UPPER, _UPPERS),
    (SYMBOL, _SYMBOLS),
)
"""Bits of a class, and the column that counts the characters with it."""
_TALLY_BITS = 10
_TALLY_LIMIT = (1 << _TALLY_BITS) - 1
"""Characters that a tally has room for."""
_TALLY_COLUMNS = tuple(column for _, column in _TALLIED)
_ENDS = 1
_BULLET = 2
_NO_BYTE = 0x80
"""Equal to no byte of ASCII."""
_FIRST, _LAST_BYTE, _BYTE = np.uint64(0x80), np.uint64(0x80 << 56), np.uint64(8)


@cache
def tallies() -> npt.NDArray[np.uint64]:
    """For each class, a one in the ten bits of each count that a character of that class adds to."""
    kinds = np.arange(256)
    ones = [((kinds & bit > 0).astype(np.uint64) << np.uint64(_TALLY_BITS * k)) for k, (bit, _) in enumerate(_TALLIED)]
    return read_only(np.bitwise_or.reduce(ones))


@part
def _add_tally(tally, row):  # type: ignore[no-untyped-def]
    for k in range(len(_TALLY_COLUMNS)):
        row[_TALLY_COLUMNS[k]] += np.int64((tally >> np.uint64(_TALLY_BITS * k)) & np.uint64(_TALLY_LIMIT))


@part
def _count_characters(data, start, end, classes, tallies, row):  # type: ignore[no-untyped-def]
    """Add a segment's bytes, how many characters of each class it has, and its longest run of one visible character."""
    previous: Index = _NO_BYTE
    i, run, longest, chars, tally, room = start, 0, 0, 0, np.uint64(0), _TALLY_LIMIT
    while i < end:
        if room < 8:
            _add_tally(tally, row)
            tally, room = np.uint64(0), _TALLY_LIMIT
        if i + 8 <= end:
            eight = eight_bytes(data, i)
            same = equal(eight ^ (eight << _BYTE | np.uint64(min(previous, _NO_BYTE))), 0)
            # Runs of three and more are looked at one by one; they are rare.
            if not_ascii(eight) == 0 and same & (same << _BYTE | _FIRST * np.uint64(run > 1)) == 0:
                for k in range(8):
                    tally += tallies[classes[byte_of(eight, k)]]
                visible = unmarked(between(eight, 9, 13) | between(eight, 28, 32))
                longest = max(longest, int(visible > 0) + int(same & visible > 0))
                previous, run = np.int64(byte_of(eight, 7)), 1 + int(same >= _LAST_BYTE)
                i, chars, room = i + 8, chars + 8, room - 8
                continue
        code, width = code_point(data, i)
        i += width
        kind = classes[code]
        tally += tallies[kind]
        run = run + 1 if code == previous else 1
        previous = np.int64(code)
        if not kind & _SPACE:
            longest = max(longest, run)
        chars, room = chars + 1, room - 1
    _add_tally(tally, row)
    row[_BYTES] += end - start
    row[_CHARS] += chars
    row[_LONGEST_RUN] = max(row[_LONGEST_RUN], longest)


@inlined
def _last_visible(data, start, end, classes):  # type: ignore[no-untyped-def]
    """The last character of data[start:end] that is not white space, and where it ends; 0 and `start` without one."""
    while end > start:
        i = end - 1
        while data[i] & 0xC0 == 0x80:
            i -= 1
        code = code_point(data, i)[0]
        if not classes[code] & _SPACE:
            return code, end
        end = i
    return 0, start


@inlined
def _seen(table, value):  # type: ignore[no-untyped-def]
    """Put a hash into an open-addressing set; whether it was in it. 0 marks a free place, so 1 stands for it too."""
    value = max(value, np.uint64(1))
    last = np.uint64(len(table) - 1)
    place = value & last
    while table[place] != 0:
        if table[place] == value:
            return True
        place = (place + np.uint64(1)) & last
    table[place] = value
    return False


@inlined
def _empty(table, entries):  # type: ignore[no-untyped-def]
    """Empty as many places at the front of a set's room as so many entries need: a power of two, of which at least half
    stay free; how many they are. They lie in the nearest cache of the processor.
    """
    places = 16
    while places < 2 * entries:
        places *= 2
    table[:places] = 0
    return places


@part
def _count_words(words, mask, first, last, stops, table, row):  # type: ignore[no-untyped-def]
    """Add the words of a record, whose segments are from `first` up to `last`."""
    count = 0
    for s in range(first, last):
        if mask[s]:
            count += words.bounds[s + 1] - words.bounds[s]
    seen = table[: _empty(table, count + len(stops))]
    for s in range(first, last):
        if mask[s]:
            for i in range(words.bounds[s], words.bounds[s + 1]):
                row[_WORD_CHARS] += words.sizes[i] >> 1
                row[_LETTER_WORDS] += words.sizes[i] & 1
                row[_DISTINCT] += not _seen(seen, words.hashes[i])
    for stop in stops:
        row[_STOPS] += _seen(seen, stop)
    row[_WORDS] += count


@part
def _count_repeated_lines(hashes, sizes, count, table, row):  # type: ignore[no-untyped-def]
    """Add those lines of a record, given by their hashes and numbers of characters, that occurred before."""
    seen = table[: _empty(table, count)]
    for i in range(count):
        if _seen(seen, hashes[i]):
            row[_REPEATED] += 1
            row[_REPEATED_CHARS] += sizes[i]


@inlined
def _line_end(data, start, end):  # type: ignore[no-untyped-def]
    """Where the line that starts at a byte ends: at its line feed or at the end of the segment."""
    i = start
    while i + 8 <= len(data) and i < end:
        found = first_place(equal(eight_bytes(data, i), 10))
        i += found
        if found < 8:
            return min(i, end)
    while i < end and data[i] != 10:
        i += 1
    return min(i, end)


@inlined
def _hash_and_length(data, start, end):  # type: ignore[no-untyped-def]
    """A hash of the bytes data[start:end], and how many characters they are."""
    state, chars = np.uint64(end - start), end - start
    for i in range(start, end, 8):
        if i + 8 <= len(data):
            eight = low_bytes(eight_bytes(data, i), end - i)
        else:
            eight = np.uint64(0)
            for k in range(end - i):
                eight |= np.uint64(data[i + k]) << np.uint64(8 * k)
        chars -= how_many(continuations(eight))
        state = mix(state ^ eight)
    return ~state, chars


@inlined
def _count_line(data, start, end, chars, first, last, marks, row):  # type: ignore[no-untyped-def]
    """Count the line data[start:end] of `chars` characters from its first to its last visible one."""
    row[_LINES] += 1
    row[_LINE_CHARS] += chars
    row[_SHORT] += chars <= SHORT_LINE
    row[_ENDED] += (marks[last] & _ENDS) > 0
    row[_BULLETS] += (marks[first] & _BULLET) > 0
    dots = end - start >= 3 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46
    row[_ELLIPSES] += dots or last == 0x2026
    row[_FENCES] += end - start >= 3 and data[start] == 96 and data[start + 1] == 96 and data[start + 2] == 96


@part
def _segment_lines(data, start, end, classes, marks, hashes, sizes, row):  # type: ignore[no-untyped-def]
    """Count a segment's lines, each without the white space at its ends, and note its last visible character; write
    their hashes and numbers of characters, and return how many they are.
    """
    i, count = start, 0
    while i < end:
        stop = _line_end(data, i, end)
        last, after = _last_visible(data, i, stop, classes)
        if after > i:
            first, width = code_point(data, i)
            while classes[first] & _SPACE:
                i += width
                first, width = code_point(data, i)
            hashes[count], sizes[count] = _hash_and_length(data, i, after)
            _count_line(data, i, after, sizes[count], first, last, marks, row)
            row[_LAST] = last
            count += 1
        i = stop + 1
    return count


@kernel
def _measure(  # type: ignore[no-untyped-def]
    data, text_offsets, record_offsets, mask, classes, words, tallies, marks, stops, hashes, sizes, table, out
):
    """Add to `out`, which is 0. hashes, sizes: (bytes of the largest record,).  table: room for `_empty`."""
    for r in range(len(out)):
        row, lines, first, last = out[r], 0, record_offsets[r], record_offsets[r + 1]
        for s in range(first, last):
            if mask[s]:
                start, end = text_offsets[s], text_offsets[s + 1]
                _count_characters(data, start, end, classes, tallies, row)
                lines += _segment_lines(data, start, end, classes, marks, hashes[lines:], sizes[lines:], row)
        _count_words(words, mask, first, last, stops, table, row)
        _count_repeated_lines(hashes, sizes, lines, table, row)


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
    return read_only(marks)


def measure(view: View) -> npt.NDArray[np.int64]:
    """The counts (n, len(Count)) of every record's view."""
    stops = np.array([token_hash(word) for word in STOP_WORDS], dtype=np.uint64)
    words = view.words if view.words is not None else words_of(view)
    # A text has at most as many words, or lines, as bytes.
    most = int(view.sizes.max(initial=0))
    hashes, sizes = np.empty(most, np.uint64), np.empty(most, np.int64)
    table = np.empty(4 * (most + len(stops)), np.uint64)  # a power of two
    out = np.zeros((len(view), len(Count)), np.int64)
    _measure(*view.arrays, tables().classes, words, tallies(), line_marks(), stops, hashes, sizes, table, out)
    return out


_UNENDED_SYMBOLS = ",:;，、：；-–—([{（【《「『&/\\=<+"


def unended(last: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """1 where the last visible character is a letter, a digit or a mark that announces more; 0 where there is none."""
    kinds = tables().classes[last]
    announces = np.array([ord(character) for character in _UNENDED_SYMBOLS])
    return ((last > 0) & (((kinds & _WORD) > 0) | np.isin(last, announces))).astype(np.int64)
