"""Segments columns for tests, from lists of (field, role, text)."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from didact.records.table import SEGMENT
from didact.text.views import Segments, View

Row = Sequence[tuple[str, str, str]]


def column(rows: Sequence[Row]) -> pa.ListArray:
    """The segments column of records given as their texts."""
    content = [[{"field": field, "role": role, "text": text} for field, role, text in row] for row in rows]
    return pa.array(content, pa.list_(pa.field("item", SEGMENT, nullable=False)))


def answered(pairs: Sequence[tuple[str, str]]) -> Segments:
    """One question and one answer for each record."""
    return Segments.from_arrow(
        column([[("question", "user", asked), ("answers/0", "assistant", told)] for asked, told in pairs])
    )


def view_of(*texts: str) -> View:
    """A view with one text for each record."""
    return View.of_texts(pa.array(texts, pa.string()))
