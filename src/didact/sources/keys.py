"""Keys that stand twice in one JSON object: parsers keep the last and say nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from didact.records.findings import Problem
from didact.sources.blocks import Numbers

DEPTH = 200
"""Levels of objects and lists in a row; the writer of canonical JSON allows 254, and a record adds a few."""

_MOST = 5
"""Repeated keys that are told of one row."""


_BEFORE_COLONS = np.zeros(256, np.bool_)
_BEFORE_COLONS[[*b'" \n\r\t']] = True
"""What can stand before the colon of a key."""


class TooDeep(Exception):
    """A row is nested more than `DEPTH` levels deep."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {DEPTH} levels deep")


def key_colons(data: bytes, starts: Numbers, ends: Numbers) -> list[int]:
    """How many colons of each row may be those of keys; colons inside texts are counted as well."""
    if not len(starts):
        return []
    first = int(starts[0])
    codes = np.frombuffer(data, np.uint8)[first : int(ends[-1])]
    colons = np.flatnonzero(codes == ord(":"))
    colons = first + colons[_BEFORE_COLONS[codes[colons - 1]]]
    return list((np.searchsorted(colons, ends) - np.searchsorted(colons, starts)).tolist())


def repeated_keys(raw: bytes, value: Any, colons: int) -> tuple[Problem, ...]:
    """A warning for every key that an object of a row holds twice. `value` is what `raw` was parsed to, `colons` what
    `key_colons` says of it: as many as there are keys when none was read over another.

    Raises TooDeep.
    """
    return () if _keys(value, DEPTH) == colons else tuple(_repeated(raw))


def require_shallow(value: Any) -> None:
    """Raises TooDeep."""
    _keys(value, DEPTH)


def _keys(value: Any, levels: int) -> int:
    """How many keys the objects of a value have in all. Raises TooDeep when it has more than so many levels."""
    if not levels:
        raise TooDeep
    if isinstance(value, dict):
        count = len(value)
        values: Iterable[Any] = value.values()
    elif isinstance(value, list):
        count, values = 0, value
    else:
        return 0
    for inner in values:
        kind = type(inner)
        if kind is dict or kind is list:
            count += _keys(inner, levels - 1)
    return count


class _Object(dict[str, Any]):
    """An object that remembers which keys came again."""

    again: tuple[str, ...] = ()


def _hook(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        made.again = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return made


def _repeated(raw: bytes) -> Iterable[Problem]:
    """Look at every object of a row for keys that came again."""
    found: list[Problem] = []
    waiting: list[tuple[str, Any]] = [("", json.loads(raw, object_pairs_hook=_hook))]
    while waiting and len(found) < _MOST:
        where, value = waiting.pop()
        if isinstance(value, _Object):
            found += [
                ("JS003", f"{where}/{_escaped(key)}", f"the key '{key[:40]}' stands twice; the last value is read")
                for key in value.again
            ]
            waiting += [(f"{where}/{_escaped(key)}", inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{where}/{i}", inner) for i, inner in enumerate(value)]
    return found[:_MOST]


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
