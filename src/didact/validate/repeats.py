"""Finds what came before among any number of rows: 64-bit hashes with their places, in bounded memory.

Two different contents share a hash by accident with probability n² / 2⁶⁵ for n rows: 3 in 10⁶ for 10 million rows,
3 in 10⁴ for 100 million. That is enough for a warning that names both places; nothing is dropped by it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from didact.durable import store_errors

Rows = NDArray[np.void]
"""A structured array of `SEEN` or `REPEATED`."""

SEEN = np.dtype(
    [("hash", "<u8"), ("what", "u1"), ("file", "<u4"), ("index", "<u8"), ("line", "<u8"), ("offset", "<u8")]
)
"""One row to look for: its hash, what the hash is of, the file by number, and the row's place in it."""

REPEATED = np.dtype([*SEEN.descr, ("first_file", "<u4"), ("first_line", "<u8")])
"""A row whose hash came before, with the place where it came first."""

BUDGET = 24 << 20
"""Bytes held before they go to disk: 680,000 rows. Sorting them takes twice as much again."""

_BUCKETS = 256
"""Rows are spilled by the first byte of their hash, so that each bucket is looked through on its own."""


class Repeats:
    """Collects rows in any order, then tells which repeat an earlier one: least file number, then least index."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._held: list[Rows] = []
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, rows: Rows) -> None:
        """Take rows of `SEEN`. Raises StoreError when they must go to the temporary folder and it is full."""
        if not len(rows):
            return
        self._held.append(rows)
        self._bytes += rows.nbytes
        if self._bytes > self._budget:
            self._spill()

    def found(self) -> Iterator[Rows]:
        """Rows of `REPEATED`, in parts that do not share a hash; within a part by (what, file, index)."""
        if self._folder is None:
            yield _repeated(self._held)
            return
        self._spill()
        for bucket in range(_BUCKETS):
            path = Path(self._folder.name) / f"{bucket:02x}"
            if path.exists():
                yield _repeated([np.fromfile(path, SEEN)])

    def _spill(self) -> None:
        """Append what is held to the buckets' files."""
        if not self._held:
            return
        rows = np.concatenate(self._held)
        self._held, self._bytes = [], 0
        buckets = (rows["hash"] >> np.uint64(56)).astype(np.uint8)
        rows = rows[np.argsort(buckets, kind="stable")]
        bounds = np.concatenate([[0], np.cumsum(np.bincount(buckets, minlength=_BUCKETS))]).tolist()
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="didact-repeats-")
        folder = Path(self._folder.name)
        with store_errors(folder):
            for bucket, (start, end) in enumerate(pairwise(bounds)):
                if end > start:
                    _append(folder / f"{bucket:02x}", rows[start:end])


def _append(path: Path, rows: Rows) -> None:
    with path.open("ab") as file:
        rows.tofile(file)


def first_of_each(rows: Rows, most: int) -> Rows:
    """The first `most` rows of every (what, file), which must be sorted by (what, file, index)."""
    if not len(rows):
        return rows
    keys = _keys(rows)
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    lengths = np.diff(np.append(starts, len(rows)))
    within = np.arange(len(rows)) - np.repeat(starts, lengths)
    return rows[within < most]


def in_order(parts: Sequence[Rows]) -> Rows:
    """Rows of `REPEATED` by (what, file, index)."""
    rows = np.concatenate([np.empty(0, REPEATED), *parts])
    return rows[np.lexsort((rows["index"], _keys(rows)))]


def counts(rows: Rows) -> dict[tuple[int, int], int]:
    """How many rows there are of each (what, file)."""
    keys, sizes = np.unique(_keys(rows), return_counts=True)
    return {(key >> 32, key & 0xFFFFFFFF): size for key, size in zip(keys.tolist(), sizes.tolist(), strict=True)}


def _keys(rows: Rows) -> NDArray[np.int64]:
    """What and file of each row as one number."""
    return (rows["what"].astype(np.int64) << 32) | rows["file"].astype(np.int64)


def _repeated(parts: Sequence[Rows]) -> Rows:
    """The rows of `SEEN` whose hash another one before them has."""
    twice = _twice([part["hash"] for part in parts])
    suspects = [part[_among(part["hash"], twice)] for part in parts] if len(twice) else []
    rows = np.concatenate([np.empty(0, SEEN), *suspects])
    rows = rows[np.lexsort((rows["index"], rows["file"], rows["hash"]))]
    first = np.ones(len(rows), bool)
    first[1:] = rows["hash"][1:] != rows["hash"][:-1]
    leader = np.flatnonzero(first)[np.cumsum(first) - 1] if len(rows) else np.empty(0, np.int64)
    found = np.empty(len(rows), REPEATED)
    for name in SEEN.names or ():
        found[name] = rows[name]
    found["first_file"], found["first_line"] = rows["file"][leader], rows["line"][leader]
    return in_order([found[~first]])


def _twice(hashes: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    """Hashes that stand more than once, sorted."""
    ordered = np.concatenate([np.empty(0, np.uint64), *hashes])
    ordered.sort()
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _among(hashes: NDArray[Any], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which hashes are among sorted known ones."""
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.asarray(known[places] == hashes)
