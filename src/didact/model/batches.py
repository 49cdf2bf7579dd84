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
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from didact.durable import write_with
from didact.errors import DataError, NoTrainedTokens
from didact.model.whole_turns import keep_turns
from didact.render.dialogue import Turns

Policy = Literal["split", "drop", "error", "head", "tail", "turns", "first_turns"]

_FIELDS = ("document", "head", "start", "length")
ENTRY = np.dtype([(name, "<i8") for name in ("row", *_FIELDS)])
"""One piece in a plan: its row, its document, how many tokens it feeds in (`length`), and which: the document's first
`head` ones, the others from `start` on."""


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


@runtime_checkable
class WithTurns(Protocol):
    """Shards of dialogues that know where turns begin."""

    @property
    def turns(self) -> Turns | None:
        """Where turns begin; None for plain text."""


@runtime_checkable
class WithEpochs(Protocol):
    """Shards that know which documents the mix repeats."""

    @property
    def epochs(self) -> NDArray[Any]:
        """(documents,), how often each document was there before."""


@runtime_checkable
class WithPhases(Protocol):
    """Shards of a curriculum."""

    @property
    def phase_names(self) -> list[str]:
        """The phases in training order; none where the mix has none."""

    @property
    def phase_bounds(self) -> NDArray[np.int64]:
        """(phases + 1,), at which document each begins, and the end."""


@dataclass(frozen=True)
class CutReport:
    """What cutting did to the documents: each is whole, split, truncated or not used, for one of three reasons.

    Tokens are those fed in, of all documents, of split ones, of truncated ones and of those the mix repeats;
    `lost_tokens` could have been, and were cut off or stand in documents not used.
    """

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
    split_tokens: int
    truncated_tokens: int
    repeated: int
    repeated_tokens: int


@dataclass(frozen=True)
class Pieces:
    """Parts of documents that fit the context: `length` tokens go in, each predicts the next.

    They are the document's first `head` tokens (0 but where turns in between were left out) and those from `start` on.
    """

    document: NDArray[np.int64]
    head: NDArray[np.int64]
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
    pair in consecutive pieces, `head` and `tail` keep one end, `turns` keeps the system prompt and the last whole turns
    that fit, `first_turns` the first ones, `drop` leaves the document out, `error` raises DataError. Raises
    NoTrainedTokens when nothing with a trained target is left.
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
    cut = cut_each(shards, bounds, pairs, context, policy)
    trained = trained_targets(shards, bounds, cut)
    kept = trained > 0
    if not kept.any():
        raise NoTrainedTokens(
            f"none of {len(pairs)} documents has a trained token within a context of {context}; look at the mix "
            "with `didact preview`"
        )
    document, head, start, length = cut[:, kept]
    return Pieces(document, head, start, length, cut_report(shards, pairs, over, policy, cut, trained))


def cut_each(
    shards: Shards, bounds: NDArray[np.int64], pairs: NDArray[np.int64], context: int, policy: Policy
) -> NDArray[np.int64]:
    """(4, n): document, head, start and length of n parts, trained or not."""
    if policy in ("turns", "first_turns"):
        return _cut_by_turns(shards, bounds, pairs, context, policy)
    usable = np.flatnonzero((pairs > 0) & ((pairs <= context) | (policy != "drop")))
    if policy == "split":
        document, start, length = _chunks(usable, pairs[usable], context)
    else:
        document, length = usable, np.minimum(pairs[usable], context)
        start = pairs[usable] - length if policy == "tail" else np.zeros_like(usable)
    return np.stack([document, np.zeros_like(document), start, length])


def _cut_by_turns(
    shards: Shards, bounds: NDArray[np.int64], pairs: NDArray[np.int64], context: int, policy: Policy
) -> NDArray[np.int64]:
    turns = shards.turns if isinstance(shards, WithTurns) else None
    if turns is None:
        raise DataError(f"over_long: {policy} is for conversations, and these documents have no turns; use split")
    over, fitting = np.flatnonzero(pairs > context), np.flatnonzero((pairs > 0) & (pairs <= context))
    head, start, stop = keep_turns(policy, turns, shards.weights, bounds, over, context).T
    some = stop > 0
    zero = np.zeros_like(fitting)
    columns = (
        (fitting, over[some]),
        (zero, head[some]),
        (zero, start[some]),
        (pairs[fitting], (head + stop - start - 1)[some]),
    )
    cut = np.stack([np.concatenate(column) for column in columns])
    return cut[:, np.argsort(cut[0], kind="stable")]


def trained_targets(shards: Shards, bounds: NDArray[np.int64], cut: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of targets with a weight above zero in each part; the target of a head's last token is at `start`."""
    document, head, start, length = cut
    running = np.concatenate([[0], np.cumsum(np.asarray(shards.weights) > 0)])
    first = bounds[document]
    in_head = running[first + np.maximum(head, 1)] - running[first + 1]
    return in_head + running[first + start + length - head + 1] - running[first + start + (head == 0)]


def cut_report(
    shards: Shards,
    pairs: NDArray[np.int64],
    over: NDArray[np.bool_],
    policy: Policy,
    cut: NDArray[np.int64],
    trained: NDArray[np.int64],
) -> CutReport:
    """Account for every document and every pair."""
    kept = trained > 0
    document, length = cut[0, kept], cut[3, kept]
    used = np.unique(document)
    used_over = int(over[used].sum())
    considered = np.zeros(len(pairs), np.bool_)
    considered[cut[0]] = True
    repeats = np.asarray(shards.epochs) > 0 if isinstance(shards, WithEpochs) else np.zeros(len(pairs), np.bool_)
    tokens, in_over = int(length.sum()), int(length[over[document]].sum())
    return CutReport(
        documents=len(pairs),
        whole=len(used) - used_over,
        split=used_over if policy == "split" else 0,
        truncated=0 if policy == "split" else used_over,
        dropped_over_long=int((over & ~considered).sum()),
        dropped_untrained=int(considered.sum()) - len(used),
        dropped_empty=int((pairs == 0).sum()),
        tokens=tokens,
        trained_tokens=int(trained.sum()),
        lost_tokens=int(pairs.sum()) - tokens,
        split_tokens=in_over if policy == "split" else 0,
        truncated_tokens=0 if policy == "split" else in_over,
        repeated=int(repeats[used].sum()),
        repeated_tokens=int(length[repeats[document]].sum()),
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


def pack_epoch(
    pieces: Pieces, context: int, seed: int, epoch: int, phases: NDArray[np.int64] | None = None
) -> PackingPlan:
    """Put every piece into exactly one row of at most `context` tokens, by best fit over the whole epoch.

    Pieces of one length are taken in an order keyed by (seed, epoch), and so are the finished rows. The number of rows
    is the same in every epoch, since it depends on the lengths alone.
    phases: the phase of each piece, (pieces,); a row holds pieces of one phase, and rows stand in the order of phases.
    """
    keyed = _key_order(seed, epoch, 0, len(pieces.length))
    phase = np.zeros(len(keyed), np.int64) if phases is None else phases
    order = keyed[np.lexsort((-pieces.length[keyed], phase[keyed]))]
    row = np.empty(len(order), np.int64)
    count = 0
    for number in np.unique(phase):
        own = slice(*np.searchsorted(phase[order], [number, number + 1]))
        row[own] = count + _rows_of(pieces.length[order[own]], context, seed, epoch)
        count = int(row[own].max()) + 1
    by_row = np.argsort(row, kind="stable")
    entries = np.empty(len(order), ENTRY)
    entries["row"] = row[by_row]
    for name in _FIELDS:
        entries[name] = getattr(pieces, name)[order[by_row]]
    return PackingPlan(entries, np.searchsorted(entries["row"], np.arange(count + 1)))


def _rows_of(lengths: NDArray[np.int64], context: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Row of each piece, longest first, by best fit; rows in keyed order."""
    from didact.model.packing import best_fit

    row = best_fit(lengths, context)
    count = int(row.max()) + 1
    place = np.empty(count, np.int64)
    place[_key_order(seed, epoch, 1, count)] = np.arange(count)
    return place[row]


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
    first = np.asarray(shards.bounds)[entries["document"]]
    head, jump = (np.repeat(column, lengths) for column in (entries["head"], entries["start"] - entries["head"]))
    place = np.repeat(first, lengths) + positions
    following = place + 1 + np.where(positions + 1 < head, 0, jump)
    place += np.where(positions < head, 0, jump)
    return Batch(
        ids=shards.ids[place].astype(np.int64),
        targets=shards.ids[following].astype(np.int64),
        weights=np.asarray(shards.weights[following], np.float32),
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
        self.pieces = self._cut(policy)
        self.rows_per_step = max(1, batch_tokens // context)
        self.rows_at_once = max(1, min(batch_tokens, micro_tokens) // context)
        self.rows = len(self.epoch(0).rows) - 1
        self.steps_per_epoch = -(-self.rows // self.rows_per_step)

    def _cut(self, policy: Policy) -> Pieces:
        """What is packed; an objective of its own may cut otherwise."""
        return cut_documents(self.shards, self.context, policy)

    def _gather(self, entries: NDArray[np.void], epoch: int) -> Batch:
        """The batch of some plan entries."""
        del epoch
        return gather_batch(self.shards, entries)

    @lru_cache(maxsize=2)  # noqa: B019 - a plan lives as long as its run, and holds two epochs at most
    def epoch(self, epoch: int) -> PackingPlan:
        """The packing of one epoch."""
        return pack_epoch(self.pieces, self.context, self.seed, epoch, self._phase_of(self.pieces.document))

    def _phase_of(self, documents: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The phase of some documents, numbered as in the pieces; None where the mix has no phases."""
        if not isinstance(self.shards, WithPhases) or not self.shards.phase_names:
            return None
        return np.searchsorted(self.shards.phase_bounds[1:-1], documents, side="right")

    def plan_of(self, step: int) -> PackingPlan:
        """The packing of the epoch that a step belongs to."""
        return self.epoch(step // self.steps_per_epoch)

    @property
    def trained_share(self) -> float:
        """Share of the tokens fed in that have a target with loss."""
        return self.pieces.report.trained_tokens / self.pieces.report.tokens

    @property
    def tokens_per_step(self) -> float:
        """Mean number of tokens fed in per step."""
        return self.pieces.report.tokens / self.steps_per_epoch

    def step(self, step: int, share: Callable[[range], range] | None = None) -> list[Batch]:
        """Batches of one optimiser step, together its rows, or a share of them; step 0 is the first of epoch 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        plan = self.epoch(epoch)
        rows = range(place * self.rows_per_step, min((place + 1) * self.rows_per_step, self.rows))
        return list(self._batches(plan, rows if share is None else share(rows), epoch))

    def _batches(self, plan: PackingPlan, rows: range, epoch: int) -> Iterator[Batch]:
        for first in range(rows.start, rows.stop, self.rows_at_once):
            last = min(first + self.rows_at_once, rows.stop)
            yield self._gather(plan.entries[plan.rows[first] : plan.rows[last]], epoch)

    def first_rows(self, tokens: int) -> list[Batch]:
        """Batches of the first rows of epoch 0, about `tokens` tokens in all: a fixed sample for validation."""
        wanted = min(self.rows, max(1, -(-tokens * self.rows // self.pieces.report.tokens)))
        return list(self._batches(self.epoch(0), range(wanted), 0))

    def report(self) -> dict[str, Any]:
        """Counts of the cutting, and how full the rows are (the rest of a row is left out, not padded)."""
        counts = asdict(self.pieces.report)
        room = self.rows * self.context
        return (
            counts
            | {
                "pieces": len(self.pieces.length),
                "rows": self.rows,
                "filled_share": self.pieces.report.tokens / room,
                "steps_per_epoch": self.steps_per_epoch,
                "shares": shares(self.pieces.report, room),
            }
            | self._phase_report()
        )

    def _phase_report(self) -> dict[str, Any]:
        """Rows of each phase that has any, and the first step of an epoch that trains on it."""
        plan = self.epoch(0)
        phase = self._phase_of(plan.entries["document"][plan.rows[:-1]])
        if phase is None or not isinstance(self.shards, WithPhases):
            return {}
        numbers, first, counts = np.unique(phase, return_index=True, return_counts=True)
        told = zip(numbers.tolist(), first.tolist(), counts.tolist(), strict=True)
        names, step = self.shards.phase_names, self.rows_per_step
        return {"phases": {names[number]: {"rows": rows, "first_step": row // step} for number, row, rows in told}}


def shares(cut: CutReport, room: int) -> dict[str, dict[str, float]]:
    """What became of tokens and of records, as shares.

    Of all records: used, lost, split, truncated, repeated. Of all tokens that could have been fed in: used, lost (with
    those that truncation took). Of the tokens fed in: split, truncated (in truncated records), repeated. padded: of the
    rows' room, what is left open; it costs nothing, as no padding is computed.
    """
    records, tokens = cut.documents, cut.tokens + cut.lost_tokens
    used = cut.whole + cut.split + cut.truncated
    of_records = {"used": used, "lost": records - used, "split": cut.split, "truncated": cut.truncated}
    of_fed = {"split": cut.split_tokens, "truncated": cut.truncated_tokens, "repeated": cut.repeated_tokens}
    return {
        "records": {name: count / records for name, count in (of_records | {"repeated": cut.repeated}).items()},
        "tokens": {"used": cut.tokens / tokens, "lost": cut.lost_tokens / tokens, "padded": 1 - cut.tokens / room}
        | {name: count / cut.tokens for name, count in of_fed.items()},
    }
