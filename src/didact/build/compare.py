"""Comparison of records: candidates from the bands, verified by exact Jaccard, numbers and short answers, view by
view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.build.rows import Rows
from didact.curate.dedup import Pairs
from didact.curate.leaks import ShingleSets, Tally, nearest_training, promising
from didact.curate.minhash import candidate_pairs, jaccard
from didact.curate.order import I64, U64
from didact.recipe.selection import MinHashSettings
from didact.text.fingerprints import literal_fingerprints
from didact.text.tokens import shingles
from didact.text.utf8 import MIX_FIRST
from didact.text.views import Segments, View, ViewName

_LONG = np.uint64(1)
"""What stands for the answers that are long enough to be compared word by word."""
_BANDS_BYTES = 1 << 26
"""Keys of bands that are in memory together; when those of one band take more, it is alone."""


def view_of(segments: Segments, names: tuple[ViewName, ...]) -> View:
    """The segments that belong to any of several views."""
    views = [segments.view(name) for name in names]
    return replace(views[0], mask=np.logical_or.reduce([view.mask for view in views]))


def compared_views(settings: MinHashSettings) -> tuple[ViewName, ...]:
    """The views that must agree: those listed, and the text of plain-text records, which have no other."""
    return tuple(dict.fromkeys((*settings.views, "text")))


@dataclass(frozen=True)
class _BandKeys(Sequence[U64]):
    """The keys of each band of some rows, read from the chunks when they are asked for, in order; of few rows several
    bands at once.
    """

    rows: Rows
    chosen: I64
    apart: U64
    """Rows that differ in this are no candidates."""
    read: dict[int, U64] = field(default_factory=dict)
    """Bands that were read and not asked for yet."""

    def __len__(self) -> int:
        return self.rows.width("bands")

    def __getitem__(self, band: int) -> U64:  # type: ignore[override]  # no slices
        if band not in self.read:
            at_once = max(1, _BANDS_BYTES // (8 * max(1, len(self.rows))))
            self.read.update(enumerate(self.rows.at("bands", slice(band, band + at_once)), band))
        return self.read.pop(band)[self.chosen] ^ self.apart


@dataclass(frozen=True)
class _First:
    """The one to keep of some rows. All are ranked when it is first asked for: 8 bytes a row are kept then."""

    ranking: Callable[[], I64]

    @cached_property
    def _rank(self) -> I64:
        order = self.ranking()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank

    def __call__(self, members: I64) -> int:
        return int(members[np.argmin(self._rank[members])])


@dataclass(frozen=True)
class Comparison:
    """Finds near-duplicates among rows of a build."""

    rows: Rows
    settings: MinHashSettings
    threads: int = 1

    def near_duplicates(self, rows: I64) -> tuple[Pairs, I64]:
        """Verified pairs among some rows (ascending): pairs of places among those rows that have one, and the places of
        these in `rows`.

        Memory: the keys of one band and what keeps rows apart, 16 bytes a row, or `_BANDS_BYTES`; where many rows share
        a band their ranks, 8 bytes a row, and while these are made 40 more; and the shingles of the rows that some band
        proposes.
        """
        pairs = self._proposed(rows)
        left, right = self._details[rows[pairs]].T
        pairs = pairs[left == right]
        similarity = np.ones(len(pairs))
        for view in compared_views(self.settings):
            similarity = np.minimum(similarity, self._similarity(rows, pairs, view))
            alike = similarity >= self.settings.threshold
            pairs, similarity = pairs[alike], similarity[alike]
        if self.settings.numbers:
            same = self._same_literals(rows, pairs)
            pairs, similarity = pairs[same], similarity[same]
        involved, local = _numbered(pairs)
        return Pairs(local[:, 0], local[:, 1], similarity), involved

    def _proposed(self, rows: I64) -> I64:
        signed = np.flatnonzero(self.rows.column("shingles")[rows] > 0)
        keys = _BandKeys(self.rows, rows[signed], self._details[rows[signed]])
        pairs = candidate_pairs(keys, threads=self.threads, first=_First(partial(self.ranking, rows[signed])))
        return signed[pairs].reshape(-1, 2)

    @cached_property
    def _details(self) -> U64:
        """Of every row a hash of what makes another question of the same words: a short answer, numbers."""
        words, answer, numbers = self.rows.columns(["response.words", "response_key", "numbers_key"])
        details: U64 = np.where(words <= self.settings.short_response, answer, _LONG) * MIX_FIRST
        return details + numbers if self.settings.numbers else details

    def _similarity(self, rows: I64, pairs: I64, view: ViewName) -> NDArray[np.float64]:
        """Exact Jaccard similarity of pairs in one view."""
        involved, local = _numbered(pairs)
        sets = _sets(self.rows, rows[involved], lambda texts: texts.view(view), self.settings.ngram, self.threads)
        return jaccard(sets.hashes, sets.offsets, local)

    def _same_literals(self, rows: I64, pairs: I64) -> NDArray[np.bool_]:
        """Pairs that agree on what they quote."""
        involved, local = _numbered(pairs)
        found = self.rows.over_texts(rows[involved], self._literals, self.threads)
        literals = np.concatenate([np.zeros(0, np.uint64), *found])
        return literals[local[:, 0]] == literals[local[:, 1]]

    def _literals(self, texts: Segments, inside: I64) -> U64:
        """What some of a chunk's rows quote."""
        return literal_fingerprints(view_of(texts, compared_views(self.settings)).only(inside))[inside]

    def ranking(self, rows: I64) -> I64:
        """Places of `rows`, the one to keep first, by the recipe's policy; ties go to the smaller content key."""
        keys = self.rows.keys("content")[rows]
        return np.lexsort((keys[:, 1], keys[:, 0], *self._criteria(rows))).astype(np.int64)

    def _criteria(self, rows: I64) -> tuple[NDArray[Any], ...]:
        """Sort keys, the most important last; smaller is better."""
        if self.settings.keep == "first":
            return (rows,)
        size, *flaws = self.rows.columns(["size", *_FLAWS])
        longest = -size[rows]
        if self.settings.keep == "longest":
            return (longest,)
        return (longest, np.sum([flaw[rows] for flaw in flaws], axis=0))


_FLAWS = ("response.refusal", "response.unended", "response.unclosed_fence")


def _numbered(pairs: I64) -> tuple[I64, I64]:
    """The rows that are in pairs, ascending, and the pairs as places among those."""
    involved, local = np.unique(pairs, return_inverse=True)
    return involved, local.reshape(-1, 2).astype(np.int64)


def _sets(rows: Rows, chosen: I64, view: Callable[[Segments], View], n: int, threads: int) -> ShingleSets:
    """The shingles of n tokens of some rows, which ascend, in a view."""

    def made(texts: Segments, inside: I64) -> tuple[U64, I64]:
        # The other rows are passed over: to copy the texts of these would take as long as to walk them.
        hashes, offsets = shingles(view(texts).only(inside), n)
        return hashes, np.diff(offsets)[inside]

    hashes, lengths = [np.zeros(0, np.uint64)], [np.zeros(1, np.int64)]
    for own, sizes in rows.over_texts(chosen, made, threads):
        hashes.append(own)
        lengths.append(sizes)
    return ShingleSets(np.concatenate(hashes), np.cumsum(np.concatenate(lengths)))


def _prompts(segments: Segments) -> View:
    return view_of(segments, ("prompt", "text"))


@dataclass
class PromptSets:
    """Shingle sets of some rows' prompts (of the text, for plain text), for the leak check; made once, on first use."""

    rows: Rows
    living: I64
    """The rows, ascending."""
    ngram: int
    threads: int = 1

    @cached_property
    def sets(self) -> ShingleSets:
        """The set of each row."""
        return _sets(self.rows, self.living, _prompts, self.ngram, self.threads)

    @cached_property
    def _tally(self) -> Tally:
        return Tally(self.sets)

    def near_copies(self, held: I64, train: I64, threshold: float) -> NDArray[np.bool_]:
        """Places of `living`: those among `held` that have one of `train` at or above the threshold, and the most
        similar one of each.
        """
        if len(train) < len(self.living) // 4:
            held = promising(self.sets, held, self.sets.take(train), threshold)
        tally = self._tally.with_rows(train)
        nearest = nearest_training(self.sets.take(held), self.sets, train, threshold, tally, self.threads)
        leaking = nearest.rows >= 0
        found = np.zeros(len(self.living), np.bool_)
        found[held[leaking]] = True
        found[nearest.rows[leaking]] = True
        return found
