"""Examples of what a version lost and changed: a few rows for each reason, read from the version's own files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from didact.records import AnyRecord
from didact.records.table import in_one_piece
from didact.store.holdings import opened, taken
from didact.store.version import Version

EXAMPLES = 5
"""Rows shown for each reason."""
_RAW = 2000
"""Bytes of a rejected row that are looked at."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row: where it stood, what was wrong with it, and its texts, each with who says it."""

    source: str
    place: str
    about: str
    texts: list[tuple[str, str]]


Named = dict[tuple[str, str], list[Example]]
"""Examples by stage and reason or code."""


def lost_examples(version: Version, most: int = EXAMPLES) -> Named:
    """The first rows of each reason, in the order of the inputs; of a stage `read` those that were rejected."""
    found: Named = {}
    for row in _first(version, "dropped", ("stage", "reason"), ("source", "path", "line", "evidence", "record"), most):
        example = Example(row["source"], _place(row), row["evidence"] or "", _texts(row["record"]))
        found.setdefault((row["stage"], row["reason"]), []).append(example)
    for row in _first(version, "rejected", ("code",), ("source", "path", "line", "pointer", "message", "raw"), most):
        raw = row["raw"][:_RAW].decode("utf-8", "replace")
        about = " ".join(part for part in (row["pointer"], row["message"]) if part)
        example = Example(row["source"], _place(row), about, [("", raw)] if raw else [])
        found.setdefault(("read", row["code"]), []).append(example)
    return found


def cleaned_examples(version: Version, most: int = EXAMPLES) -> dict[str, list[Example]]:
    """The first texts that each cleaning rule changed. Where personal data was replaced, the text before is on file
    nowhere.
    """
    found: dict[str, list[Example]] = {}
    columns = ("source", "path", "line", "field", "rules", "before", "after")
    for row in _first(version, "cleaned", ("rules",), columns, most):
        for rule in row["rules"]:
            if len(found.setdefault(rule, [])) < most:
                texts = [("after", row["after"])]
                texts = [("before", row["before"]), *texts] if row["before"] is not None else texts
                found[rule].append(Example(row["source"], _place(row), row["field"], texts))
    return found


def _first(
    version: Version, part: str, keys: tuple[str, ...], columns: tuple[str, ...], most: int
) -> Iterator[dict[str, Any]]:
    """The first rows of each key of a part of the version, at least; of row groups that hold none, no text is read.
    The one key may be a list, of which each item counts.
    """
    seen: Counter[Any] = Counter()
    wanted = tuple(dict.fromkeys((*keys, *columns)))
    for path in (file.path for file in version.manifest.files if file.path.startswith(f"{part}/")):
        with opened(version.file(path), wanted) as parquet:
            for group in range(parquet.num_row_groups):
                rows = _unseen(parquet.read_row_group(group, list(keys)), keys, seen, most)
                pieces = parquet.read_row_group(group, list(wanted)).to_batches() if len(rows) else []
                yield from chain.from_iterable(piece.to_pylist() for piece in taken(pieces, rows))


def _unseen(table: pa.Table, keys: tuple[str, ...], seen: Counter[Any], most: int) -> NDArray[np.int64]:
    """The rows of a table, ascending, with a key that fewer than `most` rows had; they are counted."""
    chosen: set[int] = set()
    for key, places in _places_of(table, keys):
        first = places[: max(0, most - seen[key])].tolist()
        seen[key] += len(first)
        chosen.update(first)
    return np.array(sorted(chosen), np.int64)


def _places_of(table: pa.Table, keys: tuple[str, ...]) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    """The keys that rows of a table have, and the places of those that have each, ascending."""
    held = in_one_piece(table.column(keys[0]))
    if pa.types.is_list(held.type):
        rows, values = pc.list_parent_indices(held).to_numpy().astype(np.int64), pa.table({keys[0]: held.flatten()})
    else:
        rows, values = np.arange(len(table)), table.select(keys)
    numbered = values.append_column("place", pa.array(np.arange(len(values))))
    groups = numbered.group_by(values.column_names, use_threads=False).aggregate([("place", "list")])
    for *key, places in zip(*(column.to_pylist() for column in groups.columns), strict=True):
        yield tuple(key), rows[places]


def _place(row: dict[str, Any]) -> str:
    return f"{row['path']}:{row['line']}"


def _texts(record: str) -> list[tuple[str, str]]:
    """The texts of a record with their roles; of one that an older Didact wrote otherwise, its JSON."""
    try:
        return [(text.role, text.text) for text in AnyRecord.validate_python(orjson.loads(record)).texts() if text.text]
    except ValueError:
        return [("", record)]
