"""Find rows in the tables of a version by what a column says, reading no more than the row groups that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from didact.store.holdings import batches
from didact.store.version import Version

Test = Callable[[pa.RecordBatch], Any]
"""Says of each row of a batch whether it is looked for, as a boolean array."""


def equals(column: str, wanted: str | int) -> Test:
    """Rows with one value in a column."""
    return lambda batch: pc.equal(batch.column(column), wanted)


def among(column: str, wanted: Sequence[str]) -> Test:
    """Rows with one of several values in a column."""
    values = pa.array(wanted, pa.string())
    return lambda batch: pc.is_in(batch.column(column), value_set=values)


def begins(column: str, wanted: str) -> Test:
    """Rows whose text in a column begins with another."""
    return lambda batch: pc.starts_with(batch.column(column), wanted)


def files_of(version: Version, part: str) -> list[str]:
    """The version's Parquet files under one folder, such as `data` or `dropped`."""
    names = [file.path for file in version.manifest.files]
    return [name for name in names if name.startswith(f"{part}/") and name.endswith(".parquet")]


def rows_where(version: Version, part: str, columns: Sequence[str], test: Test) -> Iterator[tuple[str, int]]:
    """File and row number of every row of a part that a test on some columns picks."""
    for name in files_of(version, part):
        first = 0
        for batch in batches(version.file(name), tuple(columns)):
            hits = pc.fill_null(test(batch), False).to_numpy(zero_copy_only=False)
            yield from ((name, first + hit) for hit in np.flatnonzero(hits).tolist())
            first += batch.num_rows


def row_at(path: Path, number: int) -> dict[str, Any]:
    """One row of a Parquet file, from the one row group that holds it."""
    with pq.ParquetFile(path) as file:
        ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)])
        group = int(np.searchsorted(ends, number, side="right"))
        first = int(ends[group - 1]) if group else 0
        row: dict[str, Any] = file.read_row_group(group).slice(number - first, 1).to_pylist()[0]
        return row


def values_where(version: Version, part: str, columns: Sequence[str], test: Test) -> list[dict[str, Any]]:
    """Some columns of every row of a part that a test on them picks."""
    found: list[dict[str, Any]] = []
    for name in files_of(version, part):
        for batch in batches(version.file(name), tuple(columns)):
            found += batch.filter(pc.fill_null(test(batch), False)).to_pylist()
    return found
