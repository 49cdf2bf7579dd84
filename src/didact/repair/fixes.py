"""The safe fixes: what each does to a value, a text or a file, and which code of finding it answers.

Safe means that the record means the same, or what its author plainly meant; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import orjson

Scope = Literal["value", "texts", "file"]
"""What a fix changes: the value at the finding's pointer, every text of the row, or the file around its rows."""


DROP_MARK = "drop byte order mark"
DROP_COMMA = "drop comma"


class Fix(NamedTuple):
    """A named way to correct what a code reports."""

    name: str
    scope: Scope
    change: Callable[[Any], Any]
    """The value or text after it; returns its argument when there is nothing to do. Unused for files."""


def spell(value: Any) -> Any:
    """A number or boolean as the text it is read as; other values stay.

    >>> spell(1.50), spell(True), spell("x")
    ('1.5', 'true', 'x')
    """
    return orjson.dumps(value).decode() if isinstance(value, bool | int | float) else value


def empty(value: Any) -> Any:
    """The empty text, for a text that spells `nothing here`; other values stay."""
    return "" if isinstance(value, str) else value


def _unchanged(value: Any) -> Any:
    return value


FIXES: Mapping[str, Fix] = {
    "SC003": Fix("spell", "value", spell),
    "CO003": Fix("empty", "value", empty),
    "IO003": Fix(DROP_MARK, "file", _unchanged),
    "JS003": Fix(DROP_COMMA, "file", _unchanged),
}
"""Fixes by the code they answer."""
