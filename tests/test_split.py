"""Split and leak check: exact shares, nothing that belongs together parts, no near-copy crosses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from didact.curate.components import components, same_key_pairs
from didact.curate.leaks import ShingleSets, Tally, nearest_training, promising
from didact.curate.order import I64
from didact.curate.split import SplitInput, share_quotas, split_rows
from didact.errors import EmptySplit
from didact.recipe.selection import SplitSettings


def no_leaks(held: I64, train: I64) -> NDArray[np.bool_]:
    """A check that finds nothing."""
    return np.zeros(len(held) + len(train), np.bool_)


def rows_of(groups: list[int], sources: list[int] | None = None) -> SplitInput:
    """Rows with these group keys (0: none)."""
    ids = (np.arange(len(groups), dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return SplitInput(ids, np.array(sources or [0] * len(groups), np.int32), (np.array(groups, np.uint64),))


def sets_of(sets: list[set[int]]) -> ShingleSets:
    """Shingle sets of small numbers, as sorted hashes."""
    hashes = [np.sort(np.array(sorted(s), np.uint64) * np.uint64(0x9E3779B97F4A7C15)) for s in sets]
    offsets = np.concatenate([[0], np.cumsum([len(h) for h in hashes])]).astype(np.int64)
    return ShingleSets(np.concatenate([*hashes, np.zeros(0, np.uint64)]), offsets)


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_reachability(rows: int, edges: list[tuple[int, int]]) -> None:
    """Two rows have the same label exactly when a path of pairs leads from one to the other;
    the label is the least row.
    """
    edges = [(a % rows, b % rows) for a, b in edges]
    reach = [{i} for i in range(rows)]
    for _ in range(rows):
        for a, b in edges:
            reach[a] |= reach[b]
            reach[b] |= reach[a]
    labels = components(rows, np.array([a for a, _ in edges], np.int64), np.array([b for _, b in edges], np.int64))
    assert labels.tolist() == [min(reach[i]) for i in range(rows)]


@given(st.lists(st.integers(0, 6), min_size=20, max_size=80))
def test_groups_never_part(groups: list[int]) -> None:
    """Rows of one group are all in the same split, and no split takes more than its quota."""
    settings = SplitSettings(validation=0.2, test=0.2)
    quotas = share_quotas({0: len(groups)}, settings)
    try:
        split = split_rows(rows_of(groups), settings, quotas, "key", no_leaks)
    except EmptySplit:
        return
    for group in set(groups) - {0}:
        assert len({int(s) for s, g in zip(split, groups, strict=True) if g == group}) == 1
    assert (split == 1).sum() <= quotas[0][0]
    assert (split == 2).sum() <= quotas[0][1]


def test_shares_are_exact_per_source() -> None:
    """Single rows give each source exactly the rounded share; a source without quota gives none."""
    settings = SplitSettings(validation=0.1, test=0.05)
    sources = [0] * 100 + [1] * 40 + [2] * 50
    split = split_rows(rows_of([0] * 190, sources), settings, share_quotas({0: 100, 1: 40}, settings), "key", no_leaks)
    counted = {(s, code): int(((np.array(sources) == s) & (split == code)).sum()) for s in range(3) for code in (1, 2)}
    assert counted == {(0, 1): 10, (0, 2): 5, (1, 1): 4, (1, 2): 2, (2, 1): 0, (2, 2): 0}


def test_leaking_rows_are_replaced() -> None:
    """Held-out rows that are near-copies of training rows go to training and others take their place."""
    settings = SplitSettings(validation=0.1, test=0.0)

    def bad(held: I64, train: I64) -> NDArray[np.bool_]:
        return np.isin(np.arange(100), held[held < 60])

    split = split_rows(rows_of([0] * 100), settings, {0: (10, 0)}, "key", bad)
    assert (split == 1).sum() == 10
    assert not split[:60].any()


@given(
    st.lists(st.integers(0, 12), min_size=20, max_size=60),
    st.sets(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=60),
)
def test_no_near_copy_crosses_whatever_resembles_what(groups: list[int], alike: set[tuple[int, int]]) -> None:
    """However rows move between the rounds, no held-out row ends up with a training row that resembles it."""
    resembles = np.zeros((60, 60), np.bool_)
    for a, b in alike:
        resembles[a, b] = resembles[b, a] = a != b

    def leaks(held: I64, train: I64) -> NDArray[np.bool_]:
        found = np.zeros(len(groups), np.bool_)
        for one in held:
            twins = train[resembles[one, train]]
            found[[one, twins[0]] if len(twins) else []] = True
        return found

    settings = SplitSettings(validation=0.3, test=0.2)
    try:
        split = split_rows(rows_of(groups), settings, share_quotas({0: len(groups)}, settings), "key", leaks)
    except EmptySplit:
        return
    assert not resembles[np.ix_(np.flatnonzero(split != 0), np.flatnonzero(split == 0))].any()


def test_empty_split_is_an_error() -> None:
    """When everything is tied together, nothing can be held out and the user is told."""
    with pytest.raises(EmptySplit, match=r"split\.validation"):
        split_rows(rows_of([7] * 50), SplitSettings(validation=0.1, test=0), {0: (5, 0)}, "key", no_leaks)


def test_same_key_pairs_ignore_zero() -> None:
    """Key 0 means no key and links nothing."""
    left, right = same_key_pairs(np.array([0, 5, 0, 5], np.uint64))
    assert (left.tolist(), right.tolist()) == ([1], [3])


@given(
    st.lists(st.sets(st.integers(1, 12), max_size=7), max_size=12),
    st.lists(st.sets(st.integers(1, 12), max_size=7), max_size=25),
    st.sampled_from([0.2, 0.5, 0.6, 0.8, 1.0]),
    st.sampled_from([1, 2, 5]),
)
def test_leak_check_is_exact(held: list[set[int]], train: list[set[int]], threshold: float, threads: int) -> None:
    """The inverted index finds for every held-out set its nearest training set, the first of several, as brute force
    does; of the records only those in training are looked at.
    """
    records = [part for own in train for part in (own, {1, 2, 3})]
    places = 2 * np.arange(len(train))
    tally = Tally(sets_of(records)).with_rows(places)
    nearest = nearest_training(sets_of(held), sets_of(records), places, threshold, tally, threads)
    for i, own in enumerate(held):
        similar = [len(own & other) / len(own | other) if own and other else 0.0 for other in train]
        best = max(similar, default=0.0)
        assert nearest.similarity[i] == pytest.approx(best if best >= threshold else 0.0)
        assert nearest.rows[i] == (2 * similar.index(best) if best >= threshold and best else -1)


@given(
    st.lists(st.sets(st.integers(1, 12), max_size=7), min_size=1, max_size=12),
    st.lists(st.sets(st.integers(1, 12), max_size=7), max_size=3),
    st.sampled_from([0.2, 0.5, 0.6, 0.8, 1.0]),
)
def test_who_has_a_copy_among_few_is_promising(records: list[set[int]], few: list[set[int]], threshold: float) -> None:
    """No record is left out that is as similar to one of few others, and none is taken twice."""
    rows = np.arange(len(records))[::2]
    found = promising(sets_of(records), rows, sets_of(few), threshold).tolist()
    alike = {
        row
        for row in rows.tolist()
        if any(len(records[row] & one) >= threshold * len(records[row] | one) and records[row] & one for one in few)
    }
    assert alike <= set(found) <= set(rows.tolist()) and len(set(found)) == len(found)


def test_who_shares_nothing_with_few_is_not_promising() -> None:
    """Of many records only those that hold enough of one of the others are looked at any further."""
    records = [set(range(10 * i, 10 * i + 10)) for i in range(100)]
    found = promising(sets_of(records), np.arange(100), sets_of([set(range(400, 408))]), 0.6)
    assert 40 in found.tolist() and len(found) < 10


@given(st.lists(st.sets(st.integers(1, 40), max_size=9), min_size=1, max_size=12), st.data())
def test_a_tally_counts_no_hash_too_low(sets: list[set[int]], data: st.DataObject) -> None:
    """Each hash is in as many of the rows counted at most as the tally says; a row given again counts no more."""
    rows = data.draw(st.lists(st.integers(0, len(sets) - 1), unique=True))
    once, again = (Tally(sets_of(sets)).with_rows(np.array(rows, np.int64)) for _ in range(2))
    hashes = np.arange(1, 41, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    counted = once.of(hashes)
    assert (counted >= [sum(value in sets[row] for row in rows) for value in range(1, 41)]).all()
    assert (again.with_rows(np.array(rows, np.int64)).of(hashes) == counted).all()
