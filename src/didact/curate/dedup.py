"""Deduplicate: equal contents, and clusters of near ones formed around the member that stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from didact.curate.order import I64, U64, sorted_order
from didact.text.compiled import kernel


@dataclass(frozen=True, slots=True)
class Pairs:
    """Verified near-duplicate pairs: rows left[k] and right[k] have the similarity similarity[k]."""

    left: I64
    right: I64
    similarity: NDArray[np.float64]


def exact_duplicates(keys: U64) -> tuple[I64, I64]:
    """Rows whose (rows, 2) 128-bit key occurred before, and for each the first row that has it.

    >>> exact_duplicates(np.array([[1, 1], [2, 2], [1, 1]], np.uint64))[0].tolist()
    [2]
    """
    order = sorted_order(keys[:, 0])
    ordered = keys[order]
    alike, same = (ordered[1:] == ordered[:-1]).T
    if (alike & ~same).any():
        order = np.lexsort((np.arange(len(keys)), keys[:, 1], keys[:, 0]))
        ordered = keys[order]
        alike, same = (ordered[1:] == ordered[:-1]).T
    repeated = np.concatenate([[False], alike & same])
    first = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(keys)))) if len(keys) else np.zeros(0, np.int64)
    twins = np.flatnonzero(repeated)
    by_row = np.argsort(order[twins], kind="stable")
    return order[twins][by_row].astype(np.int64), order[first[twins]][by_row].astype(np.int64)


@kernel
def _claim(order, starts, neighbours, similarities, settled, keeper, similarity):  # type: ignore[no-untyped-def]
    """settled, keeper, similarity: by row, all False, -1 and 0; filled."""
    for k in range(order.size):
        row = order[k]
        if keeper[row] >= 0:
            continue
        settled[row] = True
        for p in range(starts[row], starts[row + 1]):
            other = neighbours[p]
            if not settled[other] and keeper[other] < 0:
                keeper[other] = row
                similarity[other] = similarities[p]


def keep_best(rows: int, pairs: Pairs, ranking: I64) -> tuple[I64, I64, NDArray[np.float64]]:
    """Dropped rows, the kept row each is a near-duplicate of, and their similarity.

    ranking: all rows, the one to keep first. Rows are visited in that order;
    a row that nobody claimed is kept and claims its direct
    neighbours. So every dropped row was compared with the row kept in its place: there is no chain of look-alikes.
    """
    left, right = np.concatenate([pairs.left, pairs.right]), np.concatenate([pairs.right, pairs.left])
    order = np.lexsort((right, left))
    starts = np.searchsorted(left[order], np.arange(rows + 1)).astype(np.int64)
    similarity = np.concatenate([pairs.similarity, pairs.similarity])[order]
    keeper, strength = np.full(rows, -1, np.int64), np.zeros(rows, np.float64)
    settled = np.zeros(rows, np.bool_)
    _claim(ranking.astype(np.int64), starts, right[order].astype(np.int64), similarity, settled, keeper, strength)
    dropped = np.flatnonzero(keeper >= 0)
    return dropped.astype(np.int64), keeper[dropped], strength[dropped]
