"""Keyed orders: every reproducible random choice among records, as arithmetic on their ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from didact.canonical import keyed_hash

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


def mixed(values: U64, key: int) -> U64:
    """Each value scrambled under a key: splitmix64's finaliser (Steele, Lea & Flood 2014), a bijection for any key.

    Library-independent, so that an order is the same with every version of NumPy.
    """
    with np.errstate(over="ignore"):
        state = values ^ np.uint64(key)
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


def keyed_order(ids: U64, key: str, *parts: str) -> I64:
    """A permutation of the rows that depends on their ids and the key only; rows with equal ids keep their order.

    Adding or removing a row leaves the order of the others as it was.
    """
    return np.argsort(mixed(ids, keyed_hash(key, *parts)), kind="stable").astype(np.int64)
