"""MinHash over shingle hashes: signatures, bands that propose pairs, and the exact Jaccard similarity that decides.

Signatures are bit-identical to `datasketch.MinHash(num_perm, scheme="affine32", seed=1, hashfunc=lambda h: h)` over the
low 32 bits of the shingle hashes, so that an index made with either can be read with the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from didact.curate.order import sorted_order, sorted_unique
from didact.curate.threads import in_threads
from didact.text.compiled import inlined, kernel, part
from didact.text.utf8 import FNV_OFFSET, fold, mix

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]

_FIRST = np.uint32(0x85EBCA6B)
_SECOND = np.uint32(0xC2B2AE35)
"""The multipliers of MurmurHash3's 32-bit finaliser, with which datasketch mixes each hash before permuting it."""


@dataclass(frozen=True, slots=True)
class Bands:
    """How a signature is cut: `count` bands of `rows` values; two records are candidates when one band is equal."""

    count: int
    rows: int

    def probability(self, similarity: float) -> float:
        """How likely two records of this similarity become candidates.

        >>> round(Bands(20, 5).probability(0.8), 4)
        0.9996
        """
        return float(1 - (1 - similarity**self.rows) ** self.count)


@cache
def permutations(count: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Factors (odd) and addends of the permutations h -> a * h + b modulo 2^32, as datasketch draws them for seed 1."""
    generator = np.random.RandomState(1)
    factors = generator.randint(0, 2**31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.randint(0, 2**32, count, dtype=np.uint32)


@inlined
def _premix(h):  # type: ignore[no-untyped-def]
    """MurmurHash3's fmix32."""
    h = np.uint32((h ^ (h >> np.uint32(16))) * _FIRST)
    h = np.uint32((h ^ (h >> np.uint32(13))) * _SECOND)
    return h ^ (h >> np.uint32(16))


@inlined
def _lower(out, factors, addends, h0, h1, h2, h3):  # type: ignore[no-untyped-def]
    """Lower each value of `out` to the least of four permuted hashes: one load and one store for four products."""
    for j in range(len(out)):
        a, b = factors[j], addends[j]
        first = min(np.uint32(a * h0 + b), np.uint32(a * h1 + b))
        second = min(np.uint32(a * h2 + b), np.uint32(a * h3 + b))
        out[j] = min(out[j], first, second)


@kernel
def _signatures(hashes, offsets, factors, addends, mixed, out):  # type: ignore[no-untyped-def]
    """Lower `out`. mixed: room for the hashes of the largest record and three more."""
    for r in range(len(out)):
        start, count = offsets[r], offsets[r + 1] - offsets[r]
        for i in range(count):
            mixed[i] = _premix(np.uint32(hashes[start + i]))
        for i in range(count, count + 3 if count else 0):
            # A repeated hash changes no minimum, so the last one fills up the last group of four.
            mixed[i] = mixed[count - 1]
        for i in range(0, count, 4):
            _lower(out[r], factors, addends, mixed[i], mixed[i + 1], mixed[i + 2], mixed[i + 3])


def signatures(hashes: Hashes, offsets: Offsets, count: int = 128) -> npt.NDArray[np.uint32]:
    """Signatures (n, count) of records whose shingle hashes are `hashes[offsets[r]:offsets[r + 1]]`.

    A record without shingles has the signature of the empty set: all ones.
    """
    mixed = np.empty(int(np.diff(offsets).max(initial=0)) + 3, np.uint32)
    out = np.full((len(offsets) - 1, count), 0xFFFFFFFF, np.uint32)
    _signatures(hashes, offsets, *permutations(count), mixed, out)
    return out


@cache
def choose_bands(threshold: float, count: int = 128, miss_weight: float = 0.98) -> Bands:
    """The bands with the least weighted error: areas under the candidate curve below, and over it above, the threshold.

    The areas are those of Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4, as datasketch weighs
    them; its default weight of one half for both misses 60 % of the pairs at 0.8. Proposed pairs are verified here, so
    a false one costs microseconds and a missed one is a duplicate that stays: misses weigh 49 times as much.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    below, above = (nodes + 1) / 2 * threshold, threshold + (nodes + 1) / 2 * (1 - threshold)
    choices = [Bands(b, r) for b in range(1, count + 1) for r in range(1, count // b + 1)]
    errors = [
        (1 - miss_weight) * threshold / 2 * float(weights @ (1 - (1 - below**b_r.rows) ** b_r.count))
        + miss_weight * (1 - threshold) / 2 * float(weights @ ((1 - above**b_r.rows) ** b_r.count))
        for b_r in choices
    ]
    return choices[int(np.argmin(errors))]


@kernel
def _band_keys(signatures, rows, out):  # type: ignore[no-untyped-def]
    for r in range(len(out)):
        for b in range(out.shape[1]):
            state = fold(FNV_OFFSET, b)
            for j in range(b * rows, (b + 1) * rows):
                state = fold(mix(state), signatures[r, j])
            out[r, b] = mix(state)


def band_keys(signatures: npt.NDArray[np.uint32], bands: Bands) -> Hashes:
    """One 64-bit key for each band of each signature, (n, bands.count). Raises ValueError if the bands do not fit."""
    if bands.count * bands.rows > signatures.shape[1]:
        raise ValueError(
            f"{bands.count} bands of {bands.rows} rows need more than the {signatures.shape[1]} values of a signature"
        )
    out = np.empty((len(signatures), bands.count), np.uint64)
    _band_keys(signatures, bands.rows, out)
    return out


@kernel
def _all_pairs(members, starts, out):  # type: ignore[no-untyped-def]
    """Write every pair of rows that share a bucket, members[starts[g]:starts[g + 1]]."""
    at = 0
    for g in range(len(starts) - 1):
        for i in range(starts[g], starts[g + 1]):
            for j in range(i + 1, starts[g + 1]):
                out[at, 0], out[at, 1] = min(members[i], members[j]), max(members[i], members[j])
                at += 1


def _buckets(keys: Hashes, rows: Offsets) -> tuple[Offsets, Offsets]:
    """Rows sorted by key, rows of one key in ascending order, and where each key begins."""
    order = sorted_order(keys[rows])
    members = rows[order]
    ordered = keys[members]
    starts = (
        np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(rows) else np.zeros(0, np.int64)
    )
    return members, np.append(starts, len(rows)).astype(np.int64)


def _small(members: Offsets, starts: Offsets, cap: int) -> Offsets:
    """All pairs of the buckets that hold 2 to `cap` rows."""
    sizes = np.diff(starts)
    chosen = (sizes > 1) & (sizes <= cap)
    inside = members[np.repeat(chosen, sizes)]
    bounds = np.concatenate([[0], np.cumsum(sizes[chosen])]).astype(np.int64)
    out = np.empty((int((sizes[chosen] * (sizes[chosen] - 1) // 2).sum()), 2), dtype=np.int64)
    _all_pairs(inside, bounds, out)
    return out


def _chained(members: Offsets, first: int) -> Offsets:
    """Pairs of a bucket that no band splits: each row with one of them, and with the row before it."""
    others = members[members != first]
    star = np.stack([np.full(len(others), first), others], axis=1)
    return np.sort(np.concatenate([star, np.stack([members[:-1], members[1:]], axis=1)]), axis=1)


def _split(column: Hashes, members: Offsets, cap: int, first: Callable[[Offsets], int]) -> list[Offsets]:
    """Pairs of a crowded bucket that also share a key of a later band, where that makes a bucket small.

    Earlier bands need no look: a pair that shares one was found there, in a small bucket or as this function finds it.
    """
    inner, starts = _buckets(column, members)
    return [_small(inner, starts, cap), *(_chained(large, first(large)) for large in _large(inner, starts, cap))]


def _large(members: Offsets, starts: Offsets, cap: int) -> list[Offsets]:
    """The buckets with more than `cap` rows."""
    places = np.flatnonzero(np.diff(starts) > cap)
    return [members[start:end] for start, end in zip(starts[places], starts[places + 1], strict=True)]


def _least(members: Offsets) -> int:
    return int(members.min())


def candidate_pairs(
    keys: Sequence[Hashes] | Hashes, cap: int = 64, threads: int = 1, first: Callable[[Offsets], int] = _least
) -> Offsets:
    """Pairs of rows (k, 2), the lesser first, sorted and unique, that share a band key and may be near-duplicates.

    keys: for each band, the keys of all rows; asked for in order, each once, so that one is in memory at a time, or two
    more than there are threads.
    first: of some rows the one that is to be kept if all are alike; default: the least.
    A bucket of up to `cap` rows gives all its pairs. A larger one, the mark of a template, is split by each other band:
    the parts of up to cap / 4 rows give all their pairs, in larger parts each row is tied to the first and to its
    neighbour: of a crowd that is alike all over, one row is kept. So the number of pairs grows with the rows (times
    bands^2 * cap / 8 at the very worst), never with the square of a bucket. What is missed: a pair whose equal bands
    are crowded ones all, and stay so two by two, where neither is the first.
    """
    rows = 0
    codes = np.zeros(0, dtype=np.int64)
    new: list[Offsets] = []
    crowded: list[Offsets] = []

    def of(column: Hashes) -> tuple[Hashes, Offsets, list[Offsets]]:
        members, starts = _buckets(column, np.arange(len(column), dtype=np.int64))
        return column, _small(members, starts, cap), _large(members, starts, cap)

    for column, small, large in in_threads(of, (keys[band] for band in range(len(keys))), threads):
        rows = len(column)
        found = [small]
        for earlier in crowded:
            found += _split(column, earlier, max(cap // 4, 2), first)
        found += [_chained(members, first(members)) for members in large]
        crowded += large
        new += [pairs[:, 0] * rows + pairs[:, 1] for pairs in found]
        # Sorted with every band, the same pairs would be sorted again and again.
        if sum(map(len, new)) >= len(codes):
            codes, new = sorted_unique(np.concatenate([codes, *new])), []
    codes = sorted_unique(np.concatenate([codes, *new]))
    return np.stack([codes // max(rows, 1), codes % max(rows, 1)], axis=1)


@part
def _shared(first, i, i_end, second, j, j_end):  # type: ignore[no-untyped-def]
    """How many hashes two sorted, unique parts of arrays share."""
    shared = 0
    while i < i_end and j < j_end:
        a, b = first[i], second[j]
        shared += a == b
        i += a <= b
        j += b <= a
    return shared


@kernel
def _overlaps(hashes, offsets, other_hashes, other_offsets, pairs, out):  # type: ignore[no-untyped-def]
    for k in range(len(pairs)):
        i, j = pairs[k]
        start, end, other, other_end = offsets[i], offsets[i + 1], other_offsets[j], other_offsets[j + 1]
        out[k, 0] = _shared(hashes, start, end, other_hashes, other, other_end)
        out[k, 1] = end - start + other_end - other - out[k, 0]


def overlaps(hashes: Hashes, offsets: Offsets, other_hashes: Hashes, other_offsets: Offsets, pairs: Offsets) -> Offsets:
    """Intersection and union sizes (k, 2) of rows pairs[:, 0] of the first table with rows pairs[:, 1] of the other."""
    out = np.empty((len(pairs), 2), np.int64)
    _overlaps(hashes, offsets, other_hashes, other_offsets, pairs, out)
    return out


def jaccard(hashes: Hashes, offsets: Offsets, pairs: Offsets) -> npt.NDArray[np.float64]:
    """Exact Jaccard similarity of pairs of rows; 1 for two rows without shingles, 0 when only one has none."""
    sizes = overlaps(hashes, offsets, hashes, offsets, pairs)
    return np.where(sizes[:, 1] == 0, 1.0, sizes[:, 0] / np.maximum(sizes[:, 1], 1))
