"""Why a record is in one version and not in the other: what the other version says of it, or what its inputs lack."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from didact.curate.order import I64, U64
from didact.store.holdings import Holdings, batches, chosen_batches, hex_words, place_hashes
from didact.store.version import Version

INPUT = "input"
"""The stage of causes that no stage decided."""


class Cause(NamedTuple):
    """The stage in which a version lost a record, and why; or what its inputs lack."""

    stage: str
    reason: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


def causes(records: Holdings, own: Version, other: Version) -> list[Cause]:
    """For each record of a version that the other one does not hold, why not.

    Its own row in the other's dropped/ says it best, then a row of equal content there, then whatever became of the
    row at its place (dropped or rejected), then the inputs.
    """
    search = _Search(records, _by_inputs(records, own, other))
    for file in other.manifest.files:
        if file.path.startswith("dropped/"):
            for batch in batches(other.file(file.path), ("id", "source", "path", "index", "stage", "reason")):
                found = [Cause(*pair) for pair in zip(*(_texts(batch, n) for n in ("stage", "reason")), strict=True)]
                search.take(_places(batch), hex_words(batch.column("id"), other.file(file.path)), found)
        elif file.path.startswith("rejected/"):
            for batch in batches(other.file(file.path), ("source", "path", "index", "code")):
                search.take(_places(batch), None, [Cause("read", f"rejected {code}") for code in _texts(batch, "code")])
    return search.found


class _Search:
    """The best cause found so far for each record."""

    def __init__(self, records: Holdings, found: list[Cause]) -> None:
        self.records, self.found = records, found
        self.rank = np.zeros(len(records), np.int8)
        self.by_id, self.by_place = np.argsort(records.ids[:, 0]), np.argsort(records.places)
        self.ids, self.places = records.ids[self.by_id, 0], records.places[self.by_place]

    def take(self, places: U64, ids: U64 | None, causes: list[Cause]) -> None:
        """Take what the other version says of some rows, where nothing better is known."""
        rows, records = _hits(self.places, places)
        self._put(self.by_place[records], rows, causes, 1)
        if ids is not None:
            rows, records = _hits(self.ids, ids[:, 0])
            records = self.by_id[records]
            same = (self.records.ids[records] == ids[rows]).all(axis=1)
            rows, records = rows[same], records[same]
            self._put(records, rows, causes, 2)
            own = self.records.places[records] == places[rows]
            self._put(records[own], rows[own], causes, 3)

    def _put(self, records: I64, rows: I64, causes: list[Cause], rank: int) -> None:
        better = self.rank[records] < rank
        for record, row in zip(records[better].tolist(), rows[better].tolist(), strict=True):
            self.found[record] = causes[row]
            self.rank[record] = rank


def _hits(ordered: U64, wanted: U64) -> tuple[I64, I64]:
    """Pairs of equal value: the place in `wanted`, and the place in `ordered`, which ascends."""
    first, last = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
    counts = last - first
    rows = np.repeat(np.arange(len(wanted)), counts)
    inside = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, first[rows] + inside


def _by_inputs(records: Holdings, own: Version, other: Version) -> list[Cause]:
    """What the other version's inputs lack of each record."""
    found: list[Cause] = []
    known: dict[tuple[str, str], Cause] = {}
    for batch in chosen_batches(own, records.rows, ("source", "row")):
        paths = batch.column("row").field("path").to_pylist()
        for file in zip(_texts(batch, "source"), paths, strict=True):
            if file not in known:
                known[file] = _lacking(*file, own, other)
            found.append(known[file])
    return found


def _lacking(source: str, path: str, own: Version, other: Version) -> Cause:
    if source not in other.manifest.sources:
        return Cause(INPUT, "the recipe lacks the source")
    digest = other.manifest.sources[source].files.get(path)
    if digest is None:
        return Cause(INPUT, "the source lacks the file")
    if digest != own.manifest.sources[source].files.get(path):
        return Cause(INPUT, "the file lacks the row")
    return Cause("read", "not selected, or read as another record")


def _places(batch: pa.RecordBatch) -> U64:
    return place_hashes(*(batch.column(name) for name in ("source", "path", "index")))


def _texts(batch: pa.RecordBatch, name: str) -> list[str]:
    texts: list[str] = batch.column(name).to_pylist()
    return texts
