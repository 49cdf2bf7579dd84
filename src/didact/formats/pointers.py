"""Values inside a row, by path: a JSON pointer, whose first slash may be left out, such as `data/question`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, cast


def value_at(row: Any, key: str) -> Any:
    """The value of a row's own key, else the one at a path inside it; None when there is neither.

    >>> value_at({"meta": {"tags": ["a", "b"]}, "x/y": 1}, "meta/tags/1"), value_at({"x/y": 1}, "x/y")
    ('b', 1)
    """
    if not isinstance(row, dict) or key in row:
        return row.get(key) if isinstance(row, dict) else None
    try:
        return _taken(row, _steps(key))[0]
    except LookupError:
        return None


def lifted(row: dict[str, Any], paths: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A copy of a row without the values at some paths, and these values by their new names, where there are any.

    Lists keep their length: `null` stands where a value was taken from one.
    """
    found: dict[str, Any] = {}
    for name, path in paths.items():
        try:
            found[name], row = _taken(row, _steps(path))
        except LookupError:
            continue
    return row, found


def put_back(row: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The opposite of `lifted`: a copy of a row with a value at a path that leads somewhere."""
    *above, last = _steps(path)
    copied: Any = deepcopy(row)
    inner = copied
    for step in above:
        inner = inner[int(step) if isinstance(inner, list) else step]
    inner[int(last) if isinstance(inner, list) else last] = value
    return cast(dict[str, Any], copied)


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.removeprefix("/").split("/")]


def _taken(value: Any, steps: Sequence[str]) -> tuple[Any, Any]:
    """What stands at a path, and a copy of the value without it. Raises LookupError when nothing does."""
    if isinstance(value, list) and steps[0].isdecimal():
        return _from(value, int(steps[0]), steps[1:])
    if isinstance(value, dict):
        return _from(value, steps[0], steps[1:])
    raise LookupError(steps[0])


def _from(value: Any, key: int | str, rest: Sequence[str]) -> tuple[Any, Any]:
    copy = value.copy()
    if rest:
        found, copy[key] = _taken(value[key], rest)
    elif isinstance(value, dict):
        found = copy.pop(key)
    else:
        found, copy[key] = value[key], None
    return found, copy
