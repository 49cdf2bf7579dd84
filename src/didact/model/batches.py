"""From token shards to batches: cut documents into pieces, pack pieces into rows, take rows for a step.

The plan of an epoch is a pure function of (seed, epoch, pieces), and a step is a number of rows of it, so a run's whole
position in its data is one integer. Nothing is discarded unseen: what does not fit is split, or counted under its
policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from didact.durable import write_with
from didact.errors import DataError, NoTrainedTokens

Policy = Literal["split", "drop", "error", "head", "tail"]

ENTRY = np.dtype([("row", "<i8"), ("document", "<i8"), ("start", "<i8"), ("length", "<i8")])
"""One piece in a plan: its row, its document, where it starts there, and how many tokens it feeds in."""


class Shards(Protocol):
    """Tokenised documents, one after the other; `TokenShards` is one.

    ids: (tokens,). weights: (tokens,), the loss weight of each token as a target. bounds: (documents + 1,) int64.
    """

    @property
    def ids(self) -> NDArray[Any]:
        """Token ids."""

    @property
    def weights(self) -> NDArray[Any]:
        """Loss weights."""

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Where each document starts, and the end."""


@dataclass(frozen=True)
class CutReport:
    """What cutting did to the documents: each is whole, split, truncated or not used, for one of three reasons."""

    documents: int
    whole: int
    split: int
    truncated: int
    dropped_over_long: int
    dropped_untrained: int
    dropped_empty: int
    tokens: int
    trained_tokens: int
    lost_tokens: int


@dataclass(frozen=True)
class Pieces:
    """Stretches of documents that fit the context: `length` tokens from `start` go in, each predicts the next."""

    document: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    report: CutReport


def _chunks(document: NDArray[np.int64], pairs: NDArray[np.int64], context: int) -> tuple[NDArray[np.int64], ...]:
    """Split each document into stretches of at most `context`; all but a document's last are full."""
    count = -(-pairs // context)
    index = np.repeat(np.arange(len(document)), count)
    start = (np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)) * context
    return document[index], start, np.minimum(pairs[index] - start, context)


def cut_documents(shards: Shards, context: int, policy: Policy) -> Pieces:
    """Stretches of at most `context` tokens, each with at least one trained target; what is left out is counted.

    A document of n tokens has n - 1 pairs of a token and its successor. Longer than the context: `split` keeps every
    pair in consecutive pieces, `head` and `tail` keep one end, `drop` leaves the document out, `error` raises
    DataError. Raises NoTrainedTokens when nothing with a trained target is left.
    """
    bounds = np.asarray(shards.bounds, np.int64)
    pairs = np.maximum(np.diff(bounds) - 1, 0)
    over = pairs > context
    if policy == "error" and over.any():
        worst = int(pairs.argmax())
        raise DataError(
            f"document {worst} has {pairs[worst] + 1} tokens and {over.sum()} exceed the context of {context}; "
            "raise model.context or set over_long"
        )
    usable = np.flatnonzero((pairs > 0) & ~(over & (policy == "drop")))
    if policy == "split":
        document, start, length = _chunks(usable, pairs[usable], context)
    else:
        document, length = usable, np.minimum(pairs[usable], context)
        start = pairs[usable] - length if policy == "tail" else np.zeros_like(usable)
    trained = _trained_targets(shards, bounds[document] + start + 1, length)
    kept = trained > 0
    if not kept.any():
        raise NoTrainedTokens(
            f"none of {len(pairs)} documents has a trained token within a context of {context}; look at the mix "
            "with `didact preview`"
        )
    report = _cut_report(pairs, over, policy, document, length, trained)
    return Pieces(document[kept], start[kept], length[kept], report)


def _trained_targets(shards: Shards, first: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of targets with a weight above zero in each stretch."""
    if len(first) == 0:
        return np.zeros(0, np.int64)
    running = np.concatenate([[0], np.cumsum(np.asarray(shards.weights) > 0)])
    return running[first + length] - running[first]


def _cut_report(
    pairs: NDArray[np.int64],
    over: NDArray[np.bool_],
    policy: Policy,
    document: NDArray[np.int64],
    length: NDArray[np.int64],
    trained: NDArray[np.int64],
) -> CutReport:
    """Account for every document and every pair."""
    kept = trained > 0
    used = np.unique(document[kept])
    used_over = int(over[used].sum())
    dropped = int(over.sum()) if policy == "drop" else 0
    return CutReport(
        documents=len(pairs),
        whole=len(used) - used_over,
        split=used_over if policy == "split" else 0,
        truncated=0 if policy == "split" else used_over,
        dropped_over_long=dropped,
        dropped_untrained=int((pairs > 0).sum()) - dropped - len(used),
        dropped_empty=int((pairs == 0).sum()),
        tokens=int(length[kept].sum()),
        trained_tokens=int(trained.sum()),
        lost_tokens=int(pairs.sum() - length[kept].sum()),
    )


def _key_order(seed: int, epoch: int, purpose: int, count: int) -> NDArray[np.int64]:
    """A permutation that only depends on its key; raw Philox words, whose values numpy guarantees across versions."""
    words = np.array([seed & 0xFFFFFFFFFFFFFFFF, (epoch << 8) | purpose], np.uint64)
    return np.argsort(np.random.Philox(key=words).random_raw(count), kind="stable")


@dataclass(frozen=True)
class PackingPlan:
    """The rows of one epoch in training order; `entries` are sorted by row, `rows` are bounds into them."""

    entries: NDArray[np.void]
    rows: NDArray[np.int64]

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of the entries, by which a resumed run proves that it follows the same plan."""
        return hashlib.sha256(self.entries.tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the entries as a .npy file, whole or not at all."""
        write_with(path, self._write)

    def _write(self, aside: Path) -> None:
        with aside.open("wb") as handle:
            np.save(handle, self.entries, allow_pickle=False)


def pack_epoch(pieces: Pieces, context: int, seed: int, epoch: int) -> PackingPlan:
    """Put every piece into exactly one row of at most `context` tokens, by best fit over the whole epoch.

    Pieces of one length are taken in an order keyed by (seed, epoch), and so are the finished rows. The number of rows
    is the same in every epoch, since it depends on the lengths alone.
    """
    from didact.model.packing import best_fit

    keyed = _key_order(seed, epoch, 0, len(pieces.length))
    order = keyed[np.argsort(-pieces.length[keyed], kind="stable")]
    row = best_fit(pieces.length[order], context)
    count = int(row.max()) + 1
    place = np.empty(count, np.int64)
    place[_key_order(seed, epoch, 1, count)] = np.arange(count)
    row = place[row]
    by_row = np.argsort(row, kind="stable")
    entries = np.empty(len(order), ENTRY)
    entries["row"] = row[by_row]
    for name in ("document", "start", "length"):
        entries[name] = getattr(pieces, name)[order[by_row]]
    return PackingPlan(entries, np.searchsorted(entries["row"], np.arange(count + 1)))


@dataclass(frozen=True)
class Batch:
    """Whole rows of a plan laid end to end without padding: N tokens of D document pieces.

    ids, targets, positions: (N,) int64; positions start at 0 in each piece. weights: (N,) float32, of each target.
    lengths, documents: (D,) int64, the pieces in order. A model that isolates pieces needs no rows: those only bound
    the batch's size.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    positions: NDArray[np.int64]
    lengths: NDArray[np.int64]
    documents: NDArray[np.int64]

    @property
    def all_trained(self) -> bool:
        """Whether every token has a target that carries loss."""
        return bool((self.weights > 0).all())

    @property
    def weight(self) -> float:
        """Sum of the weights: what the loss sum is divided by."""
        return float(self.weights.sum(dtype=np.float64))


def gather_batch(shards: Shards, entries: NDArray[np.void]) -> Batch:
    """Read the tokens of some plan entries."""
    lengths = entries["length"].astype(np.int64)
    positions = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    first = np.asarray(shards.bounds)[entries["document"]] + entries["start"]
    place = np.repeat(first, lengths) + positions
    return Batch(
        ids=shards.ids[place].astype(np.int64),
        targets=shards.ids[place + 1].astype(np.int64),
        weights=np.asarray(shards.weights[place + 1], np.float32),
        positions=positions,
        lengths=lengths,
        documents=entries["document"].astype(np.int64),
    )


class BatchPlan:
    """All steps of a training run over some shards: `step(n)` is the same whenever and wherever it is asked for."""

    def __init__(
        self, shards: Shards, context: int, batch_tokens: int, micro_tokens: int, policy: Policy, seed: int
    ) -> None:
        self.shards, self.context, self.seed = shards, context, seed
        self.pieces = cut_documents(shards, context, policy)
        self.rows_per_step = max(1, batch_tokens // context)
        self.rows_at_once = max(1, min(batch_tokens, micro_tokens) // context)
        self.rows = len(self.epoch(0).rows) - 1
        self.steps_per_epoch = -(-self.rows // self.rows_per_step)

    @lru_cache(maxsize=2)  # noqa: B019 - a plan lives as long as its run, and holds two epochs at most
    def epoch(self, epoch: int) -> PackingPlan:
        """The packing of one epoch."""
        return pack_epoch(self.pieces, self.context, self.seed, epoch)

    def plan_of(self, step: int) -> PackingPlan:
        """The packing of the epoch that a step belongs to."""
        return self.epoch(step // self.steps_per_epoch)

    @property
    def tokens_per_step(self) -> float:
        """Mean number of tokens fed in per step."""
        return self.pieces.report.tokens / self.steps_per_epoch

    def step(self, step: int, share: Callable[[range], range] | None = None) -> list[Batch]:
        """Batches of one optimiser step, together its rows, or a share of them; step 0 is the first of epoch 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        plan = self.epoch(epoch)
        rows = range(place * self.rows_per_step, min((place + 1) * self.rows_per_step, self.rows))
        return list(self._batches(plan, rows if share is None else share(rows)))

    def _batches(self, plan: PackingPlan, rows: range) -> Iterator[Batch]:
        for first in range(rows.start, rows.stop, self.rows_at_once):
            yield self._rows(plan, first, min(first + self.rows_at_once, rows.stop))

    def _rows(self, plan: PackingPlan, first: int, last: int) -> Batch:
        return gather_batch(self.shards, plan.entries[plan.rows[first] : plan.rows[last]])

    def first_rows(self, tokens: int) -> list[Batch]:
        """Batches of the first rows of epoch 0, about `tokens` tokens in all: a fixed sample for validation."""
        wanted = min(self.rows, max(1, -(-tokens * self.rows // self.pieces.report.tokens)))
        return list(self._batches(self.epoch(0), range(wanted)))

    def report(self) -> dict[str, Any]:
        """Counts of the cutting, and how full the rows are (the rest of a row is left out, not padded)."""
        return asdict(self.pieces.report) | {
            "pieces": len(self.pieces.length),
            "rows": self.rows,
            "filled_share": self.pieces.report.tokens / (self.rows * self.context),
            "steps_per_epoch": self.steps_per_epoch,
        }
