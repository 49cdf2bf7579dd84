"""Merging the bytes of a piece into tokens, pair by pair in the order of the vocabulary's merges."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from didact.text.compiled import inlined, kernel, part
from didact.text.eight import Index

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_NONE = 2**62
_LONGEST_SCANNED = 128
"""Bytes up to which a scan finds the next merge sooner than a heap; below 256, the places that a key has room for."""
ROOM_ROWS = 6
"""Rows of the room that merging a piece needs, each of one number more than the piece has bytes."""


class MergeTable(NamedTuple):
    """The vocabulary as arrays.

    classes: class of each code point.  byte_ids: id of each byte.  merged: id that each merge gives.
    pairs: an open-addressing table of a power of two slots: the two ids of a merge as one number, and its rank.
    joints: an open-addressing set of the bytes, of one character each, that stand on the two sides of a border between
    characters inside a token, those on the left shifted by 32; only of borders before characters beyond ASCII.
    ends, starts: the kinds of joints whose left (right) side each code point below 0x10000 ends (begins) with, in bits
    0 to 8: 3 (bytes on the left - 1) + bytes on the right - 1.
    """

    classes: NDArray[np.uint8]
    byte_ids: NDArray[np.int32]
    merged: NDArray[np.int32]
    pairs: NDArray[np.uint64]
    joints: NDArray[np.uint64]
    ends: NDArray[np.uint16]
    starts: NDArray[np.uint16]
    distinct: bool
    """Whether no two merges give the same token."""


@inlined
def pair_place(pairs: NDArray[np.uint64], left: Index, right: Index) -> np.uint64:
    """Place of a pair in the open-addressing table, or of the empty slot where it would go."""
    key = (np.uint64(left) << np.uint64(32)) | np.uint64(right)
    mask = np.uint64(pairs.size - 2)
    place = ((key * _FACTOR) >> np.uint64(40)) & mask
    while pairs[place] != key and pairs[place] != _EMPTY:
        place = (place + np.uint64(2)) & mask
    return place


@inlined
def joint_place(joints: NDArray[np.uint64], key: np.uint64) -> np.uint64:
    """Place of a joint in the open-addressing set, or the empty one where it would go."""
    mask = np.uint64(joints.size - 1)
    place = ((key * _FACTOR) >> np.uint64(40)) & mask
    while joints[place] != key and joints[place] != 0:
        place = (place + np.uint64(1)) & mask
    return place


@kernel
def fill_table(
    pairs: NDArray[np.uint64],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    joints: NDArray[np.uint64],
    keys: NDArray[np.uint64],
) -> None:
    """Enter all merges, in order of rank, and all joints into empty tables."""
    for rank in range(left.size):
        place = pair_place(pairs, left[rank], right[rank])
        pairs[place] = (np.uint64(left[rank]) << np.uint64(32)) | np.uint64(right[rank])
        pairs[place + np.uint64(1)] = rank
    for key in keys:
        joints[joint_place(joints, key)] = key


@inlined
def rank_of(table: MergeTable, left: Index, right: Index) -> Index:
    """Rank of the merge of two neighbours, or -1."""
    place = pair_place(table.pairs, left, right)
    return -1 if table.pairs[place] == _EMPTY else np.int64(table.pairs[place + np.uint64(1)])


@part
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


@part
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


@part
def push_pair(
    heap: NDArray[np.int64], size: Index, table: MergeTable, ids: NDArray[np.int64], left: Index, right: Index
) -> Index:
    """Queue the merge of the symbols at two positions, if there is one; least rank first, then leftmost."""
    rank = rank_of(table, ids[left], ids[right])
    return size if rank < 0 else heap_push(heap, size, (rank << 32) | left)


@part
def merge_long(data: NDArray[np.uint8], start: Index, end: Index, table: MergeTable, room: NDArray[np.int64]) -> None:
    """Merge a piece's symbols, which are in `room` as `merge_piece` says; merges wait in a heap.

    n log n for a piece of n bytes. A queued merge counts as valid while the pair at its place still gives the same
    token, which is the rule of `tokenizers`.
    """
    n = end - start
    ids, after, before, heap = room[0], room[1], room[2], room[3:].reshape(-1)
    size: Index = 0
    for i in range(n - 1):
        size = push_pair(heap, size, table, ids, i, i + 1)
    while size:
        top = heap[0]
        size = heap_pop(heap, size)
        left = top & 0xFFFFFFFF
        right = after[left]
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


@inlined
def scan_key(table: MergeTable, ids: NDArray[np.int64], left: Index, right: Index) -> Index:
    """Rank of the merge of the symbols at two places and the first place as one number, or `_NONE`."""
    rank = rank_of(table, ids[left], ids[right])
    return _NONE if rank < 0 else (rank << 8) | left


@part
def merge_short(data: NDArray[np.uint8], start: Index, end: Index, table: MergeTable, room: NDArray[np.int64]) -> None:
    """What `merge_long` does, for a short piece and merges that all give another token: no queued merge of theirs can
    outlive its pair, so the least rank of the neighbours that are there now is always the next.

    A pass over a hundred numbers costs less than a heap of them.
    """
    n = end - start
    ids, after, before, keys = room[0], room[1], room[2], room[3]
    for i in range(n - 1):
        keys[i] = scan_key(table, ids, i, i + 1)
    while True:
        least = np.int64(_NONE)
        for i in range(n - 1):
            least = min(least, keys[i])
        if least == _NONE:
            break
        left = least & 0xFF
        right = after[left]
        following, previous = after[right], before[left]
        ids[left] = table.merged[least >> 8]
        after[left], before[following] = following, left
        keys[right] = _NONE
        keys[left] = scan_key(table, ids, left, following) if following < n else _NONE
        if previous >= 0:
            keys[previous] = scan_key(table, ids, previous, left)


@part
def merge_piece(
    data: NDArray[np.uint8], start: Index, end: Index, table: MergeTable, room: NDArray[np.int64],
    out: NDArray[np.int32], at_out: Index,
) -> Index:  # fmt: skip
    """Byte-pair encode one piece into `out` from a place on; returns the number of ids.

    room: (ROOM_ROWS, more than the piece has bytes). Symbols form a linked list over their first byte: the rows hold
    the symbol, the place after it and the place before it.
    """
    n = end - start
    ids, after, before = room[0], room[1], room[2]
    for i in range(n):
        ids[i], after[i], before[i] = table.byte_ids[data[start + i]], i + 1, i - 1
    if table.distinct and n <= _LONGEST_SCANNED:
        merge_short(data, start, end, table, room)
    else:
        merge_long(data, start, end, table, room)
    count = 0
    at: Index = 0
    while at < n:
        out[at_out + count] = ids[at]
        count, at = count + 1, after[at]
    return count


@inlined
def spelling(point: Index) -> tuple[Index, Index]:
    """The UTF-8 bytes of a code point below 0x10000 as one number, the last lowest, and how many they are."""
    if point < 0x80:
        return point, 1
    if point < 0x800:
        return 0xC080 | (point >> 6) << 8 | point & 0x3F, 2
    return 0xE08080 | (point >> 12) << 16 | (point >> 6 & 0x3F) << 8 | point & 0x3F, 3


@inlined
def is_border(table: MergeTable, left: Index, right: Index) -> bool:
    """Whether no token spans the border between two neighbouring code points, the second beyond ASCII.

    That is so when no token holds the last bytes of the one and the first bytes of the other side by side.
    """
    if left >= 0x10000 or right >= 0x10000:
        return False
    kinds = table.ends[left] & table.starts[right]
    if kinds == 0:
        return True
    before, _ = spelling(left)
    after, width = spelling(right)
    for kind in range(9):
        if kinds >> kind & 1:
            side = before & (1 << 8 * (kind // 3 + 1)) - 1
            key = np.uint64(side << 32 | after >> 8 * (width - 1 - kind % 3))
            if table.joints[joint_place(table.joints, key)] == key:
                return False
    return True
