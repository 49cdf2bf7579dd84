"""Orders: rows sorted by key as NumPy's stable argsort sorts them, whatever the keys share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from didact.curate.order import among, sorted_order, sorted_unique

KEYS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.builds(lambda high, low: (high << 60) | low, st.integers(0, 15), st.integers(0, 9)),
    st.integers(0, 3),
)


@given(st.lists(KEYS, max_size=80))
def test_the_order_is_that_of_a_stable_argsort(keys: list[int]) -> None:
    """Keys that differ in their lowest bits only, equal ones and none are put in the order of a stable argsort."""
    found = sorted_order(np.array(keys, np.uint64))
    assert found.tolist() == np.argsort(np.array(keys, np.uint64), kind="stable").tolist()


@given(st.lists(st.integers(-5, 20), max_size=60))
def test_unique_values_are_those_of_a_set(values: list[int]) -> None:
    """Each value stands once, in order."""
    assert sorted_unique(np.array(values, np.int64)).tolist() == sorted(set(values))


@given(st.lists(KEYS, max_size=40), st.lists(KEYS, max_size=40))
def test_values_are_found_among_others(values: list[int], others: list[int]) -> None:
    """A value is among others when Python says so."""
    found = among(np.array(values, np.uint64), np.array(others, np.uint64))
    assert found.tolist() == [value in others for value in values]
