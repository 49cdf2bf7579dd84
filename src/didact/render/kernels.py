"""Byte-pair encoding of whole text buffers: cut by the pattern of `pretokens`, look up, merge what is new.

Equal, id for id, to `tokenizers` with that pattern and the same merges; faster because no object is made per text or
per token. Imported only where much text is encoded, since numba compiles on first use.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from didact.render.merges import MergeTable, is_border, merge_piece
from didact.render.pieces import piece_end
from didact.text.compiled import inlined, kernel, part
from didact.text.eight import Index, eight_bytes, low_bytes
from didact.text.utf8 import code_point

LINE = 8
"""Numbers in a line of the cache: 64 bytes, a cache line of the processor."""
_LONGEST_KEPT = 23
"""Bytes of a piece that a line has room for, and their number."""
_MOST_IDS = 9
"""Ids that a line has room for, and their number."""
_WAYS = 4
"""Lines that may hold a piece: the one its key points to and its neighbours."""
_PLANE = 0x10000
_HALF = np.uint64(32)
_FIRST, _SECOND, _THIRD = map(np.uint64, (0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53))
"""Odd multipliers."""


class WordCache(NamedTuple):
    """What was met before; for one thread.

    lines: (a power of two * LINE,) Each holds a piece of up to 23 bytes and its ids: the bytes, their number in the
    highest byte of the third number; then the ids, two in each number, and how many they are in the upper half of the
    last one. Zero where nothing is held.
    characters: (4 * 0x10000,) For each code point below 0x10000 how many ids it has by itself, and which; zero where
    that is not known.
    """

    lines: NDArray[np.uint64]
    characters: NDArray[np.int32]


@inlined
def word_key(data: NDArray[np.uint8], start: Index, end: Index) -> tuple[np.uint64, np.uint64, np.uint64]:
    """The bytes of a piece of at most 23 bytes as three numbers, their number in the highest byte of the third."""
    size = end - start
    top = np.uint64(size) << np.uint64(56)
    if start + 24 <= data.size:
        first = low_bytes(eight_bytes(data, start), size)
        second = low_bytes(eight_bytes(data, start + 8), size - 8)
        return first, second, low_bytes(eight_bytes(data, start + 16), size - 16) | top
    first, second, third = np.uint64(0), np.uint64(0), top
    for i in range(size):
        value = np.uint64(data[start + i]) << np.uint64(8 * (i & 7))
        first |= value if i < 8 else np.uint64(0)
        second |= value if 8 <= i < 16 else np.uint64(0)
        third |= value if i >= 16 else np.uint64(0)
    return first, second, third


@inlined
def home_of(lines: NDArray[np.uint64], first: np.uint64, second: np.uint64, third: np.uint64) -> np.uint64:
    """Where the first of the lines that may hold a key begins."""
    mixed = first * _FIRST ^ second * _SECOND ^ third * _THIRD
    return (mixed >> np.uint64(40)) & np.uint64(lines.size - LINE)


@inlined
def known_ids(
    lines: NDArray[np.uint64], data: NDArray[np.uint8], start: Index, end: Index, out: NDArray[np.int32], at_out: Index
) -> Index:
    """Write the ids of a piece that is in the cache to `out` from a place on, where there is room for two at least;
    their number, 0 when the piece is not there."""
    first, second, third = word_key(data, start, end)
    home = home_of(lines, first, second, third)
    for way in range(_WAYS):
        line = home ^ np.uint64(way * LINE)
        if lines[line] == first and lines[line + np.uint64(1)] == second and lines[line + np.uint64(2)] == third:
            count = np.int64(lines[line + np.uint64(LINE - 1)] >> _HALF)
            place, ids = np.uint64(at_out), lines[line + np.uint64(3)]
            out[place], out[place + np.uint64(1)] = ids, ids >> _HALF
            for k in range(2, count):
                ids = lines[line + np.uint64(3 + (k >> 1))]
                out[place + np.uint64(k)] = ids >> np.uint64(32 * (k & 1))
            return count
    return 0


@part
def remember(
    lines: NDArray[np.uint64], data: NDArray[np.uint8], start: Index, end: Index, out: NDArray[np.int32],
    at_out: Index, count: Index,
) -> None:  # fmt: skip
    """Put a piece and its ids, out[at_out : at_out + count], into a free line, or into the first if none is free."""
    first, second, third = word_key(data, start, end)
    home = home_of(lines, first, second, third)
    line = home
    for way in range(_WAYS - 1, -1, -1):
        if lines[(home ^ np.uint64(way * LINE)) + np.uint64(2)] == 0:
            line = home ^ np.uint64(way * LINE)
    lines[line], lines[line + np.uint64(1)], lines[line + np.uint64(2)] = first, second, third
    for k in range(3, LINE):
        lines[line + np.uint64(k)] = 0
    for k in range(count):
        lines[line + np.uint64(3 + (k >> 1))] |= np.uint64(out[at_out + k]) << np.uint64(32 * (k & 1))
    lines[line + np.uint64(LINE - 1)] |= np.uint64(count) << _HALF


@inlined
def character_ids(
    data: NDArray[np.uint8], start: Index, end: Index, point: Index, table: MergeTable, cache: WordCache,
    room: NDArray[np.int64], out: NDArray[np.int32], at_out: Index,
) -> Index:  # fmt: skip
    """Write the ids of a character below 0x10000 to `out` from a place on; their number."""
    known, base = cache.characters, np.uint64(4 * point)
    if known[base] == 0:
        known[base] = merge_piece(data, start, end, table, room, out, at_out)
        for k in range(known[base]):
            known[base + np.uint64(1 + k)] = out[at_out + k]
    count = np.int64(known[base])
    for k in range(count):
        out[np.uint64(at_out + k)] = known[base + np.uint64(1 + k)]
    return count


@part
def part_ids(
    data: NDArray[np.uint8], start: Index, end: Index, table: MergeTable, cache: WordCache, room: NDArray[np.int64],
    out: NDArray[np.int32], at_out: Index,
) -> Index:  # fmt: skip
    """Write the ids of a part of a piece to `out` from a place on; their number."""
    size = end - start
    if size <= _LONGEST_KEPT:
        known = known_ids(cache.lines, data, start, end, out, at_out)
        if known:
            return known
    count = merge_piece(data, start, end, table, room, out, at_out)
    if size <= _LONGEST_KEPT and count <= _MOST_IDS:
        remember(cache.lines, data, start, end, out, at_out, count)
    return count


@part
def piece_ids(
    data: NDArray[np.uint8], start: Index, end: Index, table: MergeTable, cache: WordCache, room: NDArray[np.int64],
    out: NDArray[np.int32], at_out: Index,
) -> Index:  # fmt: skip
    """Write the ids of a piece that is not in the cache to `out` from a place on; their number.

    The piece is cut at the borders between characters that no token spans: merges on one side of these never meet
    those on the other. In a script written without spaces a piece is a clause, seldom met twice, and its parts are
    characters and short words.
    """
    count: Index = 0
    at, before, begun = start, 0, start
    while at < end:
        point, width = code_point(data, at)
        if point >= 0x80 and at > start and is_border(table, before, point):
            if begun == start and before < _PLANE:
                count += character_ids(data, start, at, before, table, cache, room, out, at_out + count)
            else:
                count += part_ids(data, start, at, table, cache, room, out, at_out + count)
            start = at
        before, begun = point, at
        at += width
    return count + part_ids(data, start, end, table, cache, room, out, at_out + count)


@kernel
def encode_texts(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    table: MergeTable,
    cache: WordCache,
    room: NDArray[np.int64],
    out: NDArray[np.int32],
    bounds: NDArray[np.int64],
    keep: bool,
) -> None:
    """Encode texts that lie one after another in a UTF-8 buffer.

    offsets: (n + 1,) byte bounds of the texts in `data`.  room: (ROOM_ROWS, more than the longest text has bytes).
    bounds: (n + 1,), filled with the texts' bounds among all ids.  keep: whether these are wanted, not only counted.
    out: room for the ids and one more: of all texts if they are kept, else of the longest; a token has at least one
    byte.
    """
    classes, byte_ids = table.classes, table.byte_ids
    count: Index = 0
    bounds[0] = 0
    for text in range(offsets.size - 1):
        at, end = offsets[text], offsets[text + 1]
        while at < end:
            following = piece_end(data, at, end, classes)
            size = following - at
            place = count if keep else 0
            if size == 1:
                out[place] = byte_ids[data[at]]
                count += 1
            else:
                known: Index = 0
                if size <= _LONGEST_KEPT:
                    known = known_ids(cache.lines, data, at, following, out, place)
                if known == 0:
                    known = piece_ids(data, at, following, table, cache, room, out, place)
                count += known
            at = following
        bounds[text + 1] = count
