"""Finding what came before: equal to looking at every pair, whatever the order, the batches and the memory."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.errors import StoreError
from didact.validate import repeats as module
from didact.validate.repeats import REPEATED, SEEN, Repeats, Rows, counts, first_of_each, in_order

ROW_BYTES = SEEN.itemsize


@dataclass(frozen=True)
class Seen:
    """One row, as `SEEN` has it."""

    hash: int
    what: int
    file: int
    index: int


def batch(rows: list[Seen]) -> Rows:
    """The rows as an array; lines count from 1, offsets are ten times the index."""
    return np.array([(*astuple(row), row.index + 1, 10 * row.index) for row in rows], SEEN)


def pairs_looked_at(rows: list[Seen]) -> dict[tuple[int, int, int], tuple[int, int]]:
    """Each (what, file, index) that has an equal hash before it, and file and line of the first: by brute force."""
    found = {}
    for row in rows:
        before = [one for one in rows if one.hash == row.hash and (one.file, one.index) < (row.file, row.index)]
        if before:
            first = min(before, key=lambda one: (one.file, one.index))
            found[row.what, row.file, row.index] = (first.file, first.index + 1)
    return found


@st.composite
def seen_rows(draw: st.DrawFn) -> list[Seen]:
    """Rows of a few files in any order, with few different hashes, spread over the buckets."""
    places = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), unique=True, max_size=40))
    hashes = st.sampled_from([number << 52 for number in range(12)] + [2**64 - 1, 0])
    rows = []
    for file, index in places:
        value = draw(hashes)
        # What is hashed is told by the hash too: contents and ids have none in common.
        rows.append(Seen(value, int(value >> 52) % 2, file, index))
    return rows


@given(rows=seen_rows(), budget=st.sampled_from([0, 3 * ROW_BYTES, 1 << 20]), size=st.integers(1, 10))
def test_repeats_are_those_of_every_pair(rows: list[Seen], budget: int, size: int) -> None:
    """Held in memory or spilled after every batch, the rows found and the earlier places told are the right ones."""
    with Repeats(budget) as found:
        for start in range(0, len(rows), size):
            found.add(batch(rows[start : start + size]))
        parts = list(found.found())
    together = in_order(parts)
    told = {(int(r["what"]), int(r["file"]), int(r["index"])): (r["first_file"], r["first_line"]) for r in together}
    expected = pairs_looked_at(rows)
    assert told == expected and len(together) == len(expected)
    assert list(told) == sorted(told)
    sums: Counter[tuple[int, int]] = Counter()
    for part in parts:
        sums.update(counts(part))
    assert sums == Counter((what, file) for what, file, _ in expected)


@given(rows=seen_rows(), most=st.integers(0, 3))
def test_the_first_few_of_each_file_are_kept(rows: list[Seen], most: int) -> None:
    """Of each file and kind of hash the first rows are kept, no more than asked for."""
    with Repeats() as found:
        found.add(batch(rows))
        kept = first_of_each(in_order(list(found.found())), most)
    expected: dict[tuple[int, int], list[int]] = {}
    for what, file, index in sorted(pairs_looked_at(rows)):
        expected.setdefault((what, file), []).append(index)
    by_file: dict[tuple[int, int], list[int]] = {}
    for row in kept:
        by_file.setdefault((int(row["what"]), int(row["file"])), []).append(int(row["index"]))
    assert by_file == {key: indexes[:most] for key, indexes in expected.items() if most}


def test_what_is_spilled_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder goes when the block is left, by an error too; without a spill there is none."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Repeats() as small:
        small.add(batch([Seen(1, 0, 0, 0)]))
        assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError), Repeats(0) as large:
        large.add(batch([Seen(1, 0, 0, 0)]))
        assert len(list(tmp_path.iterdir())) == 1
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_full_temporary_folder_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full is told in one line that names the folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_append", full)
    with Repeats(0) as found, pytest.raises(StoreError, match=r"didact-repeats-.*No space left"):
        found.add(batch([Seen(1, 0, 0, 0)]))


def test_no_rows_repeat_nothing() -> None:
    """An empty collection has no repeats and the right columns."""
    with Repeats() as found:
        (part,) = found.found()
    assert part.dtype == REPEATED and len(part) == 0
