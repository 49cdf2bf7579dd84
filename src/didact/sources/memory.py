"""Rows that a caller holds in memory: dicts, a pandas table, a data set of Hugging Face's library.

pandas and datasets are not imported here: an object of theirs can only be given where its library is loaded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from didact.errors import CallError
from didact.formats.fields import kind_of
from didact.sources.spool import Spool, spelt_row

ROWS = "<rows>"
"""What stands in a finding where a file's path would."""

_BATCH = 1024
_NAME = re.compile(r"[^./\\\0][^/\\\0]*")


@dataclass(frozen=True, slots=True)
class Named:
    """Rows and the path under which findings name them."""

    name: str
    rows: Iterator[Any]


def rows_of(given: Any, name: str = ROWS) -> list[Named] | None:
    """The rows of what a caller gave, one entry for each split; None when it is a path or a list of paths.

    given: an iterable of rows, a pandas DataFrame, a `datasets` Dataset, IterableDataset or a dict of them.
    Raises CallError for an object that is none of these.
    """
    if isinstance(given, str | Path):
        return None
    if _is_a(given, "pandas", "DataFrame"):
        return [Named(name, _frame_rows(given))]
    if _is_a(given, "datasets", "DatasetDict", "IterableDatasetDict"):
        return [Named(f"{name}/{_plain_name(split)}", _set_rows(rows)) for split, rows in given.items()]
    if _is_a(given, "datasets", "Dataset", "IterableDataset"):
        return [Named(name, _set_rows(given))]
    if isinstance(given, Mapping):
        raise CallError("a dict is one row, not rows; give a list of dicts")
    if not isinstance(given, Iterable):
        raise CallError(f"a {type(given).__name__} is neither a path nor rows; give a path or an iterable of dicts")
    return _listed(given, name)


def _plain_name(name: Any) -> str:
    """A name that can stand for a file. Raises CallError."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise CallError(f"{name!r} cannot name rows; a name has no slashes and does not begin with a dot")


def _listed(given: Iterable[Any], name: str) -> list[Named] | None:
    """Rows of an iterable, unless it is a list of paths, which its first item tells."""
    if isinstance(given, Sequence):
        return None if not given or isinstance(given[0], str | Path) else [Named(name, iter(given))]
    rows = iter(given)
    first = list(_first(rows))
    if first and isinstance(first[0], str | Path):
        raise CallError("give paths as a list, not as an iterator")
    return [Named(name, chain(first, rows))]


def _first(rows: Iterator[Any]) -> Iterator[Any]:
    for row in rows:
        yield row
        return


def as_paths(given: Any, spool: Spool, name: str = ROWS) -> list[str | Path]:
    """Paths of what a caller gave: its own, or those of the files into which the rows it gave are written."""
    named = rows_of(given, _plain_name(name))
    if named is None:
        return [given] if isinstance(given, str | Path) else list(given)
    for one in named:
        spool.write(one.name, _lines(one))
    if any(one.name != name for one in named):
        splits = [one.name.rpartition("/")[2] for one in named]
        spool.write(f"{name}/dataset_dict.json", [orjson.dumps({"splits": splits})])
    return [spool.folder / "rows"]


def _lines(named: Named) -> Iterator[bytes]:
    for index, row in enumerate(named.rows):
        line = spelt_row(row, f"{named.name}, row {index}")
        if index == 0 and not line.startswith(b"{"):
            raise CallError(f"{named.name}: the first row is {kind_of(row)}; rows are dicts")
        yield line


def _is_a(given: Any, library: str, *names: str) -> bool:
    """Whether an object is of a class of a library, if that is loaded at all."""
    module = sys.modules.get(library)
    return module is not None and any(isinstance(given, getattr(module, name)) for name in names)


def _frame_rows(frame: Any) -> Iterator[dict[str, Any]]:
    """The rows of a pandas table; a missing cell (NaN, NaT, NA) is null."""
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise CallError("two columns of the table have the same name; rename one")
    for start in range(0, len(frame), _BATCH):
        part = frame.iloc[start : start + _BATCH]
        columns = [_cells(part.iloc[:, place]) for place in range(len(names))]
        for cells in zip(*columns, strict=True):
            yield dict(zip(names, cells, strict=True))


def _cells(column: Any) -> list[Any]:
    """The cells of a column as Python values."""
    missing = column.isna().tolist()
    return [None if gone else cell for cell, gone in zip(column.tolist(), missing, strict=True)]


def _set_rows(rows: Any) -> Iterator[Any]:
    """The rows of a data set as they are stored: not formatted, pictures and sounds not decoded."""
    if _is_a(rows, "datasets", "IterableDataset"):
        return map(_with_absent_keys, rows)
    from didact.sources.columnar import as_json  # as in `cutting`: only those who need it load it

    stored = rows.with_format("arrow").iter(batch_size=_BATCH)
    return (row for table in stored for batch in table.to_batches() for row in as_json(batch))


def _with_absent_keys(row: Any) -> Any:
    from didact.sources.columnar import with_absent_keys

    return {key: with_absent_keys(value) for key, value in row.items()} if isinstance(row, dict) else row
