"""Finds the format of a file by scoring every adapter on its first rows, and refuses to guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from didact.errors import CallError
from didact.formats.fields import shown_keys
from didact.formats.pointers import lifted, put_back
from didact.formats.registry import Adapter, adapters, get
from didact.plugins import Plugin

SAMPLE_ROWS = 100
"""Rows that are scored."""

ENOUGH = 0.5
"""Least mean score of a format that fits."""

TIE = 0.05
"""Formats whose mean scores are closer than this cannot be told apart."""


def renamed(row: Any, columns: Mapping[str, str], adapter: Adapter) -> Any:
    """A row with mapped keys under the adapter's own names; a key that has such a name already is put aside.

    A key that the row does not have may be the path of a value inside it, such as `data/question`.
    """
    if not columns or not isinstance(row, dict):
        return row
    own = {key: adapter.columns[generic] for generic, key in columns.items() if key in row}
    deep = {adapter.columns[generic]: key for generic, key in columns.items() if key not in row and "/" in key}
    row, found = lifted(row, deep)
    taken = {*own.values(), *found}
    return {own.get(key, f"{key}#2" if key in taken else key): value for key, value in row.items()} | found


def restored(row: Any, given: Any, columns: Mapping[str, str], adapter: Adapter) -> Any:
    """The opposite of `renamed`: a changed row under the keys of the row it was `given` as."""
    if not columns or not isinstance(row, dict):
        return row
    own = {adapter.columns[generic]: key for generic, key in columns.items()}
    deep = {name: key for name, key in own.items() if key not in given and "/" in key and name in row}
    _, deep_found = lifted(given, deep)
    theirs = {name: key for name, key in own.items() if key in given}
    aside = theirs.keys() | deep_found.keys()
    new = {
        theirs.get(key, key[:-2] if key.endswith("#2") and key[:-2] in aside else key): value
        for key, value in row.items()
        if key not in deep_found
    }
    for name in deep_found:
        new = put_back(new, deep[name], row[name])
    return new


def require_columns(adapter: Adapter, columns: Mapping[str, str], where: str) -> None:
    """Raises CallError when `columns` names something the format does not have."""
    for generic in columns:
        if generic not in adapter.columns:
            known = ", ".join(sorted(adapter.columns)) or "none"
            raise CallError(f"{where}: format '{adapter.name}' has no column '{generic}'; its columns: {known}")


def detect(sample: Sequence[Any], where: str, columns: Mapping[str, str] | None = None, *, whole: bool = False) -> str:
    """Name of the one adapter that fits a sample of rows, or with `whole` the one object that is the file.

    Raises CallError when none fits, or several fit alike.
    """
    columns = columns or {}
    candidates = [
        adapter
        for adapter in adapters().values()
        if columns.keys() <= adapter.columns.keys() and (whole or adapter.list_key is None)
    ]
    scores = {adapter.name: _mean_score(sample, columns, adapter) for adapter in candidates}
    best = max(scores.values(), default=0.0)
    if best < ENOUGH:
        raise CallError(_nothing_fits(sample, where))
    close = sorted(name for name, score in scores.items() if score > best - TIE)
    if len(close) > 1:
        raise CallError(f"{where}: fits {' and '.join(close)} alike; name the one that is meant with 'format'")
    return close[0]


def only_fit(row: Any, own: str, columns: Mapping[str, str]) -> str | None:
    """The one format but `own` that a row fits best and well; None when there is none or several."""
    scores = {
        adapter.name: _mean_score([row], columns, adapter)
        for adapter in adapters().values()
        if adapter.name != own and adapter.list_key is None and columns.keys() <= adapter.columns.keys()
    }
    best = max(scores.values(), default=0.0)
    close = [name for name, score in scores.items() if score > best - TIE]
    return close[0] if best >= ENOUGH and len(close) == 1 else None


def _mean_score(sample: Sequence[Any], columns: Mapping[str, str], adapter: Adapter) -> float:
    return sum(adapter.fits(renamed(row, columns, adapter)) for row in sample) / len(sample) if sample else 0.0


def _nothing_fits(sample: Sequence[Any], where: str) -> str:
    """What was found, and how to say what it means."""
    if not sample:
        return f"{where}: no readable row to tell the format by; name it with 'format'"
    found = shown_keys(sample[0])
    return (
        f"{where}: no format fits; the first row has {found}. Name the format with 'format', "
        "or say which key holds what, as in 'columns: {prompt: query, response: reply}'; "
        "a CSV file begins with the names of its columns, or is given them, as in 'names: [question, answer]'"
    )


def named_or_detected(
    name: str,
    sample: Sequence[Any],
    where: str,
    columns: Mapping[str, str],
    *,
    whole: bool = False,
    plugin: Plugin | None = None,
) -> Adapter:
    """The adapter a caller named, or with `auto` the one that fits."""
    adapter = get(detect(sample, where, columns, whole=whole)) if name == "auto" else get(name, plugin)
    require_columns(adapter, columns, where)
    return adapter
