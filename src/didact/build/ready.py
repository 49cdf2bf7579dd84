"""The process that leads a build loads its own kernels while its workers are busy, not when they wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from didact.build.per_record import ON_FILE
from didact.curate.dedup import Pairs, keep_best
from didact.curate.leaks import ShingleSets, Tally, nearest_training, promising
from didact.curate.minhash import candidate_pairs, jaccard
from didact.curate.split import SplitInput, split_rows
from didact.engine.base import Engine, Item, Result
from didact.recipe.selection import SplitSettings
from didact.records import PlainText
from didact.records.columns import Place, to_table
from didact.render.byte_pairs import load_encoder
from didact.render.learning import learn
from didact.render.pretokens import code_point_classes
from didact.text.compiled import compiled_here
from didact.text.fingerprints import literal_fingerprints
from didact.text.tokens import have_tokens, shingles
from didact.text.views import Segments, View


@dataclass
class ReadyMeanwhile:
    """An engine that loads the kernels of the stages to come while workers have something new to do.

    on_file: whether an item's result is there already.
    """

    engine: Engine
    on_file: Callable[[Any], bool]
    _loaded: bool = field(default=False, init=False)

    @property
    def workers(self) -> int:
        """As the engine's own."""
        return self.engine.workers

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """As the engine's own. Kernels are loaded before the item is given away with which every worker has two, as
        workers still load theirs then; or, where that one's result is on file, once a worker is done with something
        new. A process that does the items itself loads them when it comes to that.
        """
        self._loaded = self.workers == 1
        for item, result in self.engine.map(function, self._given(items)):
            if isinstance(result, dict) and not result.get(ON_FILE):
                self._load()
            yield item, result

    def _given(self, items: Iterable[Item]) -> Iterator[Item]:
        for place, item in enumerate(items, 1):
            if place == 2 * self.workers and not self.on_file(item):
                self._load()
            yield item

    def _load(self) -> None:
        if not self._loaded:
            load_kernels()
            self._loaded = True

    def close(self) -> None:
        """As the engine's own."""
        self.engine.close()


def load_common() -> None:
    """Load what this process and its workers share: what numba sets up with the first kernel, and tables of
    characters.
    """
    have_tokens(View.of_texts(pa.array(["Two words."])))
    code_point_classes()


def compile_beside() -> None:
    """Where numba's cache holds no kernels, compile those of this process while the server compiles those of its
    workers, and the one of these that takes longest, a fifth of the time of all: the server comes to it last.
    """
    if compiled_here():
        load_encoder()
        load_kernels()


def load_kernels() -> None:
    """Run what compares, splits and learns a vocabulary on next to nothing."""
    rows = np.arange(3)
    records = [PlainText(id="0" * 32, text="Two words.") for _ in rows]
    segments = Segments.from_arrow(to_table(records, [Place("", 0, 1, 0)] * 3)["segments"].combine_chunks())
    view = segments.view("text").only(rows)
    sets = ShingleSets(*shingles(view, 5))
    literal_fingerprints(view)
    pairs = candidate_pairs(np.zeros((1, 3), np.uint64))
    keep_best(3, Pairs(pairs[:, 0], pairs[:, 1], jaccard(sets.hashes, sets.offsets, pairs)), rows)
    promising(sets, rows[:1], sets.take(rows[1:]), 0.5)
    nearest_training(sets.take(rows[:1]), sets, rows[1:], 0.5, Tally(sets).with_rows(rows[1:]))
    given = SplitInput(np.arange(3, dtype=np.uint64), np.zeros(3, np.int32), (np.zeros(3, np.uint64),))
    split_rows(given, SplitSettings(), {}, "", lambda held, train: np.zeros(3, np.bool_))
    learn(["two words"], (), 300, 1)
