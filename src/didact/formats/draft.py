"""A row being written: the author's own, changed only where it would read as something else, or a new one.

The counterpart of `Fields`. An adapter's `write` says for each key what value the record gives it; the draft compares
that with what the row's own record gave, so that a row whose record did not change is not touched, however its author
spelt it, and a row whose record changed differs exactly there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from didact.records import Header, Record

ABSENT: Final = object()
"""What a view gives for a key that the row shall not have."""


class Draft:
    """A row being written."""

    __slots__ = ("header", "record", "row", "was")

    def __init__(self, record: Record, header: Header | None, row: dict[str, Any], was: Record | None) -> None:
        self.record = record
        """What the row shall read as."""
        self.header = header
        """What the file says once, for rows of files that say something once."""
        self.row = row
        """Changed in place."""
        self.was = was
        """What the row reads as before the change, a record of the same kind; None for a new row."""

    def first_of(self, keys: Sequence[str], default: str | None = None) -> str:
        """The first of several names that the row has; for a row without any, the default, or the first."""
        return next((key for key in keys if key in self.row), default or keys[0])

    def changed(self, view: Callable[[Any], Any]) -> bool:
        """Whether a view of the record gives something else than it gave for the row as it was."""
        return self.was is None or bool(view(self.record) != view(self.was))

    def put(self, key: str, view: Callable[[Any], Any]) -> None:
        """Set a key to what a view of the record gives, when that changed; `ABSENT` removes the key."""
        if not self.changed(view):
            return
        value = view(self.record)
        if value is ABSENT:
            self.row.pop(key, None)
        else:
            self.row[key] = value

    def put_optional(self, key: str, view: Callable[[Any], Any]) -> None:
        """As `put`; what is empty is written only where the row has the key."""
        new = view(self.record)
        if new or key in self.row:
            self.put(key, view)
