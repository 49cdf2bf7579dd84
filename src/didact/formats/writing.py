"""Records as rows of a third-party format, and what such a row would lose.

Loss is never declared by hand: the new row is read again, recast to the record's own kind, and compared with it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError

from didact.errors import CallError, NoPlace, RowError
from didact.formats.draft import Draft
from didact.formats.fields import AUTHOR_KEYS, pointer
from didact.formats.recast import recast
from didact.formats.registry import Adapter
from didact.records import Header, Record, Task

_ABOUT = {"id", "source", "origin", "header", "license", "group", "final_answer"}
"""Fields that say nothing of their own: derived from the content, or about where the record came from."""

_MISSING = object()

_CARRIED = ("license", "language", "split", "task", "tags")
"""Common fields that a row of another format keeps under their own names."""


_ONCE = "said once for the whole file; rows of this format have no place for it"
_JOINED = "is joined with other text and cannot be told apart again"
_IN_A_LIST = re.compile(r"/\d+(/|$)")


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
        return _new_row(adapter, record, header)[0]
    was = adapter.read(row, header).record
    if same_content(record, was):
        return row
    fits = was.kind == record.kind
    draft = Draft(record, header, copy.deepcopy(row) if fits else _unknown(record, {}), was if fits else None)
    adapter.write(draft)
    return draft.row


def _new_row(adapter: Adapter, record: Record, header: Header | None) -> tuple[Any, Record | None]:
    """A new row, and what it reads as where that is known."""
    assert adapter.write is not None
    own = record if record.kind in adapter.kinds else recast(record, adapter.kinds[0], header)
    draft = Draft(own, header, {}, None)
    adapter.write(draft)
    origin = record.origin
    if not isinstance(draft.row, dict):
        return draft.row, None
    if origin is not None and origin.format == adapter.name:
        return _as_spelt(adapter, draft.row, record), None
    back = _read_back(adapter, draft.row, header)
    carried = {name: getattr(record, name) for name in _CARRIED if getattr(record, name) != getattr(back, name)}
    stated = {key: value for key, value in carried.items() if value not in (None, [])}
    more = {key: value for key, value in (_unknown(record, draft.row) | stated).items() if key not in draft.row}
    return _with_more(adapter, draft.row, back, more, header)


def _with_more(
    adapter: Adapter, row: dict[str, Any], back: Record, more: dict[str, Any], header: Header | None
) -> tuple[dict[str, Any], Record]:
    """A new row with keys that the record has no field for, but for those which the format reads as something else."""
    if not more:
        return row, back
    if (again := _as_before(adapter, row | more, back, header)) is not None:
        return row | more, again
    for key, value in more.items():
        if (again := _as_before(adapter, row | {key: value}, back, header)) is not None:
            row, back = row | {key: value}, again
    return row, back


def _as_before(adapter: Adapter, row: dict[str, Any], back: Record, header: Header | None) -> Record | None:
    """What a row reads as, unless that is another record."""
    try:
        again = adapter.read(row, header).record
    except (RowError, ValidationError):
        return None
    return again if again.kind == back.kind and _unequal(again, back) <= {*_CARRIED} else None


def _read_back(adapter: Adapter, row: Any, header: Header | None) -> Record:
    """A new row as a record. Raises NoPlace when it is none, such as a question without its answer."""
    try:
        return adapter.read(row, header).record
    except (RowError, ValidationError) as error:
        raise NoPlace(f"the new row cannot be read again: {str(error).partition(chr(10))[0]}") from error


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


def losses(
    adapter: Adapter,
    record: Record,
    row: Any,
    header: Header | None,
    written: Header | None,
    back: Record | None = None,
) -> list[Loss]:
    """What of the record a row of the format does not hold, by going there and back.

    `header` belongs to the record, `written` to the file the row stands in; `back` is what the row reads as there, for
    callers that know it.
    """
    try:
        back = back if back is not None else _read_back(adapter, row, written)
        same_kind = recast(back, record.kind, written)
    except NoPlace as error:
        return [Loss("", str(error))]
    kept = back.origin.extra if back.origin else {}
    names = _unequal(record, same_kind)
    found = _content_losses(record, same_kind, names, header, written, kept) if names else []
    return [*found, *_header_losses(header, written, same_kind, kept), *_origin_losses(record, back)]


def _unequal(one: Record, other: Record) -> set[str]:
    """Fields that say something of their own, and say something else in the other record of the same kind."""
    return {
        name
        for name, value in one.__dict__.items()
        if (name not in _ABOUT or name == "license") and value != getattr(other, name)
    }


def _content_losses(
    record: Record,
    back: Record,
    names: set[str],
    header: Header | None,
    written: Header | None,
    kept: dict[str, Any],
) -> list[Loss]:
    """What a record holds in some of its fields that the record its row reads as does not hold there."""
    mine = record.model_dump(include=names, exclude_defaults=True)
    theirs = back.model_dump(include=names)
    if written is not None and mine.get("definition") in written.definition and not theirs.get("definition"):
        theirs["definition"] = mine["definition"]
    texts = [text.text for text in back.texts()]
    found = [
        Loss(place, _explained(mine_there, why, texts))
        for place, why, mine_there in _differences(mine, theirs, "")
        if not _carried(place, mine, kept)
    ]
    told = {loss.pointer for loss in found}
    return found + [loss for loss in _added(record, back, header) if loss.pointer not in told]


def _added(record: Record, back: Record, header: Header | None) -> Iterator[Loss]:
    """Texts that the row reads with where the record has none: they come from another of its fields."""
    mine = {text.text for text in record.texts()}
    said = header.definition if header is not None else ()
    for text in back.texts():
        if text.text and text.text not in mine and not any(text.text in one or one in text.text for one in said):
            yield Loss(f"/{text.field}", "reads as something else")


def _carried(place: str, mine: dict[str, Any], kept: dict[str, Any]) -> bool:
    name = place.split("/")[1]
    return name in _CARRIED and kept.get(name) == mine[name]


def _explained(value: Any, why: str, texts: list[str]) -> str:
    """Why a value is lost; a text that went into another one of `texts` is told apart from one that went nowhere."""
    if not isinstance(value, str) or not value:
        return why
    if value in texts:
        return "reads as another field"
    return _JOINED if any(f"{value}\n" in f"{text}\n" for text in texts) else why


def _differences(mine: Any, theirs: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """Pointers at which the one has something that the other has not, why, and what it is."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key, value in mine.items():
            yield from _differences(value, theirs.get(key), where + pointer(key))
    elif isinstance(mine, list) and isinstance(theirs, list):
        for i, value in enumerate(mine):
            if i < len(theirs):
                yield from _differences(value, theirs[i], f"{where}/{i}")
            else:
                yield f"{where}/{i}", "has no place", value
    elif mine != theirs:
        yield where, "has no place" if theirs in (None, "", []) else "reads as something else", mine


def _header_losses(header: Header | None, written: Header | None, back: Record, kept: dict[str, Any]) -> Iterator[Loss]:
    """What the record's file says once and the row's file does not."""
    if header is None or (written is not None and written.id == header.id):
        return
    held = written.model_dump(exclude_defaults=True) if written else {}
    for name, value in header.model_dump(exclude_defaults=True, exclude={"id"}).items():
        if name == "definition" and len(value) == 1 and value[0] in (getattr(back, "definition", None) or ""):
            continue
        if name in ("task", "canary") and value in (kept.get(name), getattr(back, name, None)):
            continue
        if name == "categories" and value == kept.get("tags"):
            continue
        if name == "extra":
            lost = [key for key, inner in value.items() if held.get("extra", {}).get(key, ...) != inner]
            yield from (Loss(pointer(key), _ONCE) for key in lost)
        elif held.get(name) != value:
            yield Loss(f"/header/{name}", _ONCE)


def row_pointer(key: str) -> str:
    """The JSON pointer of a key in a record's `origin`, which holds names of keys and, for what lies inside lists,
    pointers without their first slash.
    """
    return f"/{key}" if _IN_A_LIST.search(key) else pointer(key)


def _origin_losses(record: Record, back: Record) -> Iterator[Loss]:
    """Keys of the author's row that the new row does not carry."""
    if record.origin is None:
        return
    kept = back.origin.extra if back.origin else {}
    for key, value in record.origin.extra.items():
        if kept.get(key, _MISSING) != value and getattr(back, key, _MISSING) != value:
            yield Loss(
                row_pointer(key),
                "the format uses this key for something else, or cannot hold it",
            )


def convert_record(
    adapter: Adapter,
    record: Record,
    header: Header | None,
    target: Header | None,
    written: Header | None,
    row: Any = None,
) -> tuple[Any, list[Loss]]:
    """A record as a new row of a format, and what the row does not hold.

    `header` belongs to the record; `target` is what its new file is to say once, `written` that as it is read back.
    `row` is the author's row, when it is of this format.
    Raises NoPlace when the format has nothing like the record.
    """
    own = record
    if target is not None and isinstance(record, Task) and record.definition in target.definition:
        own = record.model_copy(update={"definition": None})
    if row is not None:
        new, back = write_row(adapter, own, target, row), None
    else:
        new, back = _new_row(adapter, own, target)
    known = back if adapter.header is None else None  # else it was read beside another header
    return new, losses(adapter, record, new, header, written, known)
