"""Metrics: plain functions from an answer and one reference to a score between 0 and 1, under a name."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from didact.errors import CallError, UnknownName
from didact.plugins import Plugin, may_replace, running

Metric: TypeAlias = Callable[[str, str], float]
"""(answer, reference) to a score from 0 to 1, higher is better."""

_METRICS: dict[str, Metric] = {}
_PLUGINS: dict[str, Plugin] = {}
"""The files that metrics stand in, when a recipe named them."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
# scripts written without spaces: kana, CJK ideographs with extensions, Thai, Lao, Burmese, Khmer
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SPACE_BETWEEN = re.compile(f"(?<=[{_UNSPACED}])\\s+(?=[{_UNSPACED}])")
_TOKEN = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")


def register(name: str) -> Callable[[Metric], Metric]:
    """Make a function a metric of recipes. Raises CallError when the name is taken."""

    def enter(function: Metric) -> Metric:
        if name in _METRICS and not may_replace(_PLUGINS.get(name)):
            raise CallError(f"metric '{name}' is already registered by {_METRICS[name].__module__}")
        _METRICS[name] = function
        if (plugin := running()) is not None:
            _PLUGINS[name] = plugin
        return function

    return enter


def metric(name: str) -> Metric:
    """The metric of that name. Raises UnknownName."""
    if name not in _METRICS:
        raise UnknownName("metric", name, _METRICS)
    return _METRICS[name]


def plugin_of(name: str) -> Plugin | None:
    """The plug-in that brought the metric of that name; None when no file did."""
    return _PLUGINS.get(name)


def metric_names() -> list[str]:
    """Names of all metrics."""
    return sorted(_METRICS)


def best_score(name: str, answer: str, references: Sequence[str]) -> float:
    """Score against the most similar of the accepted references; 0 where there is none."""
    scored = metric(name)
    return max((scored(answer, reference) for reference in references), default=0.0)


def tidy(text: str) -> str:
    """A text up to what nobody means: NFKC, one space for any white space, none at the ends or between CJK characters.

    >>> tidy(" １２\\n 中 文 ")
    '12 中文'
    """
    return _SPACE_BETWEEN.sub("", " ".join(unicodedata.normalize("NFKC", text).split()))


def squad_form(text: str) -> str:
    """A text as the SQuAD evaluation compares it: tidy, and without case, punctuation and English articles.

    >>> squad_form("The  Eiffel-Tower.")
    'eiffeltower'
    """
    letters = "".join(c for c in tidy(text).casefold() if not unicodedata.category(c).startswith("P"))
    return tidy(_ARTICLES.sub(" ", letters))


def squad_tokens(text: str) -> list[str]:
    """Words of the SQuAD form; in scripts written without spaces every character is one."""
    return _TOKEN.findall(squad_form(text))


def final_answer(text: str) -> str:
    """The short answer of a worked one: what follows the last `####`, else the last number, else the whole text.

    Thousands separators and a fraction of zeros are dropped, so 1,200.00 is 1200. The rule of GSM8K, with its fallback
    for models that do not write the mark.

    >>> final_answer("3 boxes of 400 make 1,200.\\n#### 1,200"), final_answer("so it is -4.50 dollars")
    ('1200', '-4.5')
    """
    tail = text.rsplit("####", 1)[1] if "####" in text else text
    numbers = _NUMBER.findall(tail)
    if not numbers:
        return tidy(tail)
    whole, _, fraction = numbers[-1].replace(",", "").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


@register("exact_match")
def exact_match(answer: str, reference: str) -> float:
    """1 when both texts are the same but for white space and compatibility forms (NFKC).

    Case, articles and signs count: in string edits and arithmetic they are the answer. `quasi_exact_match` does not.
    """
    return float(tidy(answer) == tidy(reference))


@register("quasi_exact_match")
def quasi_exact_match(answer: str, reference: str) -> float:
    """1 when both texts have the same SQuAD form: case, punctuation and English articles do not count."""
    return float(squad_form(answer) == squad_form(reference))


@register("contains")
def contains(answer: str, reference: str) -> float:
    """1 when the reference's words stand in the answer one after another, in SQuAD form; an empty one never does."""
    words, wanted = squad_tokens(answer), squad_tokens(reference)
    starts = range(len(words) - len(wanted) + 1) if wanted else range(0)
    return float(any(words[start : start + len(wanted)] == wanted for start in starts))


@register("f1")
def f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall of words in SQuAD form, repetitions counted; two empty texts agree."""
    words, wanted = Counter(squad_tokens(answer)), Counter(squad_tokens(reference))
    if not words or not wanted:
        return float(words == wanted)
    common = (words & wanted).total()
    return 2 * common / (words.total() + wanted.total())


@register("final_answer")
def same_final_answer(answer: str, reference: str) -> float:
    """1 when both texts come to the same final answer; see `final_answer`."""
    return float(final_answer(answer) == final_answer(reference))
