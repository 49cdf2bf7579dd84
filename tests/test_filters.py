"""Filters: the first bound that is broken names the reason, and a set's bounds are on signals that exist."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segments_of import answered

from didact.curate.filters import FILTER_SETS, KEPT, Bound, bounds_of, decide, signals_of
from didact.curate.signals import SIGNALS, measure
from didact.errors import UnknownName
from didact.recipe.selection import FilterRule

ESSAY = "The people of that city have always wanted to live with their neighbours and to be left in peace. " * 4


def reason(name: str, prompt: str, response: str) -> str:
    """Why a filter set drops a record; empty when it stays."""
    bounds = FILTER_SETS[name]
    place = int(decide(measure(answered([(prompt, response)]), signals_of(bounds)), bounds, 1)[0])
    return "" if place == KEPT else bounds[place].reason


BOUNDS = st.lists(
    st.builds(Bound, st.sampled_from(["a", "b"]), st.sampled_from(["<", ">"]), st.integers(-3, 3)), max_size=5
)


@given(BOUNDS, st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=8))
def test_the_first_broken_bound_is_the_reason(bounds: list[Bound], rows: list[tuple[int, int]]) -> None:
    """For every row the decision is the first bound in order that its values break, else kept."""
    values = {"a": np.array([a for a, _ in rows], dtype=np.int64), "b": np.array([b for _, b in rows], dtype=np.int64)}
    broken = [
        [
            i
            for i, bound in enumerate(bounds)
            if (row[bound.signal == "b"] < bound.limit if bound.side == "<" else row[bound.signal == "b"] > bound.limit)
        ]
        for row in rows
    ]
    assert decide(values, bounds, len(rows)).tolist() == [found[0] if found else KEPT for found in broken]


def test_limits_themselves_are_kept() -> None:
    """A value on the bound stays, also where float32 rounds the limit."""
    values = {"share": np.array([0.3, 0.31], dtype=np.float32)}
    assert decide(values, [Bound("share", ">", 0.3)], 2).tolist() == [KEPT, 0]


def test_sets_bound_signals_that_exist_and_say_why() -> None:
    """Every bound of every set names a registered signal and where the bound comes from."""
    assert all(bound.signal in SIGNALS and bound.origin for bounds in FILTER_SETS.values() for bound in bounds)


@pytest.mark.parametrize(
    ("name", "response", "expected"),
    [
        ("instruction", "Paris", ""),
        ("instruction", "", "response.chars<1"),
        ("instruction", "noinput", "response.placeholder>0"),
        ("instruction", "As an AI language model, I cannot.", "response.refusal>0"),
        ("instruction", "Run:\n```\nx", "response.unclosed_fence>0"),
        ("instruction", "a" * 200, "response.longest_run>100"),
        ("instruction", "yes\n" * 9, "response.duplicate_line_share>0.85"),
        ("code", "# " + "=" * 150 + "\nx = 1", ""),
        ("math", "1 + 1 = 2\n" * 3, ""),
        ("document", "Too short.", "whole.words<50"),
        ("document", ESSAY, ""),
        ("document", "Wort " * 60, "whole.stop_words<2"),
    ],
)
def test_what_the_sets_drop(name: str, response: str, expected: str) -> None:
    """Each set keeps what is good for its kind and names what it drops."""
    assert reason(name, "What is it?", response) == expected


def test_rules_become_bounds_in_order_for_their_sources() -> None:
    """Sets and signals of the rules that apply to a source, in order, each bound once."""
    rules = [
        FilterRule(signal="response.words", min=1, max=9, sources=["a"]),
        FilterRule(set="code"),
        FilterRule(set="code"),
    ]
    assert [bound.reason for bound in bounds_of(rules, "a")][:2] == ["response.words<1", "response.words>9"]
    assert bounds_of(rules, "b") == list(FILTER_SETS["code"])
    assert len(bounds_of(rules)) == 2 + len(FILTER_SETS["code"])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (FilterRule(set="instructions"), r"filters\[0\]\.set: unknown filter set.*'?instruction"),
        (FilterRule(signal="response.word", min=1), r"filters\[0\]\.signal: unknown signal"),
    ],
)
def test_unknown_names_are_refused_with_their_place(rule: FilterRule, message: str) -> None:
    """A misspelt set or signal is refused with its place in the recipe."""
    with pytest.raises(UnknownName, match=message):
        bounds_of([rule])
