"""Pairs of answers as batches: both sides of a pair always lie in one batch, and so in one step.

Documents 2 p and 2 p + 1 of the shards are the preferred and the other side of pair p: the prompt, which carries no
weight, and the answer. A pair is packed like one document as long as both sides together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from didact.errors import DataError, NoTrainedTokens
from didact.model.batches import (
    ENTRY,
    Batch,
    BatchPlan,
    CutReport,
    Pieces,
    Policy,
    Shards,
    WithEpochs,
    cut_each,
    gather_batch,
    trained_targets,
)
from didact.model.validation import Labels

_PARTS = ("head", "start", "length")


@dataclass(frozen=True)
class PairShards:
    """Tokenised pairs, and what the reference model says of them.

    of: shards with two documents a pair. reference: (pairs, 2) float64, log-probabilities of the answers in nats.
    """

    of: Shards
    reference: NDArray[np.float64]

    @property
    def ids(self) -> NDArray[Any]:
        """Token ids."""
        return self.of.ids

    @property
    def weights(self) -> NDArray[Any]:
        """Loss weights."""
        return self.of.weights

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Where each document starts, and the end."""
        return self.of.bounds


@dataclass(frozen=True)
class LabelledPairShards(PairShards):
    """Pairs that know where they come from; see `validation.Labels`."""

    sources: NDArray[np.int32]
    source_names: list[str]


def with_reference(shards: Shards, reference: NDArray[np.float64]) -> PairShards:
    """Shards of pairs with the reference's log-probabilities; with their sources, if they have any."""
    if isinstance(shards, Labels):
        return LabelledPairShards(shards, reference, shards.sources, shards.source_names)
    return PairShards(shards, reference)


@dataclass(frozen=True)
class PairReport(CutReport):
    """What cutting did to the pairs: every count is of pairs, and `dropped_equal` of those whose sides are the same."""

    dropped_equal: int


class CutPairs(NamedTuple):
    """The pairs that are used and the parts of their sides.

    pieces: one entry a pair, `document` its number, `length` of both sides. sides: (3, documents) int64, head, start
    and length of every document of the shards as in `Pieces`, 0 where it has no part that fits.
    """

    pieces: Pieces
    sides: NDArray[np.int64]


@dataclass(frozen=True)
class PairBatch(Batch):
    """A batch of P whole pairs; `documents` are 2 p and 2 p + 1 in turn.

    reference: (P, 2) float64, log-probability of each side's answer under the reference model, in nats.
    """

    reference: NDArray[np.float64]

    @property
    def weight(self) -> float:
        """Number of pairs: what the loss sum is divided by."""
        return float(len(self.reference))


def cut_pairs(shards: Shards, context: int, policy: Policy) -> CutPairs:
    """Sides of at most `context` tokens; a pair is used when both have a trained token and they are not the same.

    Each side is cut as `cut_documents` does; `split` is no policy of pairs, and a pair of which `drop` leaves out one
    side is left out. Raises DataError under the policy `error`, NoTrainedTokens when no pair is left.
    """
    bounds = np.asarray(shards.bounds, np.int64)
    tokens = np.maximum(np.diff(bounds) - 1, 0)
    over = _either(tokens > context)
    if policy == "error" and over.any():
        worst = int(tokens.argmax())
        raise DataError(
            f"a side of pair {worst // 2} has {tokens[worst] + 1} tokens and {over.sum()} pairs exceed the context of "
            f"{context}; raise model.context or set over_long"
        )
    cut = cut_each(shards, bounds, tokens, context, policy)
    sides, trained = np.zeros((3, len(tokens)), np.int64), np.zeros(len(tokens), np.int64)
    sides[:, cut[0]] = cut[1:]
    trained[cut[0]] = trained_targets(shards, bounds, cut)
    fitting = ~_either(sides[2] == 0)
    learnable = fitting & ~_either(trained == 0)
    used = learnable & ~_equal(shards, bounds, sides, learnable)
    if not used.any():
        raise NoTrainedTokens(
            f"none of {len(used)} pairs has two different answers within a context of {context}; look at the mix with "
            "`didact preview`, or raise model.context"
        )
    pairs = np.flatnonzero(used)
    length = sides[2].reshape(-1, 2).sum(1)
    empty = _either(tokens == 0)
    losses = (int((~fitting & ~empty).sum()), int((fitting & ~learnable).sum()), int((~fitting & empty).sum()))
    report = _report(shards, tokens, length, over, used, int(trained.reshape(-1, 2)[used].sum()), losses)
    zero = np.zeros_like(pairs)
    return CutPairs(Pieces(pairs, zero, zero, length[pairs], report), sides)


def _either(of_documents: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether something holds for one side of each pair."""
    return of_documents[::2] | of_documents[1::2]


def _report(
    shards: Shards,
    tokens: NDArray[np.int64],
    length: NDArray[np.int64],
    over: NDArray[np.bool_],
    used: NDArray[np.bool_],
    trained: int,
    losses: tuple[int, int, int],
) -> PairReport:
    """Account for every pair; losses: those over-long, untrained, empty. What is left of the others is equal."""
    repeats = np.asarray(shards.epochs)[::2] > 0 if isinstance(shards, WithEpochs) else np.zeros(len(used), np.bool_)
    fed = int(length[used].sum())
    return PairReport(
        documents=len(used),
        whole=int((used & ~over).sum()),
        split=0,
        truncated=int((used & over).sum()),
        dropped_over_long=losses[0],
        dropped_untrained=losses[1],
        dropped_empty=losses[2],
        tokens=fed,
        trained_tokens=trained,
        lost_tokens=int(tokens.sum()) - fed,
        split_tokens=0,
        truncated_tokens=int(length[used & over].sum()),
        repeated=int(repeats[used].sum()),
        repeated_tokens=int(length[used & repeats].sum()),
        dropped_equal=len(used) - int(used.sum()) - sum(losses),
    )


def _equal(
    shards: Shards, bounds: NDArray[np.int64], sides: NDArray[np.int64], among: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which pairs have the same tokens on both sides, as those of a record with one answer: they teach nothing."""

    def side(document: int) -> NDArray[Any]:
        head, start, length = sides[:, document]
        ids = shards.ids[bounds[document] : bounds[document + 1]]
        return np.concatenate([ids[:head], ids[start : start + length - head + 1]])

    equal = np.zeros(len(among), np.bool_)
    for pair in np.flatnonzero(among & (sides[2, ::2] == sides[2, 1::2])).tolist():
        equal[pair] = np.array_equal(side(2 * pair), side(2 * pair + 1))
    return equal


class PairPlan(BatchPlan):
    """Steps of whole pairs. `context` bounds one side; a row holds up to twice as much.

    reference: (pairs, 2) of all pairs of the shards; none while the reference model itself is asked.
    """

    def __init__(
        self,
        shards: Shards,
        context: int,
        batch_tokens: int,
        micro_tokens: int,
        policy: Policy,
        seed: int,
        reference: NDArray[np.float64] | None = None,
    ) -> None:
        self.cut = cut_pairs(shards, context, policy)
        self.reference = np.zeros((len(shards.bounds) // 2, 2)) if reference is None else reference
        super().__init__(shards, 2 * context, batch_tokens, micro_tokens, policy, seed)

    def _cut(self, policy: Policy) -> Pieces:
        del policy
        return self.cut.pieces

    def _phase_of(self, documents: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return super()._phase_of(2 * documents)

    def _gather(self, entries: NDArray[np.void], epoch: int) -> PairBatch:
        del epoch
        pairs = entries["document"]
        sides = np.zeros(2 * len(pairs), ENTRY)
        sides["document"] = np.stack([2 * pairs, 2 * pairs + 1], 1).ravel()
        for name, part in zip(_PARTS, self.cut.sides, strict=True):
            sides[name] = part[sides["document"]]
        batch = gather_batch(self.shards, sides)
        return PairBatch(**{f.name: getattr(batch, f.name) for f in fields(batch)}, reference=self.reference[pairs])
