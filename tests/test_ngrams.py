"""The n-gram baseline is a model: its probabilities add up to one and are those of the published formula."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.evaluate.ngrams import Ngrams, Targets

VOCAB = 4
DOCUMENTS = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=2, max_size=12), min_size=1, max_size=6)


def targets_of(documents: list[list[int]]) -> Targets:
    """All tokens of some documents but the first of each."""
    ids = np.array([one for document in documents for one in document])
    positions = np.array([place for document in documents for place in range(len(document))])
    places = np.flatnonzero(positions[1:] > 0)
    return Targets(ids, positions, ids[places + 1], places)


def by_hand(documents: list[list[int]], context: tuple[int, ...], token: int) -> float:
    """Witten and Bell's formula over dictionaries; -1 is a document's border."""
    followers: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for document in documents:
        framed = [-1] * len(context) + document
        for place in range(1, len(document)):
            end = place + len(context)
            followers[tuple(framed[end - len(context) : end])][document[place]] += 1
    shorter = by_hand(documents, context[1:], token) if context else 1 / VOCAB
    found = followers[context]
    return (found[token] + len(found) * shorter) / (found.total() + len(found)) if found else shorter


@given(DOCUMENTS, DOCUMENTS, st.integers(1, 4))
def test_probabilities_are_those_of_the_formula(seen: list[list[int]], asked: list[list[int]], order: int) -> None:
    """Every token of other documents has the probability that the formula gives it from dictionaries."""
    wanted = targets_of(asked)
    found = Ngrams(targets_of(seen), VOCAB, order).probabilities(wanted)
    expected = [
        by_hand(seen, tuple(([-1] * order + document)[place + 1 : place + order]), document[place])
        for document in asked
        for place in range(1, len(document))
    ]
    assert found.tolist() == pytest.approx(expected)


@given(DOCUMENTS, st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=5), st.integers(1, 4))
def test_what_may_follow_adds_up_to_one(seen: list[list[int]], before: list[int], order: int) -> None:
    """After any context, known or not, the probabilities of all tokens add up to one."""
    last = len(before) - 1
    everything = np.arange(VOCAB)
    wanted = Targets(np.array(before), np.arange(len(before)), everything, np.full(VOCAB, last))
    assert Ngrams(targets_of(seen), VOCAB, order).probabilities(wanted).sum() == pytest.approx(1.0)
