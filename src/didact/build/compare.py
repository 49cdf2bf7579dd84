"""Comparison of records: candidates from the bands, verified by exact Jaccard, numbers and short answers, view by
view.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.build.rows import Rows
from didact.curate.dedup import Pairs
from didact.curate.leaks import ShingleSets, nearest_training
from didact.curate.minhash import candidate_pairs, jaccard
from didact.curate.order import I64, U64
from didact.recipe.selection import MinHashSettings
from didact.text.tokens import shingles
from didact.text.views import Segments, View, ViewName

_LITERAL = re.compile(r"`[^`\n]+`|\"[^\"\n]{1,80}\"")
"""Code spans and quoted strings: what a template varies when it makes another question, beside numbers."""


def view_of(segments: Segments, names: tuple[ViewName, ...]) -> View:
    """The segments that belong to any of several views."""
    views = [segments.view(name) for name in names]
    mask = np.logical_or.reduce([view.mask for view in views])
    mask.setflags(write=False)
    return View(views[0].data, views[0].text_offsets, views[0].record_offsets, mask)


def compared_views(settings: MinHashSettings) -> tuple[ViewName, ...]:
    """The views that must agree: those listed, and the text of plain-text records, which have no other."""
    return tuple(dict.fromkeys((*settings.views, "text")))


@dataclass(frozen=True)
class _BandKeys(Sequence[U64]):
    """The keys of each band of some rows, read from the chunks when they are asked for."""

    rows: Rows
    chosen: I64

    def __len__(self) -> int:
        return self.rows.width("bands")

    def __getitem__(self, band: int) -> U64:  # type: ignore[override]  # no slices
        return self.rows.nth("bands", band)[self.chosen]


@dataclass(frozen=True)
class Comparison:
    """Finds near-duplicates among rows of a build."""

    rows: Rows
    settings: MinHashSettings

    def near_duplicates(self, rows: I64) -> Pairs:
        """Verified pairs among some rows (ascending), as places in `rows`.

        Memory: the keys of one band, 8 bytes a row, and the shingles of the rows that some band proposes.
        """
        proposed = self._proposed(rows)
        involved, local = np.unique(proposed, return_inverse=True)
        pairs = local.reshape(-1, 2).astype(np.int64)
        similarity = np.ones(len(pairs))
        for view in compared_views(self.settings):
            hashes, offsets = self.rows.sets(rows[involved], partial(_view_shingles, view, self.settings.ngram))
            similarity = np.minimum(similarity, jaccard(hashes, offsets, pairs))
        alike = similarity >= self.settings.threshold
        pairs, similarity = pairs[alike], similarity[alike]
        same = self._same_details(rows[involved], pairs)
        chosen = involved[pairs[same]]
        return Pairs(chosen[:, 0], chosen[:, 1], similarity[same])

    def _proposed(self, rows: I64) -> I64:
        signed = np.flatnonzero(self.rows.column("shingles")[rows] > 0)
        return signed[candidate_pairs(_BandKeys(self.rows, rows[signed]))].reshape(-1, 2)

    def _same_details(self, rows: I64, pairs: I64) -> NDArray[np.bool_]:
        """Pairs that agree on what makes another question of the same words: numbers, literals, a short answer."""
        left, right = rows[pairs[:, 0]], rows[pairs[:, 1]]
        words, answer = self.rows.column("response.words"), self.rows.column("response_key")
        short = np.minimum(words[left], words[right]) <= self.settings.short_response
        same: NDArray[np.bool_] = ~short | (answer[left] == answer[right])
        if not self.settings.numbers:
            return same
        numbers = self.rows.column("numbers_key")
        same &= numbers[left] == numbers[right]
        kept = np.flatnonzero(same)
        literals = self._literals(np.unique(np.concatenate([left[kept], right[kept]])))
        agreeing = [literals[a] == literals[b] for a, b in zip(left[kept].tolist(), right[kept].tolist(), strict=True)]
        same[kept[~np.array(agreeing, np.bool_)]] = False
        return same

    def _literals(self, rows: I64) -> dict[int, list[str]]:
        """Code spans and quoted strings of each row, in order."""
        found: dict[int, list[str]] = {}
        for chunk, places, inside in self.rows.by_chunk(rows):
            texts = texts_of(chunk.segments(inside), compared_views(self.settings))
            for row, own in zip(rows[places].tolist(), texts, strict=True):
                found[row] = [literal for text in own for literal in _LITERAL.findall(text)]
        return found

    def ranking(self, rows: I64) -> I64:
        """Places of `rows`, the one to keep first, by the recipe's policy; ties go to the smaller content key."""
        keys = self.rows.keys("content")[rows]
        return np.lexsort((keys[:, 1], keys[:, 0], *self._criteria(rows))).astype(np.int64)

    def _criteria(self, rows: I64) -> tuple[NDArray[Any], ...]:
        """Sort keys, the most important last; smaller is better."""
        if self.settings.keep == "first":
            return (rows,)
        longest = -self.rows.column("size")[rows]
        if self.settings.keep == "longest":
            return (longest,)
        flaws = [self.rows.column(f"response.{flaw}")[rows] for flaw in ("refusal", "unended", "unclosed_fence")]
        return (longest, np.sum(flaws, axis=0))


def _view_shingles(view: ViewName, ngram: int, segments: Segments) -> tuple[U64, I64]:
    return shingles(segments.view(view), ngram)


def texts_of(segments: Segments, views: tuple[ViewName, ...]) -> list[list[str]]:
    """The texts of some views, record by record."""
    mask = view_of(segments, views).mask
    texts = segments.texts.filter(pa.array(mask)).to_pylist()
    bounds = np.concatenate([[0], np.cumsum(mask)])[segments.record_offsets].tolist()
    return [texts[start:end] for start, end in itertools.pairwise(bounds)]


@dataclass
class PromptSets:
    """Shingle sets of some rows' prompts (of the text, for plain text), for the leak check; made once, on first use."""

    rows: Rows
    living: I64
    """The rows, ascending."""
    ngram: int

    @cached_property
    def sets(self) -> ShingleSets:
        """The set of each row."""
        views: tuple[ViewName, ...] = ("prompt", "text")
        return ShingleSets(*self.rows.sets(self.living, lambda texts: shingles(view_of(texts, views), self.ngram)))

    def near_copies(self, held: I64, train: I64, threshold: float) -> NDArray[np.bool_]:
        """Places of `living`: those among `held` that have one of `train` at or above the threshold, and the most
        similar one of each.
        """
        # A few training rows are looked through alone, all of them where they are.
        few = len(train) < len(self.living) // 4
        records, rows = (self.sets.take(train), np.arange(len(train))) if few else (self.sets, train)
        nearest = nearest_training(self.sets.take(held), records, rows, threshold)
        leaking = nearest.rows >= 0
        found = np.zeros(len(self.living), np.bool_)
        found[held[leaking]] = True
        found[train[nearest.rows[leaking]] if few else nearest.rows[leaking]] = True
        return found
