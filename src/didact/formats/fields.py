"""Takes a raw row apart field by field and remembers what was absent, null, odd or left over."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import orjson

from didact.errors import RowError
from didact.records import Origin
from didact.records.checks import Problem

_ABSENT = object()
AUTHOR_KEYS = ("id", "ID", "_id", "uid", "uuid", "guid", "idx", "task_id", "question_id", "prompt_id")
"""Keys under which authors number their rows, the first found counts."""


class Fields:
    """The fields of one row. What is not taken from it ends up in the record's origin, so nothing is lost.

    Raises RowError JS002 when the row is no object.
    """

    __slots__ = ("_absent", "_extra", "_null", "_spelt", "_taken", "notes", "row")

    def __init__(self, row: Any) -> None:
        if not isinstance(row, dict):
            raise RowError("JS002", f"the row is {kind_of(row)}, not an object")
        self.row: dict[str, Any] = row
        self.notes: list[Problem] = []
        self._taken: set[str] = set()
        self._absent: list[str] = []
        self._null: list[str] = []
        self._extra: dict[str, Any] = {}
        self._spelt: dict[str, Any] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.row

    def first_of(self, keys: Sequence[str]) -> str:
        """The first of several names that the row has; when it has none, the first, to be reported as missing."""
        for key in keys:
            if key in self.row:
                return key
        return keys[0]

    def text(self, key: str) -> str:
        """A required text. `null` is read as empty and remembered. Raises RowError SC001 or SC002."""
        value = self.row.get(key, _ABSENT)
        self._taken.add(key)
        if type(value) is str:
            return value
        if value is _ABSENT:
            raise RowError("SC001", f"no field '{key}'; the row has {shown_keys(self.row)}", pointer(key))
        return self.spelt(value, pointer(key))

    def optional(self, key: str, *, odd_null: bool = False) -> str:
        """A text that may be absent or null, which is remembered; then it is empty. Raises RowError SC002.

        odd_null: the format spells nothing as an empty text, so that null is worth a note.
        """
        value = self.row.get(key, _ABSENT)
        self._taken.add(key)
        if type(value) is str:
            return value
        if value is _ABSENT:
            self._absent.append(key)
            return ""
        if value is None and not odd_null:
            self.nothing(pointer(key))
            return ""
        return self.spelt(value, pointer(key))

    def nothing(self, where: str) -> None:
        """Remember a null that stands where nothing is meant."""
        self._null.append(where.removeprefix("/"))

    def value(self, key: str) -> Any:
        """A field's value as it is; None when it is absent."""
        self._taken.add(key)
        return self.row.get(key)

    def spelt(self, value: Any, where: str) -> str:
        """A value as text: numbers and booleans as spelt, null as empty, each with a note. Raises RowError SC002."""
        if isinstance(value, str):
            return value
        if value is None:
            self.nothing(where)
            self.note("SC005", where, "null stands where text belongs")
            return ""
        if isinstance(value, bool | int | float):
            self.notes.append(("SC003", where, f"{value!r} stands where text belongs"))
            self._spelt[where.removeprefix("/")] = value
            return spelt_number(value)
        raise RowError("SC002", f"{kind_of(value)} where text belongs", where)

    def texts(self, value: Any, where: str) -> list[str]:
        """A list of texts, or a single one as a list of one. Raises RowError SC002."""
        if not isinstance(value, list):
            return [self.spelt(value, where)]
        return [self.spelt(item, f"{where}/{i}") for i, item in enumerate(value)]

    def note(self, code: str, where: str, message: str) -> None:
        """Add a warning about the row."""
        self.notes.append((code, where, message))

    def keep(self, key: str, value: Any) -> None:
        """Keep a value verbatim that the record has no place for."""
        self._extra[key] = value

    def took(self, key: str) -> bool:
        """Whether a field of the row was read."""
        return key in self._taken

    @property
    def kept(self) -> dict[str, Any]:
        """What was kept verbatim so far, by pointer without its first slash."""
        return self._extra

    def held_as(self, key: str, value: Any) -> None:
        """Remember how a value was spelt that the record holds in another form."""
        self._spelt[key] = value

    def origin(self, format_name: str) -> Origin:
        """What is left of the row, with the author's own identifier."""
        row = self.row
        if len(self._taken) >= len(row) and self._taken.issuperset(row):
            extra = self._extra
        else:
            extra = {key: value for key, value in row.items() if key not in self._taken} | self._extra
        if not (extra or self._spelt or self._absent or self._null):
            return Origin.bare(format_name)
        key = next((spelling for name in AUTHOR_KEYS if (spelling := _identifier(extra.get(name)))), None)
        if key is not None and extra.get("id") == key:
            del extra["id"]
        return Origin(format=format_name, key=key, extra=extra, spelt=self._spelt, absent=self._absent, null=self._null)


def _identifier(value: Any) -> str | None:
    if isinstance(value, str) and value:
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def pointer(*parts: str | int) -> str:
    """A JSON pointer.

    >>> pointer("messages", 0, "a/b")
    '/messages/0/a~1b'
    """
    return "".join(
        f"/{part.replace('~', '~0').replace('/', '~1') if isinstance(part, str) else part}" for part in parts
    )


def spelt_number(value: float | bool) -> str:
    """A number or boolean as the text it is read as; a whole number with all its digits.

    >>> spelt_number(1.50), spelt_number(True), spelt_number(2**70)
    ('1.5', 'true', '1180591620717411303424')
    """
    return str(value) if type(value) is int else orjson.dumps(value).decode()


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def shown_keys(row: Any) -> str:
    """A row's keys for a message, the first twelve."""
    if not isinstance(row, dict):
        return f"no keys, it is {kind_of(row)}"
    keys = [f"'{key}'" if len(key) <= 40 else f"'{key[:40]}...'" for key in islice(row, 12)]
    return (", ".join(keys) + (", ..." if len(row) > 12 else "")) or "no keys"


def has_text(row: Any, *keys: str) -> bool:
    """Whether a row is an object with something that can be read as text under each key."""
    return isinstance(row, dict) and all(key in row and not isinstance(row[key], dict | list) for key in keys)
