"""Third-party formats: rows of a version as an adapter writes them, in files as the format has them.

Formats of independent rows, and of elements that hold several, become SPLIT.jsonl. Formats whose file is one object
(a task, a set of articles) become SPLIT/NAME.json for each thing that such a file says once.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from didact.errors import DataError, NoPlace
from didact.formats.registry import Adapter
from didact.formats.writing import Loss, convert_record
from didact.records import AnyRecord, Header
from didact.sources.containers import OBJECT_LIMIT
from didact.sources.gathering import FileHeaders, NewRow, compact, elements_of, object_name, objects_of
from didact.store.manifest import FileEntry

_HELD = OBJECT_LIMIT // 2
"""Bytes of rows held while objects are made of them; half of what an object that is read again may have."""


@dataclass
class Foreign:
    """Writes rows of shards in a third-party format."""

    adapter: Adapter
    headers: Mapping[str, Header]
    """What the records' own files said once, by id."""
    licenses: Mapping[str, str | None]
    """The recipe's licence of each source, which rows do not repeat."""
    allow_loss: bool
    lost: Counter[str] = field(default_factory=Counter)
    """Rows by what of them the format does not hold: JSON pointer, with N for numbers, and why."""

    def __post_init__(self) -> None:
        self._files = FileHeaders(self.adapter)

    def write(self, folder: Path, place: str, rows: Iterable[Mapping[str, Any]]) -> list[FileEntry]:
        """Write the rows of one split under `place` (MIX/SPLIT); an entry counts the rows that a file holds.

        Raises DataError for a row that loses something, unless that is allowed.
        """
        made = (new for new in map(self._new_row, rows) if new is not None)
        if self.adapter.list_key is not None:
            return list(self._objects(folder, place, made))
        counted = _Counted(made)
        entry = write_file(folder, f"{place}.jsonl", (text + b"\n" for text in elements_of(counted, self.adapter)))
        return [entry.model_copy(update={"rows": counted.count})]

    def _new_row(self, row: Mapping[str, Any]) -> NewRow | None:
        """A row as the adapter writes it; None where the format has no place for it."""
        record = AnyRecord.validate_json(row["record"])
        header = self.headers.get(record.header) if record.header else None
        if record.license == self.licenses.get(record.source):
            record.assign(license=None)
        target, made = self._files.of(record, header), None
        try:
            made, lost = convert_record(self.adapter, record, header, target, self._files.read_back(target))
        except NoPlace as error:
            lost = [Loss(error.pointer, error.message)]
        if lost and not self.allow_loss:
            raise DataError(
                f"record {row['id']}: format '{self.adapter.name}' does not hold '{lost[0].pointer}' ({lost[0].why}); "
                "--allow-loss exports without it, and counts it"
            )
        self.lost.update({f"{re.sub(r'/[0-9]+', '/N', one.pointer)}: {one.why}" for one in lost})
        return None if made is None else NewRow(row["id"], compact(made), target)

    def _objects(self, folder: Path, place: str, rows: Iterator[NewRow]) -> Iterator[FileEntry]:
        """A file for each header; where rows are too many to be held, or names equal, in further folders `part-N`."""
        taken: set[str] = set()
        for held in _held(rows):
            counts = Counter((row.header or Header()).id for row in held)
            for header, text in objects_of(iter(held), self.adapter):
                name = _free(place, object_name(header), taken)
                yield write_file(folder, name, [text]).model_copy(update={"rows": counts[header.id]})


def _free(place: str, name: str, taken: set[str]) -> str:
    """The first path for a file's name that is not taken, which it then is."""
    part, path = 0, f"{place}/{name}"
    while path.lower() in taken:
        part += 1
        path = f"{place}/part-{part:05d}/{name}"
    taken.add(path.lower())
    return path


def _held(rows: Iterator[NewRow]) -> Iterator[list[NewRow]]:
    """Rows in lists of bounded size."""
    held: list[NewRow] = []
    size = 0
    for row in rows:
        if held and size + len(row.text) > _HELD:
            yield held
            held, size = [], 0
        held.append(row)
        size += len(row.text)
    if held:
        yield held


class _Counted(Iterator[NewRow]):
    """Counts what goes through."""

    def __init__(self, rows: Iterator[NewRow]) -> None:
        self._rows, self.count = rows, 0

    def __next__(self) -> NewRow:
        row = next(self._rows)
        self.count += 1
        return row


def write_file(folder: Path, name: str, texts: Iterable[bytes]) -> FileEntry:
    """Texts as a file, each counted as a row. The folder gets its name when it is whole, so the file needs no step
    aside.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    state, rows, size = hashlib.sha256(), 0, 0
    with path.open("wb") as out:
        for text in texts:
            out.write(text)
            state.update(text)
            rows, size = rows + 1, size + len(text)
    return FileEntry(path=name, sha256=state.hexdigest(), bytes=size, rows=rows)
