"""Filters: bounds on signals. They decide which records stay; what a signal is, `didact.curate.signals` says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from didact.curate.signals import Values, lookup
from didact.errors import UnknownName
from didact.recipe.selection import FilterRule

KEPT = -1
"""The reason of a record that no bound drops."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Drops a record whose signal is below (`<`) or above (`>`) a limit; the limit itself stays."""

    signal: str
    side: Literal["<", ">"]
    limit: float
    origin: str = ""
    """The published rule the bound comes from, or why it is there."""

    @property
    def reason(self) -> str:
        """What is written beside a dropped record.

        >>> Bound("response.words", "<", 1).reason
        'response.words<1'
        """
        return f"{self.signal}{self.side}{self.limit:g}"

    def drops(self, values: Values) -> npt.NDArray[np.bool_]:
        """Which of the values are out of bounds."""
        return values < self.limit if self.side == "<" else values > self.limit


_ANSWER = (
    Bound("prompt.words", "<", 1, "an instruction asks something"),
    Bound("response.chars", "<", 1, "an instruction without an answer trains nothing"),
    Bound(
        "response.placeholder", ">", 0, "`noinput`, `n/a` and the like are what generators write instead of an answer"
    ),
    Bound("response.refusal", ">", 0, "refusals teach refusing; Vicuna and WizardLM drop them alike"),
)

FILTER_SETS: dict[str, tuple[Bound, ...]] = {
    "instruction": (
        *_ANSWER,
        Bound("response.unclosed_fence", ">", 0, "an open code block marks an answer cut at a token limit"),
        Bound("response.longest_run", ">", 100, "degenerate repetition of one character"),
        Bound("response.duplicate_line_share", ">", 0.85, "a loop of lines; an empty table or a survey reaches 0.8"),
    ),
    "math": (
        *_ANSWER,
        Bound("response.unclosed_fence", ">", 0, "an open code block marks an answer cut at a token limit"),
        Bound("response.longest_run", ">", 100, "degenerate repetition; a long division has shorter runs"),
        Bound("response.duplicate_line_share", ">", 0.85, "a loop of lines; a survey or a table reaches 0.8"),
    ),
    "code": (
        *_ANSWER,
        Bound("response.unclosed_fence", ">", 0, "an open code block marks an answer cut at a token limit"),
        Bound("response.longest_run", ">", 200, "rulers made of `=` and `-` are usual in code"),
        Bound("response.duplicate_line_share", ">", 0.9, "closing brackets and the like repeat"),
    ),
    "document": (
        Bound("whole.words", "<", 50, "Gopher: at least 50 words"),
        Bound("whole.words", ">", 100_000, "Gopher: at most 100,000 words"),
        Bound("whole.mean_word_length", "<", 3, "Gopher: mean word length from 3 ..."),
        Bound("whole.mean_word_length", ">", 10, "Gopher: ... to 10 characters"),
        Bound("whole.letter_word_share", "<", 0.8, "Gopher: 80 % of the words have a letter"),
        Bound("whole.stop_words", "<", 2, "Gopher: at least two English stop words"),
        Bound("whole.bullet_line_share", ">", 0.9, "Gopher: at most 90 % of the lines begin with a bullet"),
        Bound("whole.ellipsis_line_share", ">", 0.3, "Gopher: at most 30 % of the lines end in an ellipsis"),
        Bound("whole.duplicate_line_share", ">", 0.3, "Gopher repetition: at most 30 % duplicate lines"),
        Bound("whole.duplicate_line_char_share", ">", 0.2, "Gopher repetition: at most 20 % of the characters in them"),
        Bound("whole.ended_line_share", "<", 0.12, "FineWeb: at least 12 % of the lines end with a terminal mark"),
        Bound("whole.short_line_share", ">", 0.67, "FineWeb: at most 67 % of the lines have 30 characters or fewer"),
        Bound("whole.lines_per_word", ">", 0.3, "FineWeb: at most 0.3 line feeds for each word"),
    ),
}
"""Named lists of bounds, tried in order. `document` is for English web pages: it drops half of ordinary instructions
and all Chinese text (Gopher's stop words). Gopher's n-gram rules and C4's line rewriting need signals that are not
measured.
"""


def bounds_of(rules: Iterable[FilterRule], source: str | None = None) -> list[Bound]:
    """The bounds of a recipe's rules in order, for one source or for all.

    Raises UnknownName for a set or signal that does not exist, with its place in the recipe.
    """
    found: list[Bound] = []
    for place, rule in enumerate(rules):
        if source is None or rule.sources is None or source in rule.sources:
            found += _bounds(rule, f"filters[{place}]")
    return list(dict.fromkeys(found))


def _bounds(rule: FilterRule, where: str) -> Sequence[Bound]:
    if rule.set is not None:
        if rule.set not in FILTER_SETS:
            raise UnknownName("filter set", rule.set, FILTER_SETS, f"{where}.set")
        return FILTER_SETS[rule.set]
    name = lookup(rule.signal or "", f"{where}.signal").name
    sides: tuple[tuple[Literal["<", ">"], float | None], ...] = (("<", rule.min), (">", rule.max))
    return [Bound(name, side, limit, "recipe") for side, limit in sides if limit is not None]


def signals_of(bounds: Iterable[Bound]) -> list[str]:
    """The signals that bounds need, each once, in order."""
    return list(dict.fromkeys(bound.signal for bound in bounds))


def decide(values: Mapping[str, Values], bounds: Sequence[Bound], rows: int) -> npt.NDArray[np.int16]:
    """For each of the rows, the index of the first bound that drops it, or KEPT."""
    reasons = np.full(rows, KEPT, dtype=np.int16)
    for place in reversed(range(len(bounds))):
        reasons[bounds[place].drops(values[bounds[place].signal])] = place
    return reasons
