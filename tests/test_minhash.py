"""MinHash: signatures are datasketch's, bands propose what they promise, similarity is exact."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given
from hypothesis import strategies as st
from segments_of import view_of

from didact.curate.minhash import (
    Bands,
    Offsets,
    band_keys,
    candidate_pairs,
    choose_bands,
    jaccard,
    overlaps,
    signatures,
)
from didact.text.tokens import shingles

HASHES = st.sets(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=12)
Table = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]


def table_of(sets: Sequence[set[int]]) -> Table:
    """Shingle sets as the kernels take them."""
    flat = [value for one in sets for value in sorted(one)]
    return np.array(flat, dtype=np.uint64), np.concatenate([[0], np.cumsum([len(one) for one in sets])]).astype(
        np.int64
    )


def signed_by_datasketch(one: set[int], count: int) -> list[int]:
    """The signature datasketch gives the low 32 bits of the hashes."""
    sketch = MinHash(count, seed=1, scheme="affine32", hashfunc=lambda value: value)
    sketch.update_batch([value & 0xFFFFFFFF for value in sorted(one)])
    return [int(value) for value in sketch.hashvalues]


@given(st.lists(HASHES, max_size=6), st.sampled_from([1, 16, 128, 131]))
def test_signatures_are_bit_identical_to_datasketch(sets: list[set[int]], count: int) -> None:
    """Every value of every signature is datasketch's, empty sets and odd numbers of permutations included."""
    assert signatures(*table_of(sets), count).tolist() == [signed_by_datasketch(one, count) for one in sets]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("count", [64, 128])
def test_bands_are_datasketchs_when_both_errors_weigh_the_same(threshold: float, count: int) -> None:
    """With equal weights the choice is the one `MinHashLSH` makes by numerical integration."""
    index = MinHashLSH(threshold, count)
    assert choose_bands(threshold, count, miss_weight=0.5) == Bands(index.b, index.r)


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_bands_seldom_miss_a_pair_at_the_threshold(threshold: float) -> None:
    """By default 19 of 20 pairs at the threshold become candidates, and nearly all a little above it."""
    bands = choose_bands(threshold)
    assert bands.count * bands.rows <= 128
    assert bands.probability(threshold) > 0.95
    assert bands.probability(threshold + 0.05) > 0.995


def test_bands_that_do_not_fit_are_refused() -> None:
    """More rows than the signature has is an error, not a short key."""
    with pytest.raises(ValueError, match="need more than the 16 values"):
        band_keys(np.zeros((1, 16), dtype=np.uint32), Bands(3, 6))


def test_band_keys_are_equal_exactly_for_equal_bands() -> None:
    """A key depends on the band's values, their order and the band's place, and on nothing else."""
    signed = np.array([[1, 2, 3, 4], [1, 2, 4, 3], [3, 4, 1, 2]], dtype=np.uint32)
    keys = band_keys(signed, Bands(2, 2))
    assert keys[0, 0] == keys[1, 0]
    assert len(np.unique(keys)) == 5


def pairs_by_hand(keys: npt.NDArray[np.uint64]) -> set[tuple[int, int]]:
    """Every pair of rows that shares a key in some band."""
    return {(i, j) for i, j in combinations(range(len(keys)), 2) if (keys[i] == keys[j]).any()}


def keys_of(rows: list[list[int]]) -> npt.NDArray[np.uint64]:
    """Band keys as an array, also when there is no row."""
    return np.array(rows, dtype=np.uint64).reshape(len(rows), len(rows[0]) if rows else 3)


KEYS = st.integers(1, 4).flatmap(
    lambda bands: st.lists(st.lists(st.integers(0, 3), min_size=bands, max_size=bands), max_size=14)
)


@given(KEYS)
def test_small_buckets_give_every_pair_that_shares_a_band(rows: list[list[int]]) -> None:
    """Below the cap the pairs are all of those a comparison of everything with everything finds, sorted, once each."""
    keys = keys_of(rows)
    pairs = [tuple(pair) for pair in candidate_pairs(keys.T, cap=20, threads=3).tolist()]
    assert pairs == sorted(pairs_by_hand(keys))


@given(KEYS, st.randoms())
def test_crowded_buckets_propose_less_but_never_wrongly(rows: list[list[int]], chance: Random) -> None:
    """With a tiny cap every pair still shares a band, and rows that share a band are all tied to the one to keep."""
    keys = keys_of(rows)
    rank = chance.sample(range(len(rows)), len(rows))

    def first(members: Offsets) -> int:
        return int(min(members.tolist(), key=rank.__getitem__))

    pairs = {(i, j) for i, j in candidate_pairs(keys.T, cap=2, first=first).tolist()}
    assert pairs <= pairs_by_hand(keys)
    for band in keys.T:
        for key in np.unique(band):
            members = np.flatnonzero(band == key)
            kept = first(members)
            assert all((min(kept, other), max(kept, other)) in pairs for other in {*members.tolist()} - {kept})


def test_a_template_that_everyone_shares_costs_no_square() -> None:
    """30,000 rows with one band in common give few pairs, and the near-duplicates among them are still found."""
    generator = np.random.default_rng(0)
    keys = generator.integers(0, 2**63, (30_000, 12), dtype=np.uint64)
    keys[:, 3] = 7
    keys[20_000, 5:] = keys[11, 5:]
    pairs = candidate_pairs(keys.T)
    assert len(pairs) < 30_000 * 3
    assert [11, 20_000] in pairs.tolist()


def test_rows_that_two_crowded_bands_tell_apart_are_found() -> None:
    """A pair whose every equal band is crowded is proposed when two of these together single it out."""
    place = np.random.default_rng(0).permutation(30_000).astype(np.uint64)
    keys = np.stack([place % 150, np.full_like(place, 7), place // 200, place + 1], axis=1)
    row_at = np.argsort(place).tolist()
    pairs = {(i, j) for i, j in candidate_pairs(keys.T).tolist()}
    alike = [(row_at[200 * block + i], row_at[200 * block + i + 150]) for block in range(150) for i in range(50)]
    assert all((min(pair), max(pair)) in pairs for pair in alike)


@given(st.lists(HASHES, min_size=2, max_size=6), st.data())
def test_similarity_is_exact(sets: list[set[int]], data: st.DataObject) -> None:
    """Intersections, unions and Jaccard similarity are those of Python's sets; two empty sets are equal."""
    row = st.integers(0, len(sets) - 1)
    chosen = data.draw(st.lists(st.tuples(row, row), min_size=1, max_size=5))
    table, pairs = table_of(sets), np.array(chosen, dtype=np.int64)
    sizes = [[len(sets[i] & sets[j]), len(sets[i] | sets[j])] for i, j in chosen]
    assert overlaps(*table, *table, pairs).tolist() == sizes
    assert jaccard(*table, pairs).tolist() == [shared / union if union else 1.0 for shared, union in sizes]


def test_planted_near_copies_are_found_among_unrelated_texts() -> None:
    """From text to verified pair: of 200 copies with one changed word, at least 98 % are found, and nothing else."""
    generator = np.random.default_rng(1)
    originals = [[f"w{word}" for word in generator.integers(0, 5000, 80)] for _ in range(200)]
    copies = [[*words[:40], "changed", *words[41:]] for words in originals]
    hashes, offsets = shingles(view_of(*(" ".join(words) for words in (*originals, *copies))), 5)
    pairs = candidate_pairs(band_keys(signatures(hashes, offsets), choose_bands(0.8)).T)
    near = {
        (i, j) for (i, j), score in zip(pairs.tolist(), jaccard(hashes, offsets, pairs), strict=True) if score >= 0.8
    }
    assert near <= {(i, i + 200) for i in range(200)}
    assert len(near) >= 196
