"""The masked-token objective (BERT, Devlin et al. 2019): name the tokens that are hidden, from both sides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from didact.canonical import content_hash
from didact.model.batches import Batch, BatchPlan, Policy, Shards
from didact.model.documents import DocumentPlan, gather_tokens
from didact.model.loss import batch_loss
from didact.model.transformer import Decoder
from didact.model.validation import Labels, Measured, measure
from didact.model.world import World

HIDDEN, REPLACED = 0.8, 0.1
"""Of the chosen tokens: share shown as the mask, share shown as a random token; the rest is shown as it is."""

U64 = NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def scrambled(words: U64) -> U64:
    """SplitMix64's output function (Steele et al. 2014) of each word: a bijection whose bits look random."""
    with np.errstate(over="ignore"):
        x = words + _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Alphabet:
    """What of a vocabulary may be hidden or shown instead.

    ordinary: (vocabulary,) bool, tokens with text of their own, not reserved ones. mask: the id that hides.
    """

    ordinary: NDArray[np.bool_]
    mask: int

    @property
    def stand_ins(self) -> NDArray[np.int64]:
        """Ids that may be shown instead of a token."""
        return np.flatnonzero(self.ordinary)


class MaskedPlan(DocumentPlan):
    """Steps whose hidden tokens are a pure function of (seed, epoch, document, place in it)."""

    def __init__(
        self,
        shards: Shards,
        context: int,
        batch_tokens: int,
        micro_tokens: int,
        policy: Policy,
        seed: int,
        alphabet: Alphabet,
        share: float,
    ) -> None:
        self.alphabet, self.share = alphabet, share
        self._stand_ins = alphabet.stand_ins
        super().__init__(shards, context, batch_tokens, micro_tokens, policy, seed)

    def _targets(
        self, first: NDArray[np.int64], document: NDArray[np.int64], length: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        del document
        running = np.concatenate([[0], np.cumsum(self.alphabet.ordinary[self.shards.ids[:]])])
        return self._wanted(running[first + length] - running[first])

    def _wanted(self, ordinary: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of so many ordinary tokens are targets: the share, and one at least where there is any."""
        return np.where(ordinary > 0, np.maximum(1, np.rint(self.share * ordinary)), 0).astype(np.int64)

    def _gather(self, entries: NDArray[np.void], epoch: int) -> Batch:
        batch = gather_tokens(self.shards, entries)
        piece = np.repeat(np.arange(len(entries)), batch.lengths)
        place = np.repeat(entries["start"], batch.lengths) + batch.positions
        drawn = _drawn(self.seed, epoch, np.repeat(entries["document"], batch.lengths), place)
        chosen = self._chosen(batch.ids, piece, drawn)
        kind = scrambled(drawn) / 2.0**64
        stand_in = self._stand_ins[scrambled(scrambled(drawn)) % np.uint64(len(self._stand_ins))]
        shown = np.where(kind < HIDDEN, self.alphabet.mask, np.where(kind < HIDDEN + REPLACED, stand_in, batch.ids))
        return replace(batch, ids=np.where(chosen, shown, batch.ids), weights=chosen.astype(np.float32))

    def _chosen(self, ids: NDArray[np.int64], piece: NDArray[np.int64], drawn: U64) -> NDArray[np.bool_]:
        """Of each piece, the wanted number of ordinary tokens: those with the least draws."""
        ordinary = self.alphabet.ordinary[ids]
        order = np.lexsort((drawn, ~ordinary, piece))
        first = np.searchsorted(piece, np.arange(piece[-1] + 1))
        rank = np.empty(len(ids), np.int64)
        rank[order] = np.arange(len(ids)) - np.repeat(first, np.bincount(piece))
        wanted = self._wanted(np.bincount(piece, ordinary).astype(np.int64))
        return ordinary & (rank < wanted[piece])


def _drawn(seed: int, epoch: int, document: NDArray[np.int64], place: NDArray[np.int64]) -> U64:
    """A word for each token, from its key alone."""
    key = np.uint64(int(content_hash(["masked", seed, epoch])[:16], 16))
    return scrambled(scrambled(document.astype(np.uint64) ^ key) ^ place.astype(np.uint64))


class MaskedTokens:
    """Name each hidden token from all others of its document."""

    unit = "hidden token"

    def __init__(self, alphabet: Alphabet, share: float) -> None:
        self.alphabet, self.share = alphabet, share

    def plan(
        self, shards: Shards, context: int, batch_tokens: int, micro_tokens: int, policy: Policy, seed: int
    ) -> BatchPlan:
        """Packed pieces of documents with some tokens hidden."""
        return MaskedPlan(shards, context, batch_tokens, micro_tokens, policy, seed, self.alphabet, self.share)

    def loss(self, model: Decoder, batch: Batch) -> Tensor:
        """Cross entropy of the hidden tokens."""
        return batch_loss(model, batch)

    def measure(self, model: Decoder, batches: list[Batch], labels: Labels | None, world: World | None) -> Measured:
        """Mean cross entropy, in all and by source."""
        return measure(model, batches, labels, world)
