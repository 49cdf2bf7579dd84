"""The best-fit kernel: which row of fixed capacity each piece goes to. Compiled by numba on first use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from didact.text.compiled import allocating_kernel


@allocating_kernel
def best_fit(lengths: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """Row of each piece, where every piece goes to the fullest row that still holds it, or else opens a new one.

    lengths: (n,), each from 1 to capacity, longest first (best-fit decreasing: at most 11/9 of the fewest possible
    rows, plus 6/9; Dosa 2007 for first-fit decreasing, the same bound). Returns (n,) row numbers from 0, in order of
    opening. Among equally full rows the one filled last is taken. Rows are kept in one stack per amount of room left.
    """
    top = np.full(capacity + 1, -1, np.int64)
    below = np.empty(len(lengths), np.int64)
    rows = np.empty(len(lengths), np.int64)
    opened = 0
    for piece, length in enumerate(lengths):
        room = length
        while room <= capacity and top[room] < 0:
            room += 1
        if room > capacity:
            room, row = capacity, opened
            opened += 1
        else:
            row = top[room]
            top[room] = below[row]
        below[row] = top[room - length]
        top[room - length] = row
        rows[piece] = row
    return rows
