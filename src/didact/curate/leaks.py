"""Leak check: the nearest training record of every held-out one, exactly, through an inverted index.

Prefix filtering (Chaudhuri, Ganti & Kaushik 2006): two sets with Jaccard >= t share at least ceil(t |A|) members of A,
so any |A| - ceil(t |A|) + 1 members of A hold one of them. Only the rarest that many shingles of a held-out record are
indexed; training records stream past once, and every candidate is verified by merging the two sorted sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from didact.curate.order import I64, U64


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
        return ShingleSets(_gather(self.hashes, self.offsets, rows.astype(np.int64), offsets), offsets)


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each held-out record, its most similar training record at or above the threshold:
    row -1 and similarity 0 where there is none.
    """

    rows: I64
    similarity: NDArray[np.float64]


@njit(cache=True, nogil=True)
def _gather(hashes, offsets, rows, out_offsets):  # type: ignore[no-untyped-def]
    out = np.empty(out_offsets[-1], np.uint64)
    for k in range(rows.size):
        start = offsets[rows[k]]
        for j in range(out_offsets[k + 1] - out_offsets[k]):
            out[out_offsets[k] + j] = hashes[start + j]
    return out


@njit(cache=True, nogil=True)
def _slots(unique, size):  # type: ignore[no-untyped-def]
    """Open-addressing table: slot -> place in `unique` + 1, 0 is free.
    Hashes are already mixed, so their low bits serve.
    """
    table = np.zeros(size, np.int32)
    mask = np.uint64(size - 1)
    for i in range(unique.size):
        slot = unique[i] & mask
        while table[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = i + 1
    return table


@njit(cache=True, nogil=True)
def _find(table, unique, value):  # type: ignore[no-untyped-def]
    mask = np.uint64(table.size - 1)
    slot = value & mask
    while table[slot] != 0:
        if unique[table[slot] - 1] == value:
            return table[slot] - 1
        slot = (slot + np.uint64(1)) & mask
    return -1


@njit(cache=True, nogil=True)
def _count(table, unique, hashes):  # type: ignore[no-untyped-def]
    counts = np.zeros(unique.size, np.int64)
    for k in range(hashes.size):
        place = _find(table, unique, hashes[k])
        if place >= 0:
            counts[place] += 1
    return counts


@njit(cache=True, nogil=True)
def jaccard(left, right):  # type: ignore[no-untyped-def]
    """Jaccard similarity of two sorted arrays without repeats; two empty ones are equal (1)."""
    i = j = common = 0
    while i < left.size and j < right.size:
        if left[i] == right[j]:
            common += 1
            i += 1
            j += 1
        elif left[i] < right[j]:
            i += 1
        else:
            j += 1
    union = left.size + right.size - common
    return common / union if union else 1.0


@njit(cache=True, nogil=True)
def _nearest(table, unique, index_offsets, index_rows, held, held_offsets, train, train_offsets, train_rows, threshold):  # type: ignore[no-untyped-def]
    held_rows = held_offsets.size - 1
    best = np.zeros(held_rows, np.float64)
    best_row = np.full(held_rows, -1, np.int64)
    seen = np.full(held_rows, -1, np.int64)
    for place in range(train_rows.size):
        row = train_rows[place]
        own = train[train_offsets[row] : train_offsets[row + 1]]
        for k in range(own.size):
            slot = _find(table, unique, own[k])
            if slot < 0:
                continue
            for p in range(index_offsets[slot], index_offsets[slot + 1]):
                other = index_rows[p]
                if seen[other] == row:
                    continue
                seen[other] = row
                size = held_offsets[other + 1] - held_offsets[other]
                if own.size < threshold * size or size < threshold * own.size:
                    continue
                similarity = jaccard(held[held_offsets[other] : held_offsets[other + 1]], own)
                if similarity >= threshold and similarity > best[other]:
                    best[other] = similarity
                    best_row[other] = row
    return best_row, best


def nearest_training(held: ShingleSets, records: ShingleSets, train: I64, threshold: float) -> Nearest:
    """The nearest training record of each held-out one, among those with Jaccard >= threshold (> 0).

    train: which of the records are in training. Empty sets have no neighbour.
    """
    unique, places = np.unique(held.hashes, return_inverse=True)
    table = _slots(unique, 1 << max(4, int(2 * len(unique)).bit_length()))
    counts = _count(table, unique, records.hashes)
    posting_rows, posting_places = _rarest(held, places.astype(np.int64), counts, threshold)
    order = np.argsort(posting_places, kind="stable")
    offsets = np.searchsorted(posting_places[order], np.arange(len(unique) + 1)).astype(np.int64)
    index = (table, unique, offsets, posting_rows[order])
    rows, similarity = _nearest(*index, held.hashes, held.offsets, records.hashes, records.offsets, train, threshold)
    return Nearest(rows, similarity)


def _rarest(held: ShingleSets, places: I64, counts: I64, threshold: float) -> tuple[I64, I64]:
    """(held-out row, shingle) of each record's rarest |A| - ceil(t |A|) + 1 shingles that occur in training at all."""
    rows = np.repeat(np.arange(len(held.offsets) - 1, dtype=np.int64), np.diff(held.offsets))
    order = np.lexsort((places, counts[places], rows))
    rank = np.arange(len(rows), dtype=np.int64) - held.offsets[rows[order]]
    sizes = np.diff(held.offsets)[rows[order]]
    # The tiny tolerance keeps ceil from rounding 0.6 * 5 = 3.0000000000000004 up to 4, which would lose a candidate.
    prefix = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    kept = order[(rank < prefix) & (counts[places[order]] > 0)]
    return rows[kept], places[kept]
