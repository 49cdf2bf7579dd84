"""Leak check: the nearest training record of every held-out one, exactly, through an inverted index.

Prefix filtering (Chaudhuri, Ganti & Kaushik 2006): two sets with Jaccard >= t share at least ceil(t |A|) members of A,
so any |A| - ceil(t |A|) + 1 members of A hold one of them. Only the rarest that many shingles of a held-out record are
indexed, and of those the ones that occur in training, by a tally that is made once and counts none too low. Training
records stream past; nearly all of their shingles are turned away by a few bits. Every candidate is verified by merging
the two sorted sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from didact.curate.order import I64, U64
from didact.curate.threads import in_threads
from didact.text.compiled import inlined, kernel, part
from didact.text.tokens import parted

_BITS = 16
"""Bits of a filter for each hash: one in sixteen that was not put in is let through."""
_SHARED = 8
"""Hashes for each slot of a tally. With one it takes four times as long to fill, as it leaves the processor's caches,
and what is rare is told from what is frequent with eight as well.
"""
_FEW = 1 << 12
"""Records of which one thread finds the nearest before another has begun."""
_SLOTS = 1 << 25
"""The most slots of a tally."""


@dataclass(frozen=True, slots=True)
class ShingleSets:
    """Sets of shingle hashes of many records: those of record i are hashes[offsets[i]:offsets[i+1]], sorted, without
    repeats.
    """

    hashes: U64
    offsets: I64

    def take(self, rows: I64) -> ShingleSets:
        """The sets of some records, in the order given."""
        lengths = (self.offsets[1:] - self.offsets[:-1])[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        hashes = np.empty(offsets[-1], np.uint64)
        _gather(self.hashes, self.offsets, rows.astype(np.int64), hashes, offsets)
        return ShingleSets(hashes, offsets)


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each held-out record, its most similar training record at or above the threshold:
    row -1 and similarity 0 where there is none.
    """

    rows: I64
    similarity: NDArray[np.float64]


@kernel
def _gather(hashes, offsets, rows, out, out_offsets):  # type: ignore[no-untyped-def]
    for k in range(rows.size):
        start = offsets[rows[k]]
        for j in range(out_offsets[k + 1] - out_offsets[k]):
            out[out_offsets[k] + j] = hashes[start + j]


class _Table(NamedTuple):
    """Different hashes, looked up by their low bits, since they are mixed already; by their high ones in the filter."""

    slots: NDArray[np.int32]
    """Open addressing: place in `hashes` + 1, 0 is free."""
    hashes: U64
    filter: U64
    """One bit for each of the high bits of those hashes that are looked for."""


@inlined
def _bit(words: U64, value: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The word of a filter of a power of two words, and the bit in it, of a hash."""
    high = value >> np.uint64(32)
    return (high >> np.uint64(6)) & np.uint64(words.size - 1), np.uint64(1) << (high & np.uint64(63))


@inlined
def _passes(words: U64, value: np.uint64) -> bool:
    """Whether a hash may have been put into a filter."""
    word, bit = _bit(words, value)
    return (words[word] & bit) != 0


@kernel
def _put(words: U64, hashes: U64) -> None:
    """Put hashes into a filter."""
    for value in hashes:
        word, bit = _bit(words, value)
        words[word] |= bit


@inlined
def _slot(slots: NDArray[np.int32], unique: U64, value: np.uint64) -> np.uint64:
    """Slot of a hash, or the free one where it would go."""
    mask = np.uint64(slots.size - 1)
    slot = value & mask
    while slots[slot] != 0 and unique[slots[slot] - 1] != value:
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel
def _entered(hashes: U64, slots: NDArray[np.int32], unique: U64, places: I64) -> int:
    """Enter hashes into an empty table, and write the place of each; returns how many different ones there are."""
    used = 0
    for i in range(hashes.size):
        slot = _slot(slots, unique, hashes[i])
        if slots[slot] == 0:
            unique[used] = hashes[i]
            used += 1
            slots[slot] = used
        places[i] = slots[slot] - 1
    return used


def _table(hashes: U64) -> tuple[_Table, I64]:
    """The table of some hashes, and the place of each in it."""
    slots = np.zeros(1 << max(4, (2 * len(hashes)).bit_length()), np.int32)
    unique, places = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64)
    unique = unique[: _entered(hashes, slots, unique, places)]
    return _Table(slots, unique, _filter(unique)), places


def _filter(hashes: U64) -> U64:
    words = np.zeros(1 << max(0, (_BITS * len(hashes) // 64).bit_length()), np.uint64)
    _put(words, hashes)
    return words


@kernel
def _tally(hashes: U64, offsets: I64, rows: I64, counts: NDArray[np.uint32]) -> None:
    for row in rows:
        for k in range(offsets[row], offsets[row + 1]):
            counts[hashes[k] & np.uint64(counts.size - 1)] += np.uint32(1)


class Tally:
    """In how many training records each hash is, at most: hashes that end in the same bits are counted as one."""

    def __init__(self, records: ShingleSets) -> None:
        self._records = records
        slots = min(_SLOTS, 1 << (len(records.hashes) // _SHARED).bit_length())
        self._counts = np.zeros(slots, np.uint32)
        self._counted = np.zeros(len(records.offsets) - 1, np.bool_)

    def with_rows(self, train: I64) -> Tally:
        """The same, with those of some records that were not counted before."""
        new = train[~self._counted[train]]
        _tally(self._records.hashes, self._records.offsets, new, self._counts)
        self._counted[new] = True
        return self

    def of(self, hashes: U64) -> I64:
        """In how many records each hash is, at most."""
        return self._counts[hashes & np.uint64(len(self._counts) - 1)].astype(np.int64)


@part
def _nth(values: I64, size: int, n: int) -> int:
    """The n-th smallest, from 0, of the first values, which are moved about."""
    low, high = 0, size - 1
    while low < high:
        i, j = parted(values, low, high)
        if n <= j:
            high = j
        elif n >= i:
            low = i
        else:
            break
    return values[n]


@kernel
def _rarest(held: I64, places: I64, counts: I64, threshold: float, room: I64, rows: I64, found: I64) -> int:
    """Write (held-out row, place of a shingle) for each record's rarest |A| - ceil(t |A|) + 1 shingles as far as they
    occur in training at all; returns how many.  held: offsets of the records in `places`.
    """
    used = 0
    for row in range(held.size - 1):
        size = held[row + 1] - held[row]
        # The tiny tolerance keeps ceil from rounding 0.6 * 5 = 3.0000000000000004 up to 4: a candidate would be lost.
        left = size - np.int64(np.ceil(threshold * size - 1e-9)) + 1
        there = 0
        for k in range(held[row], held[row + 1]):
            if counts[places[k]]:
                room[there] = counts[places[k]]
                there += 1
        # Those that do not occur are the rarest.
        left = min(left - (size - there), there)
        if left <= 0:
            continue
        most = _nth(room, there, left - 1)
        for k in range(held[row], held[row + 1]):
            left -= 0 < counts[places[k]] < most
        for k in range(held[row], held[row + 1]):
            count = counts[places[k]]
            if 0 < count < most or (count == most and left > 0):
                left -= count == most
                rows[used], found[used] = row, places[k]
                used += 1
    return used


@part
def jaccard(left: U64, right: U64, i: int, end: int, j: int, last: int) -> float:
    """Jaccard similarity of left[i:end] and right[j:last], both sorted and without repeats; two empty ones are equal
    (1).
    """
    union, common = end - i + last - j, 0
    while i < end and j < last:
        a, b = left[i], right[j]
        common += a == b
        i += a <= b
        j += b <= a
    return common / (union - common) if union else 1.0


@kernel
def _nearest(
    table: _Table, starts: I64, members: I64, held: U64, held_offsets: I64, train: U64, offsets: I64, rows: I64,
    threshold: float, seen: I64, best_row: I64, best: NDArray[np.float64],
) -> None:  # fmt: skip
    """Write the most similar row, the first of several, and its similarity for each held-out record that has one.

    starts: of each hash of the table, where its held-out records begin in `members`.  seen: -1 for each.
    """
    for row in rows:
        start, end = offsets[row], offsets[row + 1]
        for k in range(start, end):
            if not _passes(table.filter, train[k]):
                continue
            place = table.slots[_slot(table.slots, table.hashes, train[k])] - 1
            if place < 0:
                continue
            for p in range(starts[place], starts[place + 1]):
                other = members[p]
                if seen[other] == row:
                    continue
                seen[other] = row
                first, last = held_offsets[other], held_offsets[other + 1]
                if end - start < threshold * (last - first) or last - first < threshold * (end - start):
                    continue
                similarity = jaccard(held, train, first, last, start, end)
                if similarity >= threshold and similarity > best[other]:
                    best[other], best_row[other] = similarity, row


def nearest_training(
    held: ShingleSets, records: ShingleSets, train: I64, threshold: float, tally: Tally, threads: int = 1
) -> Nearest:
    """The nearest training record of each held-out one, among those with Jaccard >= threshold (> 0).

    train: which of the records are in training; the first of equally similar ones is found.  tally: of the records,
    those in training among them. Empty sets have no neighbour. The result does not depend on `threads`.
    """
    table, places = _table(held.hashes)
    parts = [own for own in np.array_split(train, threads if len(train) > _FEW else 1) if len(own)]

    def found(rows: I64) -> tuple[I64, NDArray[np.float64]]:
        size = len(held.offsets) - 1
        best_row, best = np.full(size, -1, np.int64), np.zeros(size)
        _nearest(
            looked_for, starts, members, held.hashes, held.offsets, records.hashes, records.offsets, rows, threshold,
            np.full(size, -1, np.int64), best_row, best,
        )  # fmt: skip
        return best_row, best

    counts = tally.of(table.hashes)
    rows, shingles = _indexed(held, places, counts, threshold)
    order = np.argsort(shingles, kind="stable")
    members, starts = rows[order], np.searchsorted(shingles[order], np.arange(len(counts) + 1)).astype(np.int64)
    looked_for = table._replace(filter=_filter(table.hashes[shingles]))
    best_row, best = np.full(len(held.offsets) - 1, -1, np.int64), np.zeros(len(held.offsets) - 1)
    for their_row, theirs in in_threads(found, parts, threads):
        better = theirs > best
        best_row, best = np.where(better, their_row, best_row), np.where(better, theirs, best)
    return Nearest(best_row, best)


@kernel
def _hold_enough(words: U64, hashes: U64, offsets: I64, rows: I64, threshold: float, enough: NDArray[np.bool_]) -> None:
    """Whether so many of a row's hashes may have been put into the filter that it can be similar to what was."""
    for k in range(rows.size):
        start, end = offsets[rows[k]], offsets[rows[k] + 1]
        there = 0
        for i in range(start, end):
            there += _passes(words, hashes[i])
        # For the tolerance see `_rarest`.
        enough[k] = there >= threshold * (end - start) - 1e-9


def promising(records: ShingleSets, rows: I64, others: ShingleSets, threshold: float) -> I64:
    """Those of some records that may have Jaccard >= threshold with one of few others: of A they must hold t |A|."""
    enough = np.empty(len(rows), np.bool_)
    _hold_enough(_filter(others.hashes), records.hashes, records.offsets, rows, threshold, enough)
    return rows[enough]


def _indexed(held: ShingleSets, places: I64, counts: I64, threshold: float) -> tuple[I64, I64]:
    """(held-out row, place of a shingle) for what is to be looked for."""
    size = len(places)
    rows, found, room = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    used = _rarest(held.offsets, places, counts, threshold, room, rows, found)
    return rows[:used], found[:used]
