"""Pieces of texts counted, without a string a word: what merges are learned from."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from didact.render.pieces import piece_end
from didact.text.compiled import allocating_kernel, part
from didact.text.utf8 import FNV_OFFSET, fold

MIX = np.uint64(0x9E3779B97F4A7C15)
"""Spreads keys over the slots of a table."""
SLOTS = 1 << 18
"""Slots at first; there are no more pairs of bytes than a quarter of it."""
_PIECES = 1 << 16
"""Room for pieces at first."""
_WHOLE = 7
"""Bytes of a piece that fit into a key."""
_HASHED = np.uint64(0xFF << 56)
"""Keys of pieces below it hold all the piece's bytes."""
_KEY, _START, _SIZE, _TIMES = range(4)
"""Of a piece: what it is looked up by, where it was met first, its bytes, how often it was met."""


@part
def copy_row(rows, at, out, to):  # type: ignore[no-untyped-def]
    """Put a row of one table into another."""
    for i in range(rows.shape[1]):
        out[to, i] = rows[at, i]


@njit(nogil=True)
def twice(rows):  # type: ignore[no-untyped-def]
    """The rows, and room for as many."""
    out = np.empty((2 * rows.shape[0], rows.shape[1]), rows.dtype)
    for at in range(rows.shape[0]):
        copy_row(rows, at, out, at)
    return out


@njit(nogil=True)
def _spread(slots, rows, used):  # type: ignore[no-untyped-def]
    """A table of four times as many slots for the same rows."""
    out = np.zeros(4 * slots.size, slots.dtype)
    mask = np.uint64(out.size - 1)
    for at in range(used):
        slot = ((np.uint64(rows[at, _KEY]) * MIX) >> np.uint64(29)) & mask
        while out[slot]:
            slot = (slot + np.uint64(1)) & mask
        out[slot] = at + 1
    return out


@part
def _piece_key(data, start, end):  # type: ignore[no-untyped-def]
    """What a piece is looked up by: up to seven bytes themselves below their number, or a hash."""
    size = end - start
    if size <= _WHOLE:
        whole = np.uint64(size)
        for i in range(start, end):
            whole = (whole << np.uint64(8)) | np.uint64(data[i])
        return whole << np.uint64(8 * (_WHOLE - size))
    return hash_of(data, start, end) | _HASHED


@part
def hash_of(data, start, end):  # type: ignore[no-untyped-def]
    """Hash of some bytes."""
    state = FNV_OFFSET
    for i in range(start, end):
        state = fold(state, data[i])
    return state ^ (state >> np.uint64(32))


@part
def _slot_of_piece(data, slots, rows, key, start, end):  # type: ignore[no-untyped-def]
    """Slot of the piece data[start:end], or the empty slot where it would go."""
    mask = np.uint64(slots.size - 1)
    slot = ((key * MIX) >> np.uint64(29)) & mask
    while slots[slot]:
        at = slots[slot] - 1
        if np.uint64(rows[at, _KEY]) == key:
            if key < _HASHED:
                break
            first, same = rows[at, _START], 0
            if rows[at, _SIZE] == end - start:
                while same < end - start and data[first + same] == data[start + same]:
                    same += 1
                if same == end - start:
                    break
        slot = (slot + np.uint64(1)) & mask
    return slot


@allocating_kernel
def count_pieces(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], classes: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut texts that lie one after another in a UTF-8 buffer: where each different piece was met first, its bytes, and
    how often it was met. Pieces of one byte, in which nothing can be merged, are left out.
    """
    slots, rows = np.zeros(SLOTS, np.int32), np.empty((_PIECES, 4), np.int64)
    used = 0
    for text in range(offsets.size - 1):
        at, end = offsets[text], offsets[text + 1]
        while at < end:
            following = piece_end(data, at, end, classes)
            if following - at > 1:
                key = _piece_key(data, at, following)
                slot = _slot_of_piece(data, slots, rows, key, at, following)
                if slots[slot]:
                    rows[slots[slot] - 1, _TIMES] += 1
                else:
                    if used == len(rows):
                        rows = twice(rows)
                    rows[used, _KEY], rows[used, _START] = key, at
                    rows[used, _SIZE], rows[used, _TIMES] = following - at, 1
                    used += 1
                    slots[slot] = used
                    if 2 * used > slots.size:
                        slots = _spread(slots, rows, used)
            at = following
    return rows[:used, _START].copy(), rows[:used, _SIZE].copy(), rows[:used, _TIMES].copy()
