"""Which record of one version is which of another: by content, else by the author's identifier, else by place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from didact.curate.order import I64, U64, mixed
from didact.store.holdings import Holdings


@dataclass(frozen=True, slots=True)
class Pairing:
    """Records of two versions that are the same one, and those without a partner, as indices into both holdings."""

    old: I64
    new: I64
    """Pairs: `old[k]` became `new[k]`."""
    removed: I64
    added: I64


def pair(old: Holdings, new: Holdings) -> Pairing:
    """Pair the records of two versions, each with at most one.

    First those with equal content (at the same place, then anywhere: rows move when one is inserted above them), then
    of the rest those with the same author's identifier, then those from the same place of the same file.
    """
    state = _Free(old, new)
    state.take(old.places ^ mixed(old.ids[:, 0], 2), new.places ^ mixed(new.ids[:, 0], 2), same_id=True)
    state.take(old.ids[:, 0], new.ids[:, 0], same_id=True)
    state.take(_single(old.keys, state.left), _single(new.keys, state.right))
    state.take(old.places, new.places)
    return state.pairing()


class _Free:
    """Records that have no partner yet, and the pairs found so far."""

    def __init__(self, old: Holdings, new: Holdings) -> None:
        self.old, self.new = old, new
        self.left, self.right = np.ones(len(old), np.bool_), np.ones(len(new), np.bool_)
        self.found: list[tuple[I64, I64]] = []

    def take(self, old: U64, new: U64, same_id: bool = False) -> None:
        """Pair free records of equal, non-zero value."""
        left, right = np.flatnonzero(self.left & (old != 0)), np.flatnonzero(self.right & (new != 0))
        a, b = matched(old[left], new[right])
        a, b = left[a], right[b]
        if same_id:
            # The values are half an id: whole ids decide.
            equal = (self.old.ids[a] == self.new.ids[b]).all(axis=1)
            a, b = a[equal], b[equal]
        self.left[a] = self.right[b] = False
        self.found.append((a, b))

    def pairing(self) -> Pairing:
        old, new = (np.concatenate([pairs[side] for pairs in self.found]) for side in (0, 1))
        order = np.argsort(new, kind="stable")
        return Pairing(old[order], new[order], np.flatnonzero(self.left), np.flatnonzero(self.right))


def matched(left: U64, right: U64) -> tuple[I64, I64]:
    """Places of equal values, one to one: the n-th of a value on one side goes with the n-th on the other.

    >>> [places.tolist() for places in matched(np.array([7, 5, 7], np.uint64), np.array([7, 9, 7, 7], np.uint64))]
    [[0, 2], [0, 2]]
    """
    _, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
    a, b = _numbered(codes[: len(left)]), _numbered(codes[len(left) :])
    width = np.int64(max(len(left), len(right)) + 1)
    a, b = codes[: len(left)] * width + a, codes[len(left) :] * width + b
    _, first, second = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    return first.astype(np.int64), second.astype(np.int64)


def _numbered(codes: I64) -> I64:
    """For each code how often it occurred before."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(codes)]
    start = np.maximum.accumulate(np.where(begins, np.arange(len(codes)), 0)) if len(codes) else order
    numbers = np.empty(len(codes), np.int64)
    numbers[order] = np.arange(len(codes)) - start
    return numbers


def _single(keys: U64, free: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> U64:
    """The keys that one free record has; 0 elsewhere, since a key that several share names none of them."""
    values, inverse, counts = np.unique(np.where(free, keys, 0), return_inverse=True, return_counts=True)
    del values
    return np.where(free & (counts[inverse] == 1), keys, np.uint64(0))
