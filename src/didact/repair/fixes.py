"""The safe fixes by name: what each does to a value, to the texts of a row, or to the file around its rows.

Safe means that the record means the same, or what its author plainly meant; nothing is guessed. Which code a fix
answers stands in the catalogue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from didact.formats.fields import spelt_number
from didact.records.findings import CODES
from didact.records.fixes import TEXT_FIXES

Scope = Literal["value", "item", "texts", "file"]
"""What a fix changes: the value at the finding's pointer, the list with the item there, every text of the row, or the
file between its rows.
"""

DROP_MARK = "drop_byte_order_mark"
PARSE_JSON = "parse_json"


class Fix(NamedTuple):
    """A named way to correct what a code reports."""

    name: str
    scope: Scope
    change: Callable[..., Any]
    """From a value or text to another, or from a list and a place in it to a list; gives its argument back when there
    is nothing to do. Unused for files.
    """


def spell(value: Any) -> Any:
    """A number or boolean as the text it is read as; other values stay.

    >>> spell(1.50), spell(True), spell("x")
    ('1.5', 'true', 'x')
    """
    return spelt_number(value) if isinstance(value, bool | int | float) else value


def empty_text(value: Any) -> Any:
    """The empty text for null; other values stay."""
    return "" if value is None else value


def empty_input(value: Any) -> Any:
    """The empty text for one that spells `nothing here`; other values stay."""
    return "" if isinstance(value, str) else value


def parse_json(value: Any) -> Any:
    """The list or object that a text spells; other values stay."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list | dict) else value


def drop_repeated(items: list[Any], place: int) -> list[Any]:
    """A list without the item at a place, when it is the same as the one before it."""
    same = 0 < place < len(items) and items[place] == items[place - 1]
    return items[:place] + items[place + 1 :] if same else items


def _unused(value: Any) -> Any:
    return value


_BY_NAME = {
    fix.name: fix
    for fix in (
        Fix("spell", "value", spell),
        Fix("empty_text", "value", empty_text),
        Fix("empty_input", "value", empty_input),
        Fix(PARSE_JSON, "value", parse_json),
        Fix("drop_repeated_system", "item", drop_repeated),
        *(Fix(name, "texts", change) for name, change in TEXT_FIXES.items()),
        Fix(DROP_MARK, "file", _unused),
        Fix("drop_comma", "file", _unused),
    )
}

FIXES: Mapping[str, Fix] = {entry.code: _BY_NAME[entry.fix] for entry in CODES.values() if entry.fix is not None}
"""Fixes by the code they answer, as the catalogue names them."""
