"""Packing: every pair of tokens is used once, rows hold what they can, and a plan is a function of its key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from toy_training import ToyShards, shards_of

from didact.errors import DataError, NoTrainedTokens
from didact.model.batches import BatchPlan, Policy, cut_documents, pack_epoch
from didact.model.packing import best_fit

LENGTHS = st.lists(st.integers(0, 90), min_size=1, max_size=40).filter(lambda lengths: max(lengths) > 1)


def best_fit_slowly(lengths: list[int], capacity: int) -> list[int]:
    """The definition: look at all rows, take the fullest that holds the piece, of equals the one touched last."""
    room: list[int] = []
    touched: list[int] = []
    rows = []
    for time, length in enumerate(lengths):
        fitting = [row for row in range(len(room)) if room[row] >= length]
        if fitting:
            row = min(fitting, key=lambda row: (room[row], -touched[row]))
        else:
            row = len(room)
            room.append(capacity)
            touched.append(time)
        room[row] -= length
        touched[row] = time
        rows.append(row)
    return rows


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_kernel_is_best_fit(lengths: list[int]) -> None:
    """The kernel places every piece where the definition does."""
    ordered = sorted(lengths, reverse=True)
    assert best_fit(np.array(ordered), 20).tolist() == best_fit_slowly(ordered, 20)


def pairs_in(shards: ToyShards) -> list[tuple[int, int]]:
    """All places of (token, next token of the same document)."""
    ends = zip(shards.bounds[:-1], shards.bounds[1:], strict=True)
    return [(int(place), int(place) + 1) for start, stop in ends for place in range(start, stop - 1)]


def places(plan: BatchPlan, step: int) -> NDArray[np.int64]:
    """Where in the shards the inputs of a step stand."""
    entries = plan.plan_of(step).entries
    inside = step % plan.steps_per_epoch * plan.rows_per_step
    taken = entries[(entries["row"] >= inside) & (entries["row"] < inside + plan.rows_per_step)]
    starts = plan.shards.bounds[taken["document"]] + taken["start"]
    return np.concatenate([np.arange(s, s + n) for s, n in zip(starts, taken["length"], strict=True)])


@given(LENGTHS, st.integers(0, 3), st.sampled_from([16, 32]))
def test_an_epoch_uses_every_pair_once(lengths: list[int], epoch: int, context: int) -> None:
    """Over the steps of an epoch each token is fed in once and each but a document's first is a target once."""
    shards = shards_of(lengths)
    shards.weights[::3] = 7
    plan = BatchPlan(shards, context, batch_tokens=2 * context, micro_tokens=context, policy="split", seed=5)
    steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
    seen = np.concatenate([places(plan, step) for step in steps])
    assert sorted(seen.tolist()) == [first for first, _ in pairs_in(shards)]
    for step in steps:
        batches = plan.step(step)
        where = places(plan, step)
        assert np.array_equal(np.concatenate([b.ids for b in batches]), shards.ids[where])
        assert np.array_equal(np.concatenate([b.targets for b in batches]), shards.ids[where + 1])
        assert np.array_equal(np.concatenate([b.weights for b in batches]), shards.weights[where + 1])
        assert all(b.weight > 0 and b.lengths.sum() == len(b.ids) <= context for b in batches)


@given(LENGTHS)
def test_positions_start_anew_in_each_piece(lengths: list[int]) -> None:
    """Positions count from 0 within each piece of a batch."""
    plan = BatchPlan(shards_of(lengths), 16, 64, 64, "split", 0)
    batch = plan.step(0)[0]
    assert batch.positions.tolist() == [place for length in batch.lengths for place in range(length)]


@given(LENGTHS, st.sampled_from(["split", "drop", "head", "tail"]), st.integers(1, 60))
def test_the_report_accounts_for_every_document(lengths: list[int], policy: Policy, trained_from: int) -> None:
    """Documents are whole, split, truncated or dropped for a reason; pairs are used or lost."""
    shards = shards_of(lengths, trained_from)
    try:
        pieces = cut_documents(shards, 16, policy)
    except NoTrainedTokens:
        return
    report = pieces.report
    dropped = report.dropped_over_long + report.dropped_untrained + report.dropped_empty
    assert report.documents == len(lengths) == report.whole + report.split + report.truncated + dropped
    assert report.tokens == pieces.length.sum()
    assert report.tokens + report.lost_tokens == len(pairs_in(shards))
    ends = shards.bounds[pieces.document] + pieces.start + 1
    trained = [shards.weights[end : end + n].sum() for end, n in zip(ends, pieces.length, strict=True)]
    assert min(trained) > 0
    assert sum(trained) == report.trained_tokens
    assert pieces.length.max() <= 16


def test_policies_keep_the_end_they_name() -> None:
    """`head` keeps the first tokens of a long document, `tail` the last, `drop` none, `error` refuses."""
    shards = shards_of([40, 5])
    head, tail, drop = (cut_documents(shards, 16, policy) for policy in ("head", "tail", "drop"))
    assert (head.start.tolist(), head.length.tolist()) == ([0, 0], [16, 4])
    assert (tail.start.tolist(), tail.length.tolist()) == ([23, 0], [16, 4])
    assert drop.document.tolist() == [1]
    with pytest.raises(DataError, match="document 0 has 40 tokens"):
        cut_documents(shards, 16, "error")


def test_a_mix_without_trained_tokens_is_refused() -> None:
    """No batch can be without a trained token, so a mix of such documents ends the run at once."""
    with pytest.raises(NoTrainedTokens, match="none of 2 documents"):
        cut_documents(shards_of([5, 6], trained_from=99), 16, "drop")


def test_a_plan_depends_on_its_key_alone(tmp_path: Path) -> None:
    """The same seed and epoch give the same bytes on disk, others another order, and rows are equally many."""
    pieces = cut_documents(shards_of(list(range(2, 80))), 32, "split")
    first, again, other = (pack_epoch(pieces, 32, seed=3, epoch=epoch) for epoch in (0, 0, 1))
    first.save(tmp_path / "a.npy")
    again.save(tmp_path / "b.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert first.digest == again.digest != other.digest
    assert len(first.rows) == len(other.rows)
    assert np.array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), first.entries)


@dataclass
class Curriculum(ToyShards):
    """Shards in phases."""

    phase_names: list[str]
    phase_bounds: NDArray[np.int64]


def in_phases(lengths: list[int], bounds: list[int]) -> Curriculum:
    """Random documents; phases begin at these documents."""
    shards = shards_of(lengths)
    names = [f"phase {number}" for number in range(len(bounds) - 1)]
    return Curriculum(shards.ids, shards.weights, shards.bounds, names, np.array(bounds, np.int64))


@given(LENGTHS, st.lists(st.integers(0, 40), max_size=3), st.integers(0, 2))
def test_phases_are_trained_one_after_the_other(lengths: list[int], cuts: list[int], epoch: int) -> None:
    """No row holds documents of two phases, and each epoch trains on all rows of a phase before those of the next;
    inside a phase packing is what it would be for the phase alone.
    """
    bounds = [0, *sorted(min(cut, len(lengths)) for cut in cuts), len(lengths)]
    shards = in_phases(lengths, bounds)
    plan = BatchPlan(shards, 16, 64, 32, "split", seed=3)
    entries = plan.epoch(epoch).entries
    phase = np.searchsorted(bounds[1:-1], entries["document"], side="right")
    assert (np.diff(phase) >= 0).all()
    assert all(len(set(phase[entries["row"] == row].tolist())) == 1 for row in range(plan.rows))
    assert sorted(zip(entries["document"], entries["start"], strict=True)) == sorted(
        zip(plan.pieces.document, plan.pieces.start, strict=True)
    )
    rows = 0
    for name, first, last in zip(shards.phase_names, bounds[:-1], bounds[1:], strict=True):
        if not any(length > 1 for length in lengths[first:last]):
            assert name not in plan.report()["phases"]
            continue
        alone = BatchPlan(shards_of(lengths[first:last]), 16, 64, 32, "split", seed=3).rows
        assert plan.report()["phases"][name] == {"rows": alone, "first_step": rows // plan.rows_per_step}
        rows += alone
    assert rows == plan.rows


def test_short_documents_fill_their_rows() -> None:
    """Best fit leaves hardly any room in rows of many short documents."""
    lengths = np.random.default_rng(0).integers(8, 40, 3000).tolist()
    assert BatchPlan(shards_of(lengths), 256, 4096, 4096, "split", 0).report()["filled_share"] > 0.99


def test_steps_are_cut_into_batches_of_bounded_size() -> None:
    """A step's rows come in batches of at most micro_tokens, and the last step of an epoch takes what is left."""
    plan = BatchPlan(shards_of([17] * 10), 16, batch_tokens=64, micro_tokens=32, policy="split", seed=0)
    assert [[len(b.ids) for b in plan.step(step)] for step in range(3)] == [[32, 32], [32, 32], [32]]
    assert plan.steps_per_epoch == 3
    assert [len(b.ids) for b in plan.first_rows(50)] == [32, 32]
