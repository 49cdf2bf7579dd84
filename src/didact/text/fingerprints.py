"""Hashes of what two near-duplicates must agree on exactly: the whole text, and its numbers in order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from didact.text.characters import DIGIT, SPACE, SYMBOL, tables
from didact.text.utf8 import FNV_OFFSET, code_point, fold, mix
from didact.text.views import View

SEPARATOR = 0x110000
"""Folded in where a segment ends or a number begins; beyond every code point."""
_DIGIT = np.uint8(DIGIT)
_SPACE = np.uint8(SPACE)
_SYMBOL = np.uint8(SYMBOL)


class Fingerprints(NamedTuple):
    """Two hashes for each record of a view."""

    text: npt.NDArray[np.uint64]
    """Equal for texts that differ in white space only; case and punctuation count."""
    numbers: npt.NDArray[np.uint64]
    """Equal for equal sequences of numbers and of the signs between two of them (`12 * 7` is not `12 + 7`); 0: none."""


@njit(cache=True, nogil=True)
def _text_hash(data, start, end, classes, state):  # type: ignore[no-untyped-def]
    """Fold a segment, trimmed and each run of white space as one space, into the state."""
    i, gap, begun = start, False, False
    while i < end:
        code, width = code_point(data, i)
        i += width
        if classes[code] & _SPACE:
            gap = begun
            continue
        if gap:
            state = fold(state, 32)
        state, gap, begun = fold(state, code), False, True
    return fold(state, SEPARATOR) if begun else state


@njit(cache=True, nogil=True)
def _number_hash(data, start, end, classes, state):  # type: ignore[no-untyped-def]
    """Fold a segment's runs of digits, each with the single sign that binds it to the run before, into the state."""
    i, running, bound, sign = start, False, False, 0
    while i < end:
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


@njit(cache=True, nogil=True)
def _fingerprints(data, text_offsets, record_offsets, mask, classes):  # type: ignore[no-untyped-def]
    records = len(record_offsets) - 1
    texts, numbers = np.empty(records, dtype=np.uint64), np.empty(records, dtype=np.uint64)
    for r in range(records):
        text, number = FNV_OFFSET, FNV_OFFSET
        for s in range(record_offsets[r], record_offsets[r + 1]):
            if mask[s]:
                text = _text_hash(data, text_offsets[s], text_offsets[s + 1], classes, text)
                number = _number_hash(data, text_offsets[s], text_offsets[s + 1], classes, number)
        texts[r] = mix(text)
        numbers[r] = mix(number) if number != FNV_OFFSET else np.uint64(0)
    return texts, numbers


def fingerprints(view: View) -> Fingerprints:
    """The fingerprints of every record's view; segments without visible text count for nothing."""
    return Fingerprints(*_fingerprints(*view.arrays, tables().classes))
