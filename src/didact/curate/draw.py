"""Draw: which rows of a source a mix takes, and the order in which the rows of all sources are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from didact.curate.order import I64, U64, keyed_order


@dataclass(frozen=True, slots=True)
class Supply:
    """What one source can give a mix: its rows' ids and their sizes in the mix's unit."""

    ids: U64
    sizes: I64

    @property
    def total(self) -> int:
        """Size of one epoch in the mix's unit."""
        return int(self.sizes.sum())


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one source gives: its rows in training order, the epoch of each, and the place where each phase ends."""

    rows: I64
    epochs: I64
    ends: list[int]


@dataclass(frozen=True, slots=True)
class Ordered:
    """The rows of a mix in training order: source (its place among the sources), row within it, epoch and phase, (n,)
    each.
    """

    sources: I64
    rows: I64
    epochs: I64
    phases: I64


def draw(source: str, supply: Supply, amounts: Sequence[int], key: str) -> Drawn:
    """Rows of a source for the amount of each phase.

    The rows are one sequence: epoch by epoch, each in its own keyed order and without replacement, so that a row is
    seen twice only when every row was seen once. A phase takes up where the one before stopped, and ends with the row
    that comes nearest to what was planned up to there, so misses of at most half a row do not add up.
    """
    targets, total, count = list(accumulate(amounts)), supply.total, len(supply.ids)
    ends = [0 for target in targets if target == 0]
    rows, epochs = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for epoch in range(-(-targets[-1] // total) if targets[-1] else 0):
        order = keyed_order(supply.ids, key, source, str(epoch))
        reached = np.cumsum(supply.sizes[order])
        inside = (target - epoch * total for target in targets)
        cuts = [_nearest(reached, target) for target in inside if 0 < target <= total]
        ends += [epoch * count + cut for cut in cuts]
        taken = cuts[-1] if len(ends) == len(targets) else count
        rows.append(order[:taken])
        epochs.append(np.full(taken, epoch, np.int64))
    return Drawn(np.concatenate(rows), np.concatenate(epochs), ends)


def _nearest(reached: I64, amount: int) -> int:
    """How many rows come nearest to the amount: one row more if that misses by less."""
    below = int(np.searchsorted(reached, amount, side="right"))
    if below == len(reached):
        return below
    short = amount - (int(reached[below - 1]) if below else 0)
    return below + 1 if int(reached[below]) - amount < short else below


def in_training_order(drawn: Sequence[Drawn], sizes: Sequence[I64]) -> Ordered:
    """The drawn rows of all sources: phase after phase, and the sources interleaved in each.

    sizes: for each source, the sizes of all its rows.
    """
    phases = [_phase(number, drawn, sizes) for number in range(len(drawn[0].ends))]
    return Ordered(*(np.concatenate([getattr(phase, name) for phase in phases]) for name in Ordered.__slots__))


def _phase(number: int, drawn: Sequence[Drawn], sizes: Sequence[I64]) -> Ordered:
    parts = [slice(one.ends[number - 1] if number else 0, one.ends[number]) for one in drawn]
    rows = [one.rows[part] for one, part in zip(drawn, parts, strict=True)]
    epochs = [one.epochs[part] for one, part in zip(drawn, parts, strict=True)]
    source, place = interleave([size[own] for size, own in zip(sizes, rows, strict=True)])
    place += np.cumsum([0, *map(len, rows)])[source]
    return Ordered(source, np.concatenate(rows)[place], np.concatenate(epochs)[place], np.full_like(source, number))


def interleave(sizes: Sequence[I64]) -> tuple[I64, I64]:
    """One order for the rows of several sources in which every stretch holds them in the ratio of the whole.

    sizes: for each source, the sizes of its rows in order. Returns (source, row within the source) of each place.
    A row stands where its middle falls in its source's cumulated size;
    so the ratio holds in the mix's unit, not in records.
    """
    middles, sources, rows = [], [], []
    for source, own in enumerate(sizes):
        reached = np.cumsum(own, dtype=np.float64)
        middles.append((reached - own / 2) / max(1.0, reached[-1] if len(own) else 1.0))
        sources.append(np.full(len(own), source, np.int64))
        rows.append(np.arange(len(own), dtype=np.int64))
    order = np.argsort(np.concatenate(middles), kind="stable")
    return np.concatenate(sources)[order], np.concatenate(rows)[order]
