"""Exact duplicates, and the threads that comparing runs on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.curate.dedup import exact_duplicates
from didact.curate.threads import in_threads

KEYS = st.lists(st.tuples(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 2)), max_size=30)


@given(KEYS)
def test_exact_duplicates_are_found_by_both_halves_of_a_key(keys: list[tuple[int, int]]) -> None:
    """A row is a duplicate of the first row with its key, also where others have half of the key."""
    first: dict[tuple[int, int], int] = {}
    expected = [(row, first[key]) for row, key in enumerate(keys) if first.setdefault(key, row) != row]
    twins, kept = exact_duplicates(np.array(keys, np.uint64).reshape(-1, 2))
    assert list(zip(twins.tolist(), kept.tolist(), strict=True)) == expected


@given(st.lists(st.integers(), max_size=20), st.sampled_from([1, 2, 5]))
def test_results_come_in_order(items: list[int], threads: int) -> None:
    """Any number of threads gives what one gives."""
    assert list(in_threads(lambda item: item * 2, items, threads)) == [item * 2 for item in items]


@pytest.mark.parametrize("threads", [1, 2])
def test_few_items_are_held(threads: int) -> None:
    """Items are taken as results are, and an error of one is raised in its place."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in (4, 2, 1, 0, 3, 5, 6, 7, 8):
            taken.append(item)
            yield item

    results = in_threads(lambda item: 8 // item, items(), threads)
    assert [next(results), next(results), next(results)] == [2, 4, 8]
    assert len(taken) <= 3 + threads + 1
    with pytest.raises(ZeroDivisionError):
        next(results)
