"""Cutting text into the pieces of `pretokens` over UTF-8 bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from didact.text.compiled import inlined, part
from didact.text.eight import Index, eight_bytes, first_place, letters, unmarked
from didact.text.utf8 import code_point

OTHER, LETTER, NUMBER, SPACE, NEWLINE = range(5)  # as in `pretokens`: numba freezes globals of its own module


@inlined
def contraction(data: NDArray[np.uint8], at: Index, end: Index) -> Index:
    """End of 's 't 'm 'd 're 've 'll in either case at an apostrophe, or `at` when there is none."""
    if at + 1 >= end:
        return at
    one = data[at + 1] | 0x20
    if one == 0x73 or one == 0x74 or one == 0x6D or one == 0x64:
        return at + 2
    if at + 2 >= end:
        return at
    two = data[at + 2] | 0x20
    if ((one == 0x72 or one == 0x76) and two == 0x65) or (one == 0x6C and two == 0x6C):
        return at + 3
    return at


@inlined
def letters_end(data: NDArray[np.uint8], at: Index, end: Index, classes: NDArray[np.uint8]) -> Index:
    """End of the run of letters that starts at a position: eight ASCII letters at a time, others one by one."""
    while at + 8 <= data.size:
        run = first_place(unmarked(letters(eight_bytes(data, at))))
        at += run
        if at >= end:
            return end
        if run < 8:
            if data[at] < 0x80:
                return at
            break
    return run_end(data, at, end, classes, LETTER)


@part
def run_end(data: NDArray[np.uint8], at: Index, end: Index, classes: NDArray[np.uint8], wanted: Index) -> Index:
    """End of the run of code points of one class that starts at a position."""
    while at < end:
        point, width = code_point(data, at)
        following = at + width
        if classes[point] != wanted:
            break
        at = following
    return at


@part
def white_end(data: NDArray[np.uint8], at: Index, end: Index, classes: NDArray[np.uint8]) -> Index:
    r"""End of the piece that starts with white space no letter or symbol follows: `\s*[\r\n]+|\s+(?!\S)|\s+`."""
    start, last = at, at
    after_newline: Index = -1
    while at < end:
        point, width = code_point(data, at)
        following = at + width
        kind = classes[point]
        if kind != SPACE and kind != NEWLINE:
            break
        if kind == NEWLINE:
            after_newline = following
        last, at = at, following
    if after_newline >= 0:
        return after_newline
    if at == end or last == start:
        return at
    return last


@inlined
def piece_end(data: NDArray[np.uint8], at: Index, end: Index, classes: NDArray[np.uint8]) -> Index:
    """End of the piece that starts at a position; always beyond it."""
    point, width = code_point(data, at)
    following = at + width
    kind = classes[point]
    if kind == LETTER:
        return letters_end(data, following, end, classes)
    if kind == NUMBER:
        return following
    if point == 0x27:
        short = contraction(data, at, end)
        if short > at:
            return short
    symbols = at if kind == OTHER else -1
    if kind != NEWLINE and following < end:
        next_point, _ = code_point(data, following)
        if classes[next_point] == LETTER:
            return letters_end(data, following, end, classes)
        if point == 0x20 and classes[next_point] == OTHER:
            symbols = following
    if symbols >= 0:
        return run_end(data, run_end(data, symbols, end, classes, OTHER), end, classes, NEWLINE)
    return white_end(data, at, end, classes)
