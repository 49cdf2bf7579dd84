"""New rows as a file: JSON lines, an array, one object, a table, Parquet, Arrow or plain text.

Rows come as JSON text, one after the other. What a container itself cannot hold (a list in a cell, a line end in a
line) is found by reading back what it would hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from didact.convert.losses import Ledger
from didact.convert.tables import write_columnar, write_table
from didact.errors import DataError
from didact.formats.fields import kind_of, pointer
from didact.formats.json_edit import spelled
from didact.formats.registry import Adapter
from didact.formats.writing import Loss
from didact.records import Header
from didact.sources.containers import OBJECT_LIMIT, Container
from didact.sources.files import write_stream

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


Write = Callable[[Path, Iterator[NewRow], Adapter, Ledger], None]


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


def _write_lines(path: Path, rows: Iterator[NewRow], adapter: Adapter, ledger: Ledger) -> None:
    del ledger
    with write_stream(path) as out:
        for text in elements_of(rows, adapter):
            out.write(text + b"\n")


def _write_array(path: Path, rows: Iterator[NewRow], adapter: Adapter, ledger: Ledger) -> None:
    """An array with each element on a line of its own."""
    del ledger
    with write_stream(path) as out:
        before = b"[\n"
        for text in elements_of(rows, adapter):
            out.write(before + text)
            before = b",\n"
        out.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def _write_object(path: Path, rows: Iterator[NewRow], adapter: Adapter, ledger: Ledger) -> None:
    del ledger
    made = list(objects_of(rows, adapter))
    if len(made) != 1:
        raise DataError(
            f"a file of format '{adapter.name}' holds one object, and these records make {len(made)}; "
            "name a folder (without an ending) as OUT"
        )
    with write_stream(path) as out:
        out.write(made[0][1])


def write_objects(folder: Path, rows: Iterator[NewRow], adapter: Adapter) -> list[str]:
    """Write a file for each header into a folder, named after its task; give the names."""
    names: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    for header, text in objects_of(rows, adapter):
        stem = "".join(c if c.isalnum() or c in "._-" else "-" for c in header.task or header.id[:12] or "rows")[:100]
        name = f"{stem}.json" if f"{stem}.json" not in names else f"{stem}-{header.id[:12]}.json"
        names.append(name)
        (folder / name).write_bytes(text)
    return names


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


def _write_text(path: Path, rows: Iterator[NewRow], adapter: Adapter, ledger: Ledger) -> None:
    """One text to a line, to be read with `unit: line`."""
    del adapter
    with write_stream(path) as out:
        for row in rows:
            fields = orjson.loads(row.text)
            if row.code:
                ledger.not_copied(row.place, row.code, "it holds no text")
                continue
            ledger.lost(row.place, _lost_in_text(fields), again=row.losing)
            text = fields["text"]
            out.write((text if isinstance(text, str) else orjson.dumps(text).decode()).encode("utf-8") + b"\n")


def _lost_in_text(fields: dict[str, Any]) -> Sequence[Loss]:
    found = [Loss(pointer(key), "a text file holds texts alone") for key in fields if key != "text"]
    text = fields["text"]
    if not isinstance(text, str):
        return [*found, Loss("/text", f"{kind_of(text)} becomes text")]
    if "\n" in text or "\r" in text:
        found.append(Loss("/text", "a text of several lines becomes as many texts; JSON lines keep it"))
    elif not text.strip():
        found.append(Loss("/text", "a blank line of a text file is no text"))
    return found


WRITE: dict[Container, Write] = {
    "jsonl": _write_lines,
    "json": _write_array,
    "object": _write_object,
    "csv": write_table,
    "tsv": write_table,
    "parquet": write_columnar,
    "arrow": write_columnar,
    "text": _write_text,
}
