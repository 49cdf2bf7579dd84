"""Hashes of what two near-duplicates must agree on exactly: the whole text, and its numbers in order."""

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
