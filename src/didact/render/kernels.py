"""Byte-pair encoding of whole text buffers: cut by the pattern of `pretokens`, look up, merge what is new.

Equal, id for id, to `tokenizers` with that pattern and the same merges; faster because no object is made per text or
per token. Imported only where much text is encoded, since numba compiles on first use.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from didact.text.utf8 import code_point

OTHER, LETTER, NUMBER, SPACE, NEWLINE = range(5)  # as in `pretokens`: numba freezes globals of its own module
_LONGEST_CACHED = 128
_NO_RANK = 2**31 - 1
_WHOLE = 7
"""Bytes of a piece that fit into a key."""
_HASHED = np.uint64(0xFF << 56)
Index: TypeAlias = int | np.signedinteger[Any]
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


class MergeTable(NamedTuple):
    """The vocabulary as arrays. `pairs`, `ranks` form an open-addressing table of a power of two slots."""

    classes: NDArray[np.uint8]
    byte_ids: NDArray[np.int32]
    pairs: NDArray[np.uint64]
    ranks: NDArray[np.int32]
    merged: NDArray[np.int32]
    distinct: bool
    """Whether no two merges give the same token."""


class WordCache(NamedTuple):
    """Pieces met before and their ids, in an open-addressing table of a power of two slots; for one thread.

    keys: 0 where a slot is empty; see `piece_key`.  found: first place in `ids`, shifted by 8, and number of ids.
    spelt: first place in `text`, shifted by 8, and length, of a piece whose key is a hash.  used: entries, bytes of
    `text`, `ids`.
    """

    keys: NDArray[np.uint64]
    found: NDArray[np.int64]
    spelt: NDArray[np.int64]
    text: NDArray[np.uint8]
    ids: NDArray[np.int32]
    used: NDArray[np.int64]


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def run_end(data: NDArray[np.uint8], at: Index, end: Index, classes: NDArray[np.uint8], wanted: Index) -> Index:
    """End of the run of code points of one class that starts at a position."""
    while at < end:
        point, width = code_point(data, at)
        following = at + width
        if classes[point] != wanted:
            break
        at = following
    return at


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def piece_end(data: NDArray[np.uint8], at: Index, end: Index, classes: NDArray[np.uint8]) -> Index:
    """End of the piece that starts at a position; always beyond it."""
    point, width = code_point(data, at)
    following = at + width
    kind = classes[point]
    if kind == LETTER:
        return run_end(data, following, end, classes, LETTER)
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
            return run_end(data, following, end, classes, LETTER)
        if point == 0x20 and classes[next_point] == OTHER:
            symbols = following
    if symbols >= 0:
        return run_end(data, run_end(data, symbols, end, classes, OTHER), end, classes, NEWLINE)
    return white_end(data, at, end, classes)


@njit(cache=True, nogil=True)
def pair_slot(pairs: NDArray[np.uint64], left: Index, right: Index) -> Index:
    """Slot of a pair in the open-addressing table, or the empty slot where it would go."""
    key = (np.uint64(left) << np.uint64(32)) | np.uint64(right)
    mask = np.uint64(pairs.size - 1)
    slot = ((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(29)) & mask
    while pairs[slot] != key and pairs[slot] != _EMPTY:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@njit(cache=True, nogil=True)
def fill_pairs(
    pairs: NDArray[np.uint64], ranks: NDArray[np.int32], left: NDArray[np.int32], right: NDArray[np.int32]
) -> None:
    """Enter all merges, in order of rank, into an empty table."""
    for rank in range(left.size):
        slot = pair_slot(pairs, left[rank], right[rank])
        pairs[slot] = (np.uint64(left[rank]) << np.uint64(32)) | np.uint64(right[rank])
        ranks[slot] = rank


@njit(cache=True, nogil=True)
def rank_of(table: MergeTable, left: Index, right: Index) -> Index:
    """Rank of the merge of two neighbours, or -1."""
    slot = pair_slot(table.pairs, left, right)
    return -1 if table.pairs[slot] == _EMPTY else np.int64(table.ranks[slot])


@njit(cache=True, nogil=True)
def heap_push(heap: NDArray[np.int64], size: Index, key: Index) -> Index:
    """Add a key to a binary min-heap; returns the new size."""
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if heap[parent] <= key:
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = key
    return size + 1


@njit(cache=True, nogil=True)
def heap_pop(heap: NDArray[np.int64], size: Index) -> Index:
    """Remove the least key, which the caller read at index 0; returns the new size."""
    size -= 1
    key = heap[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key
    return size


@njit(cache=True, nogil=True)
def push_pair(
    heap: NDArray[np.int64], size: Index, table: MergeTable, ids: NDArray[np.int32], left: Index, right: Index
) -> Index:
    """Queue the merge of the symbols at two positions, if there is one; least rank first, then leftmost."""
    rank = rank_of(table, ids[left], ids[right])
    return size if rank < 0 else heap_push(heap, size, (rank << 32) | left)


@njit(cache=True, nogil=True)
def merge_piece(
    data: NDArray[np.uint8], start: Index, end: Index, table: MergeTable, out: NDArray[np.int32], at_out: Index
) -> Index:
    """Byte-pair encode one piece into `out` from a place on; returns the number of ids.

    Symbols form a linked list over their first byte, merges wait in a heap: n log n for a piece of n bytes. A queued
    merge counts as valid while the pair at its place still gives the same token, which is the rule of `tokenizers`.
    """
    n = end - start
    ids = np.empty(n, np.int32)
    after = np.empty(n + 1, np.int32)
    before = np.empty(n + 1, np.int32)
    heap = np.empty(3 * n, np.int64)
    size: Index = 0
    for i in range(n):
        ids[i], after[i], before[i] = table.byte_ids[data[start + i]], i + 1, i - 1
    for i in range(n - 1):
        size = push_pair(heap, size, table, ids, i, i + 1)
    while size:
        top = heap[0]
        size = heap_pop(heap, size)
        left = top & 0xFFFFFFFF
        right = np.int64(after[left])
        if ids[left] < 0 or right >= n:
            continue
        rank = rank_of(table, ids[left], ids[right])
        token = table.merged[top >> 32]
        if rank < 0 or table.merged[rank] != token:
            continue
        ids[left], ids[right] = token, -1
        after[left] = after[right]
        before[after[right]] = left
        if before[left] >= 0:
            size = push_pair(heap, size, table, ids, before[left], left)
        if after[left] < n:
            size = push_pair(heap, size, table, ids, left, after[left])
    count = 0
    at: Index = 0
    while at < n:
        out[at_out + count] = ids[at]
        count, at = count + 1, after[at]
    return count


@njit(cache=True, nogil=True)
def merge_short(
    data: NDArray[np.uint8], start: Index, end: Index, table: MergeTable, ranks: NDArray[np.int32],
    out: NDArray[np.int32], at_out: Index,
) -> Index:  # fmt: skip
    """What `merge_piece` does, for a short piece and merges that all give another token: no queued merge of theirs can
    outlive its pair, so the least rank of the neighbours that are there now is always the next.

    ranks: room for one rank a byte. A pass over a hundred numbers costs less than a heap of them.
    """
    n = end - start
    for i in range(n):
        out[at_out + i] = table.byte_ids[data[start + i]]
    for i in range(n - 1):
        ranks[i] = rank_of(table, out[at_out + i], out[at_out + i + 1])
    while n > 1:
        best, least = -1, _NO_RANK
        for i in range(n - 1):
            if 0 <= ranks[i] < least:
                best, least = i, ranks[i]
        if best < 0:
            break
        n -= 1
        for i in range(best + 1, n):
            out[at_out + i] = out[at_out + i + 1]
            ranks[i - 1] = ranks[i]
        out[at_out + best] = table.merged[least]
        if best > 0:
            ranks[best - 1] = rank_of(table, out[at_out + best - 1], out[at_out + best])
        if best + 1 < n:
            ranks[best] = rank_of(table, out[at_out + best], out[at_out + best + 1])
    return n


@njit(cache=True, nogil=True)
def piece_key(data: NDArray[np.uint8], start: Index, end: Index) -> np.uint64:
    """What a piece is looked up by: up to seven bytes themselves below their number, or a hash below 255."""
    size = end - start
    if size <= _WHOLE:
        whole = np.uint64(size)
        for i in range(start, end):
            whole = (whole << np.uint64(8)) | np.uint64(data[i])
        return whole << np.uint64(8 * (_WHOLE - size))
    state = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        state = (state ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    return (state ^ (state >> np.uint64(32))) | _HASHED


@njit(cache=True, nogil=True)
def piece_slot(cache: WordCache, key: np.uint64, data: NDArray[np.uint8], start: Index, end: Index) -> Index:
    """Slot of a piece in the cache, or the empty slot where it would go."""
    keys, spelt, text = cache.keys, cache.spelt, cache.text
    mask = np.uint64(keys.size - 1)
    slot = ((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(29)) & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            if key < _HASHED:
                break
            first, same = spelt[slot] >> 8, 0
            if spelt[slot] & 0xFF == end - start:
                while same < end - start and text[first + same] == data[start + same]:
                    same += 1
                if same == end - start:
                    break
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@njit(cache=True, nogil=True)
def remember(
    cache: WordCache, slot: Index, key: np.uint64, data: NDArray[np.uint8], start: Index, end: Index,
    out: NDArray[np.int32], first: Index, count: Index,
) -> None:  # fmt: skip
    """Enter the piece data[start:end] with the ids out[first : first + count] into an empty slot, while there is
    room.
    """
    entries, spelt, ids = cache.used[0], cache.used[1], cache.used[2]
    size = end - start if key >= _HASHED else 0
    if 2 * entries >= cache.keys.size or spelt + size > cache.text.size or ids + count > cache.ids.size:
        return
    cache.keys[slot], cache.found[slot], cache.spelt[slot] = key, (ids << 8) | count, (spelt << 8) | size
    for i in range(size):
        cache.text[spelt + i] = data[start + i]
    for i in range(count):
        cache.ids[ids + i] = out[first + i]
    cache.used[0], cache.used[1], cache.used[2] = entries + 1, spelt + size, ids + count


@njit(cache=True, nogil=True)
def encode_texts(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    table: MergeTable,
    cache: WordCache,
    out: NDArray[np.int32],
    bounds: NDArray[np.int64],
) -> None:
    """Encode texts that lie one after another in a UTF-8 buffer.

    offsets: (n + 1,) byte bounds of the texts in `data`.  out: room for offsets[n] - offsets[0] ids (a token has at
    least one byte).  bounds: (n + 1,), filled with the texts' bounds in `out`.
    """
    classes, byte_ids = table.classes, table.byte_ids
    ranks = np.empty(_LONGEST_CACHED, np.int32)
    keys, found, ids = cache.keys, cache.found, cache.ids
    count: Index = 0
    bounds[0] = 0
    for text in range(offsets.size - 1):
        at, end = offsets[text], offsets[text + 1]
        while at < end:
            following = piece_end(data, at, end, classes)
            size = following - at
            if size == 1:
                out[count] = byte_ids[data[at]]
                count += 1
            elif size > _LONGEST_CACHED:
                count += merge_piece(data, at, following, table, out, count)
            else:
                key = piece_key(data, at, following)
                slot = piece_slot(cache, key, data, at, following)
                if keys[slot] == 0:
                    if table.distinct:
                        new = merge_short(data, at, following, table, ranks, out, count)
                    else:
                        new = merge_piece(data, at, following, table, out, count)
                    remember(cache, slot, key, data, at, following, out, count, new)
                    count += new
                else:
                    first, known = found[slot] >> 8, found[slot] & 0xFF
                    for i in range(known):
                        out[count + i] = ids[first + i]
                    count += known
            at = following
        bounds[text + 1] = count
