"""Connected components of rows that belong together."""

from __future__ import annotations

import numpy as np

from didact.curate.order import I64, U64, sorted_order
from didact.text.compiled import kernel


@kernel
def _join(labels, left, right):  # type: ignore[no-untyped-def]  # numba infers int64 arrays
    for k in range(left.size):
        a, b = left[k], right[k]
        while labels[a] != a:
            labels[a] = labels[labels[a]]
            a = labels[a]
        while labels[b] != b:
            labels[b] = labels[labels[b]]
            b = labels[b]
        if a < b:
            labels[b] = a
        else:
            labels[a] = b
    for i in range(labels.size):
        labels[i] = labels[labels[i]]


def components(rows: int, left: I64, right: I64) -> I64:
    """For each of `rows` rows, the least row it is connected to through the pairs (left[k], right[k]).

    Union by least label with path halving; since a label never exceeds its row, one pass from low to high settles all.

    >>> components(4, np.array([3]), np.array([1])).tolist()
    [0, 1, 2, 1]
    """
    labels = np.arange(rows, dtype=np.int64)
    _join(labels, left.astype(np.int64), right.astype(np.int64))
    return labels


def same_key_pairs(keys: U64) -> tuple[I64, I64]:
    """Pairs that connect all rows with the same key; key 0 connects nothing."""
    order = sorted_order(keys)
    ordered = keys[order]
    same = (ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)
    return order[:-1][same], order[1:][same]
