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


def sorted_order(keys: U64) -> I64:
    """The rows in order of their keys, equal keys in the order of their rows: a stable argsort.

    NumPy sorts plain words ten times as fast as it finds the order of some. So the high bits of each key are sorted
    with its row in the low ones, and the few runs of rows whose keys differ only below are put in order afterwards.
    """
    bits = np.uint64(max(1, (len(keys) - 1).bit_length()))
    low = (np.uint64(1) << bits) - np.uint64(1)
    packed = (keys & ~low) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    order = (packed & low).astype(np.int64)
    found = keys[order]
    wrong = np.flatnonzero(found[1:] < found[:-1])
    high = packed >> bits
    starts = np.unique(np.searchsorted(high, high[wrong], side="left"))
    for start, end in zip(starts, np.searchsorted(high, high[starts], side="right"), strict=True):
        order[start:end] = order[start:end][np.argsort(found[start:end], kind="stable")]
    return order


def sorted_unique(values: I64) -> I64:
    """The values in order, each once; by sorting, which is several times as fast as the hash table of `np.unique`."""
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def among(values: U64, others: U64) -> NDArray[np.bool_]:
    """Whether each value is one of the others; by sorting these, which takes `np.isin` a hash table."""
    ordered = np.sort(others)
    return np.searchsorted(ordered, values, side="left") < np.searchsorted(ordered, values, side="right")


def keyed_order(ids: U64, key: str, *parts: str) -> I64:
    """A permutation of the rows that depends on their ids and the key only; rows with equal ids keep their order.

    Adding or removing a row leaves the order of the others as it was.
    """
    return sorted_order(mixed(ids, keyed_hash(key, *parts)))
