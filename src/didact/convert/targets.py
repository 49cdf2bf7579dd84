"""New rows as a file: JSON lines, an array, one object, a table, Parquet, Arrow or plain text.

Rows come as JSON text, one after the other. What a container itself cannot hold (a list in a cell, a line end in a
line) is found by reading back what it would hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from didact.convert.losses import Ledger
from didact.convert.tables import write_columnar, write_table
from didact.errors import DataError
from didact.formats.fields import kind_of, pointer
from didact.formats.registry import Adapter
from didact.formats.writing import Loss
from didact.sources.containers import Container
from didact.sources.files import write_stream
from didact.sources.gathering import NewRow, elements_of, object_name, objects_of

Write = Callable[[Path, Iterator[NewRow], Adapter, Ledger], None]


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
        name = object_name(header)
        name = name if name not in names else f"{name.removesuffix('.json')}-{header.id[:12]}.json"
        names.append(name)
        (folder / name).write_bytes(text)
    return names


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
