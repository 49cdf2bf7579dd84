"""Metrics and intervals against their definitions."""

from __future__ import annotations

import doctest
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tokenizer import SENTENCES, small_tokenizer

from didact import intervals
from didact.errors import CallError, UnknownName
from didact.evaluate import baselines, bits, metrics
from didact.evaluate.bits import bits_per_byte, target_bytes
from didact.evaluate.metrics import best_score, final_answer, metric, metric_names, register, squad_tokens, tidy
from didact.intervals import bootstrap, estimate, wilson

TEXTS = st.lists(st.sampled_from(["the", "Cat", "cat.", "-5", "5", "中 文", "a", "", "\n"]), max_size=5).map(" ".join)


@pytest.mark.parametrize("module", [metrics, intervals, bits, baselines])
def test_examples_in_docstrings(module: object) -> None:
    """Every example in a docstring gives what it says."""
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.failed == 0 and results.attempted > 0


@pytest.mark.parametrize(
    ("name", "answer", "reference", "score"),
    [
        ("exact_match", " 1  2\n", "1 2", 1.0),
        ("exact_match", "中 文。", "中文。", 1.0),
        ("exact_match", "-5", "5", 0.0),
        ("exact_match", "ABC", "abc", 0.0),
        ("quasi_exact_match", "The answer: Yes!", "answer yes", 1.0),
        ("quasi_exact_match", "no", "yes", 0.0),
        ("contains", "It is the Eiffel Tower, of course", "eiffel tower", 1.0),
        ("contains", "category", "cat", 0.0),
        ("contains", "我住在北京市", "北京", 1.0),
        ("contains", "anything", "", 0.0),
        ("f1", "the cat sat", "a cat sat down", 0.8),
        ("f1", "猫坐下", "猫坐", 0.8),
        ("f1", "", "the", 1.0),
        ("final_answer", "2 boxes\n#### 1,200", "#### 1200.00", 1.0),
        ("final_answer", "It costs -3.50 euros", "-3.5", 1.0),
        ("final_answer", "It costs 3", "-3", 0.0),
        ("final_answer", "no number", " no  number", 1.0),
    ],
)
def test_scores(name: str, answer: str, reference: str, score: float) -> None:
    """Each metric gives the score its definition gives by hand."""
    assert metric(name)(answer, reference) == pytest.approx(score)


@given(TEXTS, TEXTS)
def test_metrics_are_scores(answer: str, reference: str) -> None:
    """Every metric stays in 0..1 and gives two texts of the same words 1; the two symmetric ones are symmetric."""
    for name in metric_names():
        assert 0.0 <= metric(name)(answer, reference) <= 1.0
    for name in ("exact_match", "quasi_exact_match", "f1", "final_answer"):
        assert metric(name)(reference, reference) == 1.0
        assert metric(name)(answer, reference) == metric(name)(reference, answer)


@given(TEXTS, TEXTS)
def test_f1_by_counting(answer: str, reference: str) -> None:
    """F1 equals the count of shared words, each taken once per occurrence on both sides."""
    left, right = squad_tokens(answer), squad_tokens(reference)
    rest, shared = list(right), 0
    for word in left:
        if word in rest:
            rest.remove(word)
            shared += 1
    expected = 2 * shared / (len(left) + len(right)) if left and right else float(left == right)
    assert metric("f1")(answer, reference) == pytest.approx(expected)


@given(st.text())
def test_tidy_is_stable(text: str) -> None:
    """Tidying what is tidy changes nothing."""
    assert tidy(tidy(text)) == tidy(text)


def test_the_best_reference_counts() -> None:
    """Of several accepted answers the nearest one scores; without any the score is 0."""
    assert best_score("exact_match", "b", ["a", "b"]) == 1.0
    assert best_score("exact_match", "b", []) == 0.0


@pytest.fixture
def own_metric() -> Iterator[str]:
    """A user's metric, forgotten afterwards."""
    register("length_match")(lambda answer, reference: float(len(answer) == len(reference)))
    yield "length_match"
    del metrics._METRICS["length_match"]


def test_a_metric_is_a_function_under_a_name(own_metric: str) -> None:
    """A user's function joins the metrics; a taken or unknown name is refused."""
    assert best_score(own_metric, "abc", ["xyz"]) == 1.0
    with pytest.raises(CallError, match="already registered"):
        register(own_metric)(lambda answer, reference: 0.0)
    with pytest.raises(UnknownName, match="did you mean exact_match"):
        metric("exactmatch")


@pytest.mark.parametrize(("n", "share"), [(20, 0.5), (50, 0.9), (100, 0.05)])
def test_wilson_covers(n: int, share: float) -> None:
    """Over all outcomes of n trials the interval holds the true share in about 95 of 100."""
    chances = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    covered = sum(chance for k, chance in enumerate(chances) if wilson(k, n)[0] <= share <= wilson(k, n)[1])
    assert 0.92 < covered < 0.99


def test_bootstrap_is_near_the_normal_interval() -> None:
    """For many scores the percentile interval is that of the central limit theorem, and the seed decides it."""
    scores = np.linspace(0, 1, 400)
    low, high = bootstrap(scores, seed=3)
    half = 1.96 * scores.std() / 20
    assert low == pytest.approx(0.5 - half, abs=0.006) and high == pytest.approx(0.5 + half, abs=0.006)
    assert bootstrap(scores, seed=3) == (low, high) != bootstrap(scores, seed=4)


def test_estimates_choose_their_interval() -> None:
    """Shares get Wilson's interval, other scores the bootstrap, no scores zeros."""
    assert estimate([1, 0, 1, 1])[1:3] == wilson(3, 4)
    assert estimate([0.5, 0.25], seed=1)[1:3] == bootstrap([0.5, 0.25], seed=1)
    assert estimate([]) == (0.0, 0.0, 0.0, 0)


def test_bits_of_a_uniform_guess() -> None:
    """Guessing every byte evenly costs 8 bits a byte, whatever the tokens; reserved targets add no bytes."""
    tokenizer = small_tokenizer()
    ids = np.array([*tokenizer.encode(SENTENCES[2]), tokenizer.end_id])
    size = target_bytes(ids, np.ones(ids.size), tokenizer.token_bytes())
    assert size == len(SENTENCES[2].encode())
    assert bits_per_byte(size * math.log(256), size) == pytest.approx(8.0)
    assert target_bytes(ids, np.zeros(ids.size), tokenizer.token_bytes()) == 0
    assert math.isnan(bits_per_byte(1.0, 0))


@given(st.integers(-(10**9), 10**9))
def test_final_answers_of_integers(number: int) -> None:
    """An integer is found in any of its spellings, and the last number wins."""
    assert final_answer(f"First 17, then {number:,}.") == str(number)
