"""Cleaning: text to text. Nothing is dropped; what each rule changed is counted, with examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from didact.curate.pii import PersonalData
from didact.recipe.cleaning import CleanSettings
from didact.text.clean_rules import RULES

if TYPE_CHECKING:
    from didact.curate.clean_scan import Scan

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


CHANGES = pa.schema([("rules", pa.list_(pa.string())), ("before", pa.string()), ("after", pa.string())])
"""Columns of changes, one row for each text that changed; as in `Change`."""
_CHANGED = pa.schema([("place", pa.int64()), ("text", pa.string()), *CHANGES])
"""Which text changed, what it is now, and what to tell."""


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
    changes: pa.Table = field(default_factory=CHANGES.empty_table)
    """Every text that changed, in order; columns as `CHANGES`."""

    def add(self, other: CleanReport) -> None:
        """Add what another chunk's cleaning changed."""
        self.texts += other.texts
        self.changed += other.changed
        for rule, count in other.counts.items():
            self.counts[rule] = self.counts.get(rule, 0) + count
        for rule, found in other.examples.items():
            self.examples[rule] = [*self.examples.get(rule, []), *found][:_EXAMPLES]
        self.changes = pa.concat_tables([self.changes, other.changes])

    @classmethod
    def of(cls, reports: Iterable[CleanReport]) -> CleanReport:
        """One report of several chunks, in their order."""
        total = cls()
        for report in reports:
            total.add(report)
        return total


class Cleaner:
    """The rules that are on, applied to one text after the other.

    `counts` and `examples` gather what they change, as those of a report; `changes` has each text that changed.
    """

    def __init__(self, settings: CleanSettings) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[Example]] = {}
        self.changes: list[Change] = []
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
        """The clean text; what was done to it is noted."""
        for name, example in done.told.items():
            self._tell(name, example)
        for name, count in done.personal.items():
            self.counts[name] = self.counts.get(name, 0) + count
        if done.change is not None:
            self.changes.append(done.change)
        return done.text

    def _tell(self, rule: str, example: Example) -> None:
        self.counts[rule] = self.counts.get(rule, 0) + 1
        examples = self.examples.setdefault(rule, [])
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
    if len(texts) < _FEW:
        rows = _by_rules(texts, np.arange(len(texts)), cleaner)
    else:
        rows = _by_kernels(texts, settings, cleaner)
    changed = np.zeros(len(texts), dtype=np.bool_)
    changed[rows["place"].to_numpy()] = True
    if rows.num_rows:
        texts = pc.replace_with_mask(texts, pa.array(changed), rows["text"].chunk(0))
    changes = rows.select(CHANGES.names)
    return texts, CleanReport(len(texts), rows.num_rows, cleaner.counts, cleaner.examples, changes), changed


def _by_kernels(texts: pa.StringArray, settings: CleanSettings, cleaner: Cleaner) -> pa.Table:
    """What changed, as `_CHANGED`. The rules are asked only where the kernels do not know, and for the examples."""
    from didact.curate.clean_scan import ASK, KNOWN, scan

    scanned = scan(texts, settings)
    asked = scanned.told == ASK
    for bit in KNOWN.values():
        asked[np.flatnonzero(scanned.told & bit)[:_EXAMPLES]] = True
    rows = _by_rules(texts, np.flatnonzero(asked), cleaner)
    places = np.flatnonzero((scanned.told > 0) & ~asked)
    if not len(places):
        return rows
    for rule, bit in KNOWN.items():
        if count := int(np.count_nonzero(scanned.told[places] & bit)):
            cleaner.counts[rule] = cleaner.counts.get(rule, 0) + count
    rows = pa.concat_tables([rows, _written(texts, scanned, places)]).combine_chunks()
    return rows.take(np.argsort(rows["place"].to_numpy()))


def _written(texts: pa.StringArray, scanned: Scan, places: npt.NDArray[np.int64]) -> pa.Table:
    """What changed of the texts at some places, of which the kernels know it, as `_CHANGED`."""
    from didact.curate.clean_scan import KNOWN
    from didact.curate.clean_write import write

    bits = sum(map(int, KNOWN.values()))
    every = [[rule for rule, bit in KNOWN.items() if some & bit] for some in range(bits + 1)]
    rules = pa.array(every, CHANGES.field("rules").type).take(pa.array(scanned.told[places] & bits))
    written = write(texts, scanned, places, _EXAMPLE_REACH)
    return pa.table([pa.array(places), written.texts, rules, written.before, written.after], schema=_CHANGED)


def _by_rules(texts: pa.StringArray, places: npt.NDArray[np.int64], cleaner: Cleaner) -> pa.Table:
    """What the rules change of the texts at some places, as `_CHANGED`."""
    given = texts.take(pa.array(places)).to_pylist()
    cleaned = [(place, cleaner.clean(before), before) for place, before in zip(places.tolist(), given, strict=True)]
    changed = [(place, after) for place, after, before in cleaned if after != before]
    columns = *zip(*changed, strict=True), *zip(*cleaner.changes, strict=True)
    return pa.table(list(columns), schema=_CHANGED) if columns else _CHANGED.empty_table()


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
