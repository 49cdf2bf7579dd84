"""New rows gathered into what their files hold: the elements of nested formats, the objects of formats that are one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import orjson

from didact.errors import DataError
from didact.formats.json_edit import spelled
from didact.formats.registry import Adapter
from didact.records import Header, Record, Task
from didact.sources.containers import OBJECT_LIMIT

_TOGETHER = 10_000
"""Rows of a nested format that are gathered into elements at a time."""


class NewRow(NamedTuple):
    """A row to be written, and where its record was read."""

    place: str
    text: bytes
    """JSON on one line."""
    header: Header | None = None
    """What the row's file says once."""
    whole: bool = False
    """Whether this is an element of a nested file already."""
    losing: bool = False
    """Whether its record is known to lose something."""
    code: str = ""
    """Why it could not be read, when it is copied all the same."""


def compact(value: Any) -> bytes:
    """A value as JSON text on one line. Raises DataError for what is no JSON value."""
    try:
        return orjson.dumps(value)
    except TypeError:
        try:
            return spelled(value).encode("utf-8")
        except (TypeError, ValueError) as error:
            raise DataError(f"a row holds what JSON cannot: {error}") from error


def elements_of(rows: Iterator[NewRow], adapter: Adapter) -> Iterator[bytes]:
    """Rows as the elements of their file: for nested formats gathered, for others as they are."""
    if adapter.gather is None:
        yield from (row.text for row in rows)
        return
    while some := list(islice(rows, _TOGETHER)):
        loose: list[Any] = []
        for row in some:
            if not row.whole:
                loose.append(orjson.loads(row.text))
                continue
            yield from map(compact, adapter.gather(loose))
            loose = []
            yield row.text
        yield from map(compact, adapter.gather(loose))


def objects_of(rows: Iterator[NewRow], adapter: Adapter) -> Iterator[tuple[Header, bytes]]:
    """One object for each header, in the order in which the headers come. Rows are held in memory meanwhile.

    Raises DataError when an object would be larger than what can be read again.
    """
    assert adapter.write_header is not None and adapter.list_key is not None
    by_header: dict[str, tuple[Header, list[NewRow]]] = {}
    size = 0
    for row in rows:
        header = row.header or Header()
        by_header.setdefault(header.id, (header, []))[1].append(row)
        size += len(row.text)
        if size > OBJECT_LIMIT:
            raise DataError(f"the object would be larger than {OBJECT_LIMIT:,} bytes; convert fewer files at a time")
    for header, own in by_header.values():
        head = [f"{spelled(key)}: {spelled(value)}" for key, value in adapter.write_header(header, {}).items()]
        listed = b",\n".join(elements_of(iter(own), adapter))
        opening = "".join(f"{member},\n" for member in head) + f"{spelled(adapter.list_key)}: [\n"
        yield header, b"{" + opening.encode("utf-8") + listed + b"\n]}\n"


def object_name(header: Header) -> str:
    """Name of the file for the rows of a header: after its task, from which some formats read the task again."""
    stem = "".join(c if c.isalnum() or c in "._-" else "-" for c in header.task or header.id[:12] or "rows")
    return f"{stem[:100]}.json"


@dataclass(slots=True)
class FileHeaders:
    """What the new files of a format say once for all their records; nothing for formats that say nothing once."""

    adapter: Adapter
    name: Callable[[Header], str] = object_name
    """Name of the file in which records with a header will stand."""
    _written: dict[str, Header | None] = field(default_factory=dict)

    def of(self, record: Record, header: Header | None) -> Header | None:
        """What a record's new file says once: its header, or, for files of one task, what the record says is to be
        done.
        """
        if self.adapter.write_header is None or header is not None:
            return header
        if isinstance(record, Task) and record.definition:
            return Header(task=record.task, definition=[record.definition]).with_id()
        return None

    def read_back(self, header: Header | None) -> Header | None:
        """A header as it will be read from the new file."""
        if self.adapter.write_header is None or self.adapter.header is None:
            return None
        own = header or Header()
        if own.id not in self._written:
            self._written[own.id] = self.adapter.header(self.adapter.write_header(own, {}), self.name(own))
        return self._written[own.id]
