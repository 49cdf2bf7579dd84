"""Split: hold out exact shares of whole components, so that nothing that belongs together parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from didact.curate.components import components, same_key_pairs
from didact.curate.order import I64, U64, keyed_order, sorted_unique
from didact.errors import EmptySplit
from didact.recipe.selection import SplitSettings
from didact.text.compiled import kernel

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLITS = ("train", "validation", "test")
_ROUNDS = 8
"""How often held-out rows that leak are replaced by others; after that the rest of them just goes to training."""


@dataclass(frozen=True, slots=True)
class SplitInput:
    """Arrays over the rows to split; keys of 0 link nothing."""

    ids: U64
    sources: NDArray[np.int32]
    """Index of each row's source."""
    keys: tuple[U64, ...]
    """Group keys, prompt keys, task keys: rows that share one never part."""


Leaks = Callable[[I64, I64], NDArray[np.bool_]]
"""Given held-out rows and training rows: which of all rows are held out and near-copies of one of that training, or
are what they copy.
"""


def split_rows(
    rows: SplitInput, settings: SplitSettings, quotas: dict[int, tuple[int, int]], key: str, leaks: Leaks
) -> NDArray[np.int8]:
    """The split of every row: 0 train, 1 validation, 2 test.

    quotas: wanted (validation, test) rows for each source index; a source without an entry gives none.
    A component goes out whole, in keyed order, while every source in it still wants that many rows. Components with a
    near-copy in training (as `leaks` tells) go to training and others take their place.
    Raises EmptySplit when rows were wanted and none can be held out.
    """
    labels = _components(rows)
    order = _component_order(labels, rows.ids, key)
    banned = np.zeros(len(labels), np.bool_)
    split = np.zeros(len(labels), np.int8)
    for attempt in range(_ROUNDS):
        before = split
        split = _hold_out(labels, order, rows.sources, quotas, banned, whole=settings.by == "task")
        leaking = _leaking(labels, before, split, leaks)
        if not len(leaking):
            break
        banned[leaking] = True
        if attempt == _ROUNDS - 1:
            split = _return_leaks(labels, split, leaking, leaks)
    _refuse_empty(split, quotas)
    return split


def _components(rows: SplitInput) -> I64:
    pairs = [same_key_pairs(keys) for keys in rows.keys]
    left = np.concatenate([pair[0] for pair in pairs]) if pairs else np.zeros(0, np.int64)
    right = np.concatenate([pair[1] for pair in pairs]) if pairs else np.zeros(0, np.int64)
    return components(len(rows.ids), left, right)


@dataclass(frozen=True, slots=True)
class _Components:
    """Components in keyed order of their least id, as three arrays: most have one row, and there are millions."""

    rows: I64
    bounds: I64
    """Rows of component c: rows[bounds[c]:bounds[c + 1]]."""
    order: I64


def _component_order(labels: I64, ids: U64, key: str) -> _Components:
    by_label = np.argsort(labels, kind="stable").astype(np.int64)
    starts = np.flatnonzero(np.diff(labels[by_label], prepend=-1))
    least = np.minimum.reduceat(ids[by_label], starts) if len(starts) else np.zeros(0, np.uint64)
    return _Components(by_label, np.append(starts, len(labels)).astype(np.int64), keyed_order(least, key, "split"))


def _hold_out(
    labels: I64,
    components: _Components,
    sources: NDArray[np.int32],
    quotas: dict[int, tuple[int, int]],
    banned: NDArray[np.bool_],
    whole: bool,
) -> NDArray[np.int8]:
    """banned: by label, the components that stay in training.  whole: a component may take more than is wanted."""
    wanted = np.zeros((3, 1 + max([0, *quotas, int(sources.max(initial=0))])), np.int64)
    for source, (validation, test) in quotas.items():
        wanted[[VALIDATION, TEST], source] = validation, test
    split = np.zeros(len(labels), np.int8)
    _take_out(
        components.rows, components.bounds, components.order, banned[labels[components.rows]], sources,
        int(wanted.sum()), wanted, np.zeros(wanted.shape[1], np.int64), whole, split,
    )  # fmt: skip
    return split


@kernel
def _take_out(rows, bounds, order, banned, sources, left, wanted, need, whole, split):  # type: ignore[no-untyped-def]
    """Put each component, in order, into the first of test and validation in which all its sources want it.

    banned: by place in `rows`.  wanted: (3, sources), what is left to take for each split, `left` in all; lowered.
    need: by source, 0.  split: by row, TRAIN; filled.
    """
    for one in order:
        if left == 0:
            break
        start, end = bounds[one], bounds[one + 1]
        if banned[start]:
            continue
        for place in range(start, end):
            need[sources[rows[place]]] += 1
        for target in (TEST, VALIDATION):
            fits = True
            for place in range(start, end):
                source = sources[rows[place]]
                fits &= wanted[target, source] >= (1 if whole else need[source])
            if fits:
                for place in range(start, end):
                    source = sources[rows[place]]
                    split[rows[place]] = target
                    taken = min(wanted[target, source], 1)
                    wanted[target, source] -= taken
                    left -= taken
                break
        for place in range(start, end):
            need[sources[rows[place]]] = 0


def _leaking(labels: I64, before: NDArray[np.int8], split: NDArray[np.int8], leaks: Leaks) -> I64:
    """Components to keep in training: those that leak, and those they leak from, which would leak in their place.

    Only what has changed since `before` is compared: rows that are held out now with all training, and those held out
    already, whose leaks were found then, with what has come back to training.
    """
    held, was = split != TRAIN, before != TRAIN
    found = np.zeros(len(split), np.bool_)
    for one, other in ((held & ~was, ~held), (held & was, was & ~held)):
        if one.any() and other.any():
            found |= leaks(np.flatnonzero(one).astype(np.int64), np.flatnonzero(other).astype(np.int64))
    return sorted_unique(labels[found])


def _return_leaks(labels: I64, split: NDArray[np.int8], leaking: I64, leaks: Leaks) -> NDArray[np.int8]:
    """Without replacement: leaking components go back to training until none is left."""
    while len(leaking):
        before, split = split, np.where(np.isin(labels, leaking), np.int8(TRAIN), split)
        leaking = _leaking(labels, before, split, leaks)
    return split


def _refuse_empty(split: NDArray[np.int8], quotas: dict[int, tuple[int, int]]) -> None:
    for code, name, place in ((VALIDATION, "validation", 0), (TEST, "test", 1)):
        wanted = sum(quota[place] for quota in quotas.values())
        if wanted and not (split == code).any():
            raise EmptySplit(
                f"split.{name}: {wanted} records were to be held out, but every candidate is tied by group, prompt or "
                f"similarity "
                f"to training; lower the share, raise split.similarity, or add records"
            )
    if len(split) and not (split == TRAIN).any():
        raise EmptySplit(
            "split: every record was held out and none is left to train on; lower split.validation and split.test"
        )


def share_quotas(counts: dict[int, int], settings: SplitSettings) -> dict[int, tuple[int, int]]:
    """Wanted (validation, test) rows of each source: the shares of its rows, rounded;
    at least 1 where a share of >= 20 rows is asked.
    """
    return {source: (_quota(n, settings.validation), _quota(n, settings.test)) for source, n in counts.items()}


def _quota(rows: int, share: float) -> int:
    return max(round(rows * share), 1 if share > 0 and rows >= 20 else 0)
