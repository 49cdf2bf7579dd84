"""What a loss is worth: the loss of counting, by n-gram models of the same tokens.

Interpolated by Witten and Bell's method C (The zero-frequency problem, IEEE Trans. Inf. Theory 37, 1991): a context
that was seen c times before t different tokens gives its counts c / (c + t) of the say, and t / (c + t) to the context
one token shorter; the shortest has all tokens alike behind it. Nothing is tuned, and every token has a probability.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from didact.canonical import keyed_hash
from didact.curate.order import I64, U64, mixed

_KEYS = tuple(keyed_hash("ngram", str(place)) for place in range(16))


class Targets(NamedTuple):
    """Tokens to predict. ids: (T,), the token before each.  positions: (T,), how many of its document are before that.

    tokens: (n,), those to predict.  places: (n,), where in `ids` each of them follows.
    """

    ids: NDArray[Any]
    positions: I64
    tokens: I64
    places: I64


class _Counts(NamedTuple):
    """Contexts of one length, sorted by key: how often each was seen, and before how many different tokens."""

    contexts: U64
    seen: I64
    different: I64
    pairs: U64
    """Keys of contexts with the token behind them, sorted."""
    pairs_seen: I64


class Ngrams:
    """Counts of a training text, for contexts of 0 to order - 1 tokens within a document.

    Memory: at most 48 bytes for each trained token and order. Contexts are told apart by 64-bit hashes; of ten million,
    two agree with a chance of 3 in a million.
    """

    def __init__(self, trained: Targets, vocab_size: int, order: int) -> None:
        self.vocab_size = vocab_size
        self.counts = [_counted(keys, trained.tokens) for keys in _contexts(trained, order)]

    def probabilities(self, wanted: Targets, order: int | None = None) -> NDArray[np.float64]:
        """The probability of each wanted token, (n,), by contexts of up to `order` - 1 tokens."""
        order = len(self.counts) if order is None else order
        found = np.full(len(wanted.tokens), 1 / self.vocab_size)
        for counts, keys in zip(self.counts[:order], _contexts(wanted, order), strict=True):
            seen = _at(counts.contexts, counts.seen, keys)
            different = _at(counts.contexts, counts.different, keys)
            pair = _at(counts.pairs, counts.pairs_seen, _with_token(keys, wanted.tokens))
            known = seen > 0
            found[known] = ((pair + different * found) / np.maximum(seen + different, 1))[known]
        return found


def _contexts(targets: Targets, order: int) -> list[U64]:
    """Key of the context before each token, for each length below `order`; a document's border is a token too."""
    keys = [np.zeros(len(targets.tokens), np.uint64)]
    for back in range(order - 1):
        there = targets.positions[targets.places] >= back
        before = np.where(there, targets.ids[targets.places - np.where(there, back, 0)].astype(np.int64) + 1, 0)
        keys.append(mixed(keys[-1] ^ mixed(before.astype(np.uint64), _KEYS[0]), _KEYS[back + 1]))
    return keys


def _with_token(keys: U64, tokens: I64) -> U64:
    return mixed(keys ^ mixed(tokens.astype(np.uint64), _KEYS[-1]), _KEYS[-2])


def _counted(keys: U64, tokens: I64) -> _Counts:
    pairs, first, pairs_seen = np.unique(_with_token(keys, tokens), return_index=True, return_counts=True)
    contexts, which = np.unique(keys[first], return_inverse=True)
    seen = np.bincount(which, pairs_seen, len(contexts)).astype(np.int64)
    return _Counts(contexts, seen, np.bincount(which, minlength=len(contexts)).astype(np.int64), pairs, pairs_seen)


def _at(sorted_keys: U64, values: I64, keys: U64) -> I64:
    """The value of each key, 0 for those that are not there."""
    if not len(sorted_keys):
        return np.zeros(len(keys), np.int64)
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.where(sorted_keys[place] == keys, values[place], 0)
