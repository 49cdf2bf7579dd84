"""Cleaning: text to text. Nothing is dropped; what each rule changed is counted, with examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from didact.curate.pii import PersonalData
from didact.recipe.cleaning import CleanSettings
from didact.text.clean_rules import RULES

_EXAMPLES = 5
_EXAMPLE_REACH = 40
"""Characters of an example on either side of the first change."""
_ROUNDS = 32
_OF_PLAIN = frozenset({"controls", "literal_newlines", "template_markers", "whitespace"})
"""Rules that may change an ASCII text without an ampersand. They leave it one, and but for line feeds they bring no
control character into it, so that `controls` has nothing to do there in later rounds.
"""
_SHORT = 100
"""Characters of a text that is remembered with what was done to it: of templated tasks, many have the same answer."""
_MOST_KNOWN = 10_000
_FEW = 256
"""Texts below which every one goes through the rules: loading the kernel would take longer."""


class Example(NamedTuple):
    """What a rule did to one text, cut around the first change."""

    before: str
    after: str


class Change(NamedTuple):
    """What all rules together did to one text, cut around the first change."""

    rules: tuple[str, ...]
    before: str | None
    """None where the text held personal data that is replaced: it is not written down."""
    after: str


class _Cleaned(NamedTuple):
    """What cleaning made of one text."""

    text: str
    told: dict[str, Example]
    """For each rule that changed it, the text before and after."""
    personal: dict[str, int]
    """For each `pii.` kind the values that were replaced."""
    change: Change | None


@dataclass
class CleanReport:
    """What cleaning changed."""

    texts: int = 0
    """Texts that were looked at."""
    changed: int = 0
    """Texts that are not what they were."""
    counts: dict[str, int] = field(default_factory=dict)
    """For each rule the texts it changed, for each `pii.` kind the values it replaced. No zeros."""
    examples: dict[str, list[Example]] = field(default_factory=dict)
    """The first five changes of each rule, without the personal data that is replaced."""
    changes: list[Change] = field(default_factory=list)
    """Every text that changed, in order."""

    def add(self, other: CleanReport) -> None:
        """Add what another chunk's cleaning changed."""
        self.texts += other.texts
        self.changed += other.changed
        for rule, count in other.counts.items():
            self.counts[rule] = self.counts.get(rule, 0) + count
        for rule, found in other.examples.items():
            self.examples[rule] = [*self.examples.get(rule, []), *found][:_EXAMPLES]
        self.changes += other.changes

    @classmethod
    def of(cls, reports: Iterable[CleanReport]) -> CleanReport:
        """One report of several chunks, in their order."""
        total = cls()
        for report in reports:
            total.add(report)
        return total


class Cleaner:
    """The rules that are on, applied to one text after the other; `report` gathers what they change."""

    def __init__(self, settings: CleanSettings) -> None:
        self.report = CleanReport()
        self._rules = [(i, name, rule) for i, (name, rule) in enumerate(RULES.items()) if getattr(settings, name)]
        self._of_plain = [rule for rule in self._rules if rule[1] in _OF_PLAIN]
        self._again = [rule for rule in self._of_plain if rule[1] != "controls"]
        self._personal = PersonalData(settings)
        self._known: dict[str, _Cleaned] = {}

    def clean(self, text: str) -> str:
        """Apply every rule, over and over until none changes the text."""
        if len(text) > _SHORT:
            return self._noted(self._cleaned(text))
        done = self._known.get(text)
        if done is None:
            if len(self._known) == _MOST_KNOWN:
                self._known.clear()
            done = self._known[text] = self._cleaned(text)
        return self._noted(done)

    def _cleaned(self, text: str) -> _Cleaned:
        given, told, personal = text, dict[str, Example](), dict[str, int]()
        until, plain = len(RULES), self._of_plain
        for _ in range(_ROUNDS):
            before, last = text, -1
            for place, name, rule in plain if text.isascii() and "&" not in text else self._rules:
                if last < 0 and place > until:
                    break  # this very text was left alone by the rules from here on, in the round before
                rewritten = rule(text)
                if rewritten != text:
                    told.setdefault(name, Example(text, rewritten))
                    text, last = rewritten, place
            replaced = self._personal.replace(text, personal)
            if replaced != text:
                text, last = replaced, len(RULES)
            if text == before:
                break
            until, plain = last, self._again
        if text == given:
            return _Cleaned(text, told, personal, None)
        excerpt = _cut(given, text)
        public = not personal and self._personal.replace(given, {}) == given
        change = Change((*told, *personal), excerpt.before if public else None, excerpt.after)
        return _Cleaned(text, told, personal, change)

    def _noted(self, done: _Cleaned) -> str:
        """The clean text; what was done to it is put into the report."""
        for name, example in done.told.items():
            self._tell(name, example)
        for name, count in done.personal.items():
            self.report.counts[name] = self.report.counts.get(name, 0) + count
        if done.change is not None:
            self.report.changes.append(done.change)
        return done.text

    def _tell(self, rule: str, example: Example) -> None:
        self.report.counts[rule] = self.report.counts.get(rule, 0) + 1
        examples = self.report.examples.setdefault(rule, [])
        if len(examples) < _EXAMPLES:
            examples.append(_cut(*(self._personal.replace(text, {}) for text in example)))


def clean_text(text: str, settings: CleanSettings) -> str:
    """Clean one text.

    >>> clean_text("Fish &amp;amp; chips \\r\\n<|im_end|>", CleanSettings())
    'Fish & chips'
    """
    return Cleaner(settings).clean(text)


def clean_texts(
    texts: pa.StringArray, settings: CleanSettings
) -> tuple[pa.StringArray, CleanReport, npt.NDArray[np.bool_]]:
    """Clean every text: the new array (the same one when nothing changed), the report, and which texts changed.

    Cleaning a clean text changes nothing.
    """
    cleaner = Cleaner(settings)
    changed = np.zeros(len(texts), dtype=np.bool_)
    places = np.flatnonzero(_suspects(texts, settings))
    cleaned = []
    for place, before in zip(places.tolist(), texts.take(pa.array(places)).to_pylist(), strict=True):
        after = cleaner.clean(before)
        if after != before:
            changed[place] = True
            cleaned.append(after)
    cleaner.report.texts, cleaner.report.changed = len(texts), len(cleaned)
    if cleaned:
        texts = pc.replace_with_mask(texts, pa.array(changed), pa.array(cleaned, pa.string()))
    return texts, cleaner.report, changed


def _suspects(texts: pa.StringArray, settings: CleanSettings) -> npt.NDArray[np.bool_]:
    if len(texts) < _FEW:
        return np.ones(len(texts), dtype=np.bool_)
    from didact.curate.clean_scan import suspects

    return suspects(texts, settings)


def _cut(before: str, after: str) -> Example:
    """Both texts around the first character that differs."""
    differs = _common_prefix(before, after)
    start = max(differs - _EXAMPLE_REACH, 0)
    return Example(before[start : differs + _EXAMPLE_REACH], after[start : differs + _EXAMPLE_REACH])


def _common_prefix(one: str, other: str) -> int:
    """Length of what two texts begin with. Slices are compared a hundred times as fast as characters: of slices that
    double, the first that differ are halved.
    """
    same, least = 0, min(len(one), len(other))
    if one.startswith(other[:least]):
        return least
    step = _EXAMPLE_REACH
    while one[same : same + step] == other[same : same + step]:
        same, step = same + step, 2 * step
    least = min(least, same + step)
    while same < least:
        middle = (same + least + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            least = middle - 1
    return same
