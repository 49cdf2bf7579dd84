"""Records as rows of a third-party format, and what such a row would lose.

Loss is never declared by hand: the new row is read again, recast to the record's own kind, and compared with it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError

from didact.errors import CallError, NoPlace, RowError
from didact.formats.draft import Draft
from didact.formats.fields import AUTHOR_KEYS, pointer
from didact.formats.recast import recast
from didact.formats.registry import Adapter
from didact.records import Header, Record

_ABOUT = {"id", "source", "origin", "header", "license", "group", "final_answer"}
"""Fields that say nothing of their own: derived from the content, or about where the record came from."""

_MISSING = object()

_CARRIED = ("license", "language", "split", "task", "tags")
"""Common fields that a row of another format keeps under their own names."""


class Loss(NamedTuple):
    """Something of a record that a row has no place for: its JSON pointer, and why."""

    pointer: str
    why: str


def write_row(adapter: Adapter, record: Record, header: Header | None = None, row: Any = None) -> Any:
    """The row that reads as the record.

    `row` is the author's row that the record was read from; it is not changed, and the result differs from it only
    where the record differs from what it reads as. Without one a new row is made, with what the record's origin
    remembers. Raises CallError when the format can only be read, NoPlace when it has no place for the record.
    """
    if adapter.write is None:
        raise CallError(f"format '{adapter.name}' can be read, but not written")
    if row is None:
        return _new_row(adapter, record, header)
    was = adapter.read(row, header).record
    if same_content(record, was):
        return row
    fits = was.kind == record.kind
    draft = Draft(record, header, copy.deepcopy(row) if fits else _unknown(record, {}), was if fits else None)
    adapter.write(draft)
    return draft.row


def _new_row(adapter: Adapter, record: Record, header: Header | None) -> Any:
    assert adapter.write is not None
    own = record if record.kind in adapter.kinds else recast(record, adapter.kinds[0], header)
    draft = Draft(own, header, {}, None)
    adapter.write(draft)
    origin = record.origin
    if not isinstance(draft.row, dict):
        return draft.row
    if origin is not None and origin.format == adapter.name:
        return _as_spelt(adapter, draft.row, record)
    back = adapter.read(draft.row, header).record
    carried = {name: getattr(record, name) for name in _CARRIED if getattr(record, name) != getattr(back, name)}
    stated = {key: value for key, value in carried.items() if value not in (None, [])}
    for key, value in (_unknown(record, draft.row) | stated).items():
        draft.row.setdefault(key, value)
    return draft.row


def _unknown(record: Record, row: dict[str, Any]) -> dict[str, Any]:
    """Keys of the author's row that the record has no field for, his own identifier first; pointers into a field that
    the row has are left out.
    """
    origin = record.origin
    if origin is None:
        return {}
    extra = {
        key: value
        for key, value in origin.extra.items()
        if key.partition("/")[0] not in row or key == key.partition("/")[0]
    }
    named = origin.key is not None and not any(str(extra.get(key)) == origin.key for key in AUTHOR_KEYS)
    return ({"id": origin.key} if named else {}) | extra


def _as_spelt(adapter: Adapter, row: dict[str, Any], record: Record) -> dict[str, Any]:
    """A new row as its author spelt it: each spelling is taken over that reads as the same record."""
    origin = record.origin
    assert origin is not None
    row = _unknown(record, row) | row
    spelt = {place: value for place, value in origin.spelt.items() if place.partition("/")[0] in row}
    places = [*origin.extra.items(), *spelt.items(), *((place, None) for place in origin.null)]
    row = _with_places(adapter, row, places, record)
    for key in origin.absent:
        trial = {name: value for name, value in row.items() if name != key}
        if _reads_as(adapter, trial, record):
            row = trial
    return row


def _with_places(
    adapter: Adapter, row: dict[str, Any], places: list[tuple[str, Any]], record: Record
) -> dict[str, Any]:
    """The row with each value set that leaves it reading as the record: all at once, or half by half."""
    if not places:
        return row
    trial = copy.deepcopy(row)
    if all(_set(trial, place.split("/"), value) for place, value in places) and _reads_as(adapter, trial, record):
        return trial
    if len(places) == 1:
        return row
    half = len(places) // 2
    return _with_places(adapter, _with_places(adapter, row, places[:half], record), places[half:], record)


def _set(row: Any, path: list[str], value: Any) -> bool:
    """Set what stands at a path; False when there is no such place."""
    for step in path[:-1]:
        row = _step(row, step)
    last = path[-1].replace("~1", "/").replace("~0", "~")
    if isinstance(row, dict):
        row[last] = value
        return True
    if isinstance(row, list) and last.isdigit() and int(last) < len(row):
        row[int(last)] = value
        return True
    return False


def _step(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name.replace("~1", "/").replace("~0", "~"))
    return value[int(name)] if isinstance(value, list) and name.isdigit() and int(name) < len(value) else None


def _reads_as(adapter: Adapter, row: Any, record: Record) -> bool:
    """Whether a row reads as the record, and has no key that its author's row had not."""
    try:
        back = adapter.read(row, None).record
    except (RowError, ValidationError):
        return False
    had = record.origin.extra if record.origin else {}
    return same_content(back, record) and (back.origin is None or back.origin.extra.items() <= had.items())


def same_content(one: Record, other: Record) -> bool:
    """Whether two records hold the same, whatever their ids, sources and origins."""
    return _content(one) == _content(other)


def _content(record: Record) -> dict[str, Any]:
    return record.model_dump(exclude=_ABOUT)


def losses(adapter: Adapter, record: Record, row: Any, header: Header | None, written: Header | None) -> list[Loss]:
    """What of the record a row of the format does not hold, by going there and back.

    `header` belongs to the record, `written` to the file the row stands in.
    """
    try:
        back = adapter.read(row, written).record
    except (RowError, ValidationError) as error:
        return [Loss("", f"the row cannot be read again: {str(error).partition(chr(10))[0]}")]
    try:
        same_kind = recast(back, record.kind, written)
    except NoPlace as error:
        return [Loss("", str(error))]
    mine = record.model_dump(exclude=_ABOUT - {"license"} | {"kind"}, exclude_defaults=True)
    theirs = same_kind.model_dump(exclude=_ABOUT - {"license"})
    kept = back.origin.extra if back.origin else {}
    found = [Loss(place, why) for place, why in _differences(mine, theirs, "") if not _carried(place, mine, kept)]
    return [*found, *_header_losses(header, written, theirs, kept), *_origin_losses(record, back)]


def _carried(place: str, mine: dict[str, Any], kept: dict[str, Any]) -> bool:
    name = place.split("/")[1]
    return name in _CARRIED and kept.get(name) == mine[name]


def _differences(mine: Any, theirs: Any, where: str) -> Iterator[tuple[str, str]]:
    """Pointers at which the one has something that the other has not."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key, value in mine.items():
            yield from _differences(value, theirs.get(key), where + pointer(key))
    elif isinstance(mine, list) and isinstance(theirs, list):
        for i, value in enumerate(mine):
            if i < len(theirs):
                yield from _differences(value, theirs[i], f"{where}/{i}")
            else:
                yield f"{where}/{i}", "has no place"
    elif mine != theirs:
        yield where, "has no place" if theirs in (None, "", []) else "reads as something else"


def _header_losses(
    header: Header | None, written: Header | None, theirs: dict[str, Any], kept: dict[str, Any]
) -> Iterator[Loss]:
    """What the record's file says once and the row's file does not."""
    if header is None or (written is not None and written.id == header.id):
        return
    held = written.model_dump(exclude_defaults=True) if written else {}
    for name, value in header.model_dump(exclude_defaults=True, exclude={"id"}).items():
        if name == "definition" and len(value) == 1 and value[0] in (theirs.get("definition") or ""):
            continue
        if name in ("task", "canary") and kept.get(name) == value:
            continue
        if name == "categories" and value == kept.get("tags"):
            continue
        if held.get(name) != value:
            yield Loss(f"/header/{name}", "said once for the whole file, which this format cannot")


def _origin_losses(record: Record, back: Record) -> Iterator[Loss]:
    """Keys of the author's row that the new row does not carry."""
    if record.origin is None:
        return
    kept = back.origin.extra if back.origin else {}
    for key, value in record.origin.extra.items():
        if kept.get(key, _MISSING) != value and getattr(back, key, _MISSING) != value:
            yield Loss(f"/origin/extra{pointer(key)}", "the format uses this key for something else, or cannot hold it")
