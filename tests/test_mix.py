"""Mix: exact amounts, exact order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.curate.mix import Supply, draw, interleave, largest_remainder, plan_amounts
from didact.errors import ImpossibleMix
from didact.recipe.mixes import Mix


def supply(sizes: list[int], first: int = 0) -> Supply:
    """A source whose rows have these sizes."""
    return Supply(np.arange(first, first + len(sizes), dtype=np.uint64), np.array(sizes, np.int64))


def mix(**settings: Any) -> Mix:
    """A mix of settings."""
    return Mix.model_validate(settings)


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_largest_remainder_is_exact(total: int, weights: list[float]) -> None:
    """Parts add up to the total, and no part is a whole unit away from its exact share."""
    named = {str(i): weight for i, weight in enumerate(weights)}
    parts = largest_remainder(total, named)
    assert sum(parts.values()) == total
    assert all(abs(parts[name] - total * weight / sum(weights)) < 1 + 1e-6 for name, weight in named.items())


@given(st.lists(st.lists(st.integers(1, 50), min_size=3, max_size=40), min_size=2, max_size=4), st.data())
def test_token_shares_within_one_record(sources: list[list[int]], data: st.DataObject) -> None:
    """A mix by tokens achieves each source's planned amount within one record of that source."""
    supplies = {str(i): supply(sizes) for i, sizes in enumerate(sources)}
    shares = {name: {"share": data.draw(st.floats(0.1, 1))} for name in supplies}
    amounts = plan_amounts("m", mix(unit="tokens", sources=shares), supplies)
    for name, amount in amounts.items():
        got = draw(name, supplies[name], amount, "key")
        assert abs(int(supplies[name].sizes[got.rows].sum()) - amount) <= max(sources[int(name)])
        assert amount <= supplies[name].total


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 200))
def test_no_row_is_seen_twice_before_all_are_seen_once(sizes: list[int], amount: int) -> None:
    """Rows repeat only in a later epoch; within an epoch each row is drawn at most once, and earlier epochs are
    whole.
    """
    drawn = draw("s", supply(sizes), amount, "key")
    last = int(drawn.epochs.max(initial=0))
    for epoch in range(last + 1):
        rows = drawn.rows[drawn.epochs == epoch]
        assert len(set(rows.tolist())) == len(rows)
        assert epoch == last or len(rows) == len(sizes)


@given(st.permutations(range(12)))
def test_draw_does_not_depend_on_row_order(order: list[int]) -> None:
    """The rows drawn, and their order, follow from their ids, not from where they stand."""
    ids = np.arange(100, 112, dtype=np.uint64)
    expected = ids[draw("s", Supply(ids, np.ones(12, np.int64)), 7, "key").rows]
    shuffled = ids[np.array(order)]
    assert shuffled[draw("s", Supply(shuffled, np.ones(12, np.int64)), 7, "key").rows].tolist() == expected.tolist()


@given(st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=60), min_size=1, max_size=4))
def test_every_prefix_holds_the_ratio(sizes: list[list[int]]) -> None:
    """In every prefix of the interleaved order each source has given its share, within one row of each source."""
    arrays = [np.array(own, np.int64) for own in sizes]
    source, row = interleave(arrays)
    assert len(source) == sum(map(len, sizes))
    given_units = np.zeros(len(sizes))
    for s, r in zip(source.tolist(), row.tolist(), strict=True):
        given_units[s] += arrays[s][r]
        progress = given_units / [own.sum() for own in arrays]
        slack = max(own.max() / own.sum() for own in arrays)
        assert progress.max() - progress.min() <= 1.5 * slack + 1e-9


def test_scarcest_source_sets_the_size() -> None:
    """Without a budget the scarcest source gives one epoch and the others their exact ratio to it."""
    amounts = plan_amounts(
        "m", mix(sources={"a": {"share": 3}, "b": {"share": 1}}), {"a": supply([1] * 90), "b": supply([1] * 60)}
    )
    assert amounts == {"a": 90, "b": 30}


def test_exhaustion_policies() -> None:
    """A short source is an error that names the nearest possible mix, is repeated, or leaves its share to the others,
    as told.
    """
    supplies = {"a": supply([1] * 10), "b": supply([1] * 100)}
    settings = {"unit": "records", "budget": 100, "sources": {"a": {"share": 1}, "b": {"share": 1}}}
    with pytest.raises(ImpossibleMix, match=r"'a' should give 50 records and can give 10; the nearest possible is 20"):
        plan_amounts("m", mix(**settings), supplies)
    assert plan_amounts("m", mix(**settings, on_exhaust="renormalise"), supplies) == {"a": 10, "b": 90}
    assert plan_amounts("m", mix(**settings, on_exhaust={"repeat": 5}), supplies) == {"a": 50, "b": 50}
    with pytest.raises(ImpossibleMix):
        plan_amounts("m", mix(**settings, on_exhaust={"repeat": 4}), supplies)


def test_fixed_amounts_come_before_shares() -> None:
    """Counts and epochs are given in full and the shares divide what the budget leaves."""
    supplies = {"a": supply([1] * 10), "b": supply([1] * 100), "c": supply([1] * 100)}
    amounts = plan_amounts(
        "m", mix(budget=60, sources={"a": {"epochs": 1}, "b": {"share": 1}, "c": {"share": 4}}), supplies
    )
    assert amounts == {"a": 10, "b": 10, "c": 40}
    with pytest.raises(ImpossibleMix, match="11 records asked for, at most 10"):
        plan_amounts("m", mix(sources={"a": {"count": 11}}), {"a": supplies["a"]})


def test_empty_source_is_refused() -> None:
    """A source without anything to train on is refused by name."""
    with pytest.raises(ImpossibleMix, match="source 'a' has no tokens"):
        plan_amounts("m", mix(unit="tokens", sources={"a": {"share": 1}}), {"a": supply([0, 0])})
