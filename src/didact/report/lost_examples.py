"""Examples of what a version lost and changed: a few rows for each reason, read from the version's own files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from didact.records import AnyRecord
from didact.store.holdings import batches
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
    for row in _rows(version, "cleaned", columns):
        for rule in row["rules"]:
            if len(found.setdefault(rule, [])) < most:
                texts = [("after", row["after"])]
                texts = [("before", row["before"]), *texts] if row["before"] is not None else texts
                found[rule].append(Example(row["source"], _place(row), row["field"], texts))
    return found


def _first(
    version: Version, part: str, keys: tuple[str, ...], columns: tuple[str, ...], most: int
) -> Iterator[dict[str, Any]]:
    """The first rows of each key of a part of the version; other rows are not even made into Python objects."""
    seen: Counter[tuple[str, ...]] = Counter()
    for file in version.manifest.files:
        if not file.path.startswith(f"{part}/"):
            continue
        for batch in batches(version.file(file.path), (*keys, *columns)):
            named = zip(*(batch.column(key).to_pylist() for key in keys), strict=True)
            chosen = []
            for place, key in enumerate(named):
                seen[key] += 1
                if seen[key] <= most:
                    chosen.append(place)
            yield from batch.take(pa.array(chosen, pa.int64())).to_pylist()


def _rows(version: Version, part: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for file in version.manifest.files:
        if file.path.startswith(f"{part}/"):
            for batch in batches(version.file(file.path), columns):
                yield from batch.to_pylist()


def _place(row: dict[str, Any]) -> str:
    return f"{row['path']}:{row['line']}"


def _texts(record: str) -> list[tuple[str, str]]:
    """The texts of a record with their roles; of one that an older Didact wrote otherwise, its JSON."""
    try:
        return [(text.role, text.text) for text in AnyRecord.validate_python(orjson.loads(record)).texts() if text.text]
    except ValueError:
        return [("", record)]
