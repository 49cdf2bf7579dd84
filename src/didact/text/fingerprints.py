"""Hashes of what two near-duplicates must agree on exactly: the whole text, its numbers and its quotations in order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from didact.text.characters import DIGIT, SPACE, SYMBOL, tables
from didact.text.compiled import kernel, part
from didact.text.eight import TOPS, between, byte_of, eight_bytes, equal, first_place, not_ascii
from didact.text.utf8 import FNV_OFFSET, code_point, fold, mix
from didact.text.views import View

SEPARATOR = 0x110000
"""Folded in where a segment ends or a number begins; beyond every code point."""
_DIGIT = np.uint8(DIGIT)
_SPACE = np.uint8(SPACE)
_SYMBOL = np.uint8(SYMBOL)
_QUOTE, _TICK, _NEWLINE = np.uint8(ord('"')), np.uint8(ord("`")), np.uint8(ord("\n"))
_QUOTED = 80
"""Characters between two quotation marks; what is longer is no string that a template puts in."""
_SEVEN, _BYTE, _LAST = np.uint64(7), np.uint64(8), np.uint64(0x80 << 56)


@part
def _text_hash(data, start, end, classes, state):  # type: ignore[no-untyped-def]
    """Fold a segment, trimmed and each run of white space as one space, into the state."""
    i, gap, begun = start, False, False
    while i < end:
        if begun and i + 8 <= end:
            # Eight printable characters of ASCII, of which none is a space beside another.
            eight = eight_bytes(data, i)
            spaces = equal(eight, 32)
            if between(eight, 32, 127) == TOPS and spaces & (spaces << _BYTE | np.uint64(gap) << _SEVEN) == 0:
                if gap:
                    state = fold(state, 32)
                for k in range(7):
                    state = fold(state, byte_of(eight, k))
                gap = bool(spaces & _LAST)
                if not gap:
                    state = fold(state, byte_of(eight, 7))
                i += 8
                continue
        code, width = code_point(data, i)
        i += width
        if classes[code] & _SPACE:
            gap = begun
            continue
        if gap:
            state = fold(state, 32)
        state, gap, begun = fold(state, code), False, True
    return fold(state, SEPARATOR) if begun else state


@kernel
def _text_hashes(data, text_offsets, record_offsets, mask, classes, out):  # type: ignore[no-untyped-def]
    for r in range(len(out)):
        state = FNV_OFFSET
        for s in range(record_offsets[r], record_offsets[r + 1]):
            if mask[s]:
                state = _text_hash(data, text_offsets[s], text_offsets[s + 1], classes, state)
        out[r] = mix(state)


def text_fingerprints(view: View) -> npt.NDArray[np.uint64]:
    """A hash of each record: equal for texts that differ in white space only; case and punctuation count.

    Segments without visible text count for nothing.
    """
    out = np.empty(len(view), np.uint64)
    _text_hashes(*view.arrays, tables().classes, out)
    return out


@part
def _number_hash(data, start, end, classes, state):  # type: ignore[no-untyped-def]
    """Fold a segment's runs of digits, each with the single sign that binds it to the run before, into the state."""
    i, running, bound, sign = start, False, False, 0
    while i < end:
        if not bound and i + 8 <= end:
            # What follows no number counts for nothing up to the next one.
            eight = eight_bytes(data, i)
            skipped = first_place(not_ascii(eight) | between(eight, 0x30, 0x39))
            i += skipped
            if skipped == 8:
                continue
        code, width = code_point(data, i)
        i += width
        kind = classes[code]
        if kind & _DIGIT:
            if not running:
                state = fold(fold(state, SEPARATOR), sign)
            state = fold(state, code)
            running, bound, sign = True, True, 0
            continue
        running = False
        if kind & _SYMBOL and bound and sign == 0:
            sign = code
        elif not kind & _SPACE:
            bound, sign = False, 0
    return state


@kernel
def _number_hashes(data, text_offsets, record_offsets, mask, classes, out):  # type: ignore[no-untyped-def]
    for r in range(len(out)):
        state = FNV_OFFSET
        for s in range(record_offsets[r], record_offsets[r + 1]):
            if mask[s]:
                state = _number_hash(data, text_offsets[s], text_offsets[s + 1], classes, state)
        out[r] = mix(state) if state != FNV_OFFSET else np.uint64(0)


def number_fingerprints(view: View) -> npt.NDArray[np.uint64]:
    """A hash of each record's numbers: equal for equal sequences of them and of the signs between two of them
    (`12 * 7` is not `12 + 7`); 0 where there is none.
    """
    out = np.empty(len(view), np.uint64)
    _number_hashes(*view.arrays, tables().classes, out)
    return out


@part
def _literal_end(data, start, end, mark):  # type: ignore[no-untyped-def]
    """Where the quotation that has begun before `start` ends, at its second mark; `start` where it is none."""
    i, characters = start, 0
    while i < end and data[i] != mark and data[i] != _NEWLINE and (mark == _TICK or characters <= _QUOTED):
        characters += (data[i] & 0xC0) != 0x80
        i += 1
    return i if i < end and data[i] == mark and (mark == _TICK or characters <= _QUOTED) else start


@part
def _literal_hash(data, start, end, state):  # type: ignore[no-untyped-def]
    """Fold a segment's code spans and quoted strings into the state."""
    i = start
    while i < end:
        if i + 8 <= end:
            eight = eight_bytes(data, i)
            skipped = first_place(equal(eight, 0x22) | equal(eight, 0x60))
            i += skipped
            if skipped == 8:
                continue
        mark = data[i]
        i += 1
        if mark in (_QUOTE, _TICK):
            last = _literal_end(data, i, end, mark)
            if last > i:
                state = fold(state, mark)
                for k in range(i, last):
                    state = fold(state, data[k])
                state, i = fold(state, SEPARATOR), last + 1
    return state


@kernel
def _literal_hashes(data, text_offsets, record_offsets, mask, out):  # type: ignore[no-untyped-def]
    for r in range(len(out)):
        state = FNV_OFFSET
        for s in range(record_offsets[r], record_offsets[r + 1]):
            if mask[s]:
                state = _literal_hash(data, text_offsets[s], text_offsets[s + 1], state)
        out[r] = mix(state)


def literal_fingerprints(view: View) -> npt.NDArray[np.uint64]:
    """A hash of what each record has between backticks, and between straight quotation marks up to `_QUOTED`
    characters, on one line: what a template varies when it makes another question, beside numbers. Equal for equal
    sequences.
    """
    out = np.empty(len(view), np.uint64)
    _literal_hashes(*view.arrays, out)
    return out
