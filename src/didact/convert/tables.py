"""New rows as a table: CSV, TSV, Parquet or Arrow.

The columns are known only when all rows are, so rows are spooled beside the file first. Each row is then compared with
what the table holds of it, by reading both as records.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from didact.convert.losses import Ledger
from didact.durable import aside_name
from didact.errors import DataError
from didact.formats.fields import kind_of, pointer
from didact.formats.json_edit import same_json
from didact.formats.registry import Adapter
from didact.formats.writing import Loss, losses
from didact.sources.cells import spelled_cell
from didact.sources.endings import TABS, bare_suffix
from didact.sources.files import write_stream
from didact.sources.gathering import NewRow, elements_of

_MOST_COLUMNS = 10_000
_GROUP = 10_000
"""Rows of a row group or record batch."""


class Spooled(NamedTuple):
    """A row on its way into a table."""

    place: str
    losing: bool
    row: dict[str, Any]


class Spool:
    """Rows in a file beside the table, so that they can be gone through twice in bounded memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: dict[str, None] = {}
        """Keys of all rows, in the order in which they are first met."""

    def fill(self, rows: Iterator[NewRow], adapter: Adapter, ledger: Ledger) -> None:
        """Write all rows that are objects. Raises DataError for nested formats, and for too many columns."""
        if adapter.gather is not None:
            raise DataError(f"format '{adapter.name}' nests its rows, which a table cannot; write .json or .jsonl")
        with self.path.open("wb") as out:
            for new in rows:
                (text,) = elements_of(iter([new]), adapter)
                row = orjson.loads(text)
                if not isinstance(row, dict):
                    ledger.not_copied(new.place, new.code, f"{kind_of(row)} is no row of a table")
                    continue
                self.columns.update(dict.fromkeys(row))
                if len(self.columns) > _MOST_COLUMNS:
                    raise DataError(f"the rows have more than {_MOST_COLUMNS:,} different keys; write .jsonl")
                out.write(orjson.dumps([new.place, new.losing]) + b"\t" + text + b"\n")

    def __iter__(self) -> Iterator[Spooled]:
        with self.path.open("rb") as lines:
            for line in lines:
                head, _, text = line.partition(b"\t")
                place, losing = orjson.loads(head)
                yield Spooled(place, losing, orjson.loads(text))


@contextmanager
def _spooled(path: Path, rows: Iterator[NewRow], adapter: Adapter, ledger: Ledger) -> Iterator[Spool]:
    spool = Spool(aside_name(path))
    try:
        spool.fill(rows, adapter, ledger)
        yield spool
    finally:
        spool.path.unlink(missing_ok=True)


def write_table(path: Path, rows: Iterator[NewRow], adapter: Adapter, ledger: Ledger) -> None:
    """A CSV or TSV file with a header row. In TSV every cell is quoted, so that it is certain that quotes count."""
    delimiter = "\t" if bare_suffix(path) in TABS else ","
    with _spooled(path, rows, adapter, ledger) as spool, write_stream(path) as out:
        columns = list(spool.columns)
        out.write(_line(columns, delimiter))
        for place, losing, row in spool:
            cells, lost = _cells(row, columns)
            held = dict(zip(columns, cells, strict=True))
            lost += _differences(adapter, row, held, "a table holds nothing but texts", lost)
            unreadable = any(not loss.pointer for loss in lost)
            ledger.lost(place, lost, again=losing, left_out=unreadable)
            if unreadable:
                continue
            out.write(_line(cells, delimiter))


def _line(cells: list[str], delimiter: str) -> bytes:
    always = delimiter == "\t" or cells == [""]
    return (delimiter.join(spelled_cell(cell, delimiter, True, always=always) for cell in cells) + "\n").encode("utf-8")


def _cells(row: dict[str, Any], columns: list[str]) -> tuple[list[str], list[Loss]]:
    """A row's cells, and what cannot be one; an absent or null value is an empty cell."""
    cells: list[str] = []
    lost: list[Loss] = []
    for name in columns:
        value = row.get(name)
        if isinstance(value, dict | list):
            lost.append(Loss(pointer(name), f"{kind_of(value)} has no place in a cell"))
            value = None
        cells.append(value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode())
    return cells, lost


def _differences(
    adapter: Adapter, row: dict[str, Any], held: dict[str, Any], why: str, known: list[Loss] | None = None
) -> list[Loss]:
    """What is lost of a row, seen as a record, in a container that holds it as `held`."""
    from didact.convert.items import read_item

    record = read_item(adapter, row).record
    if record is None:
        changed = [key for key, value in row.items() if not same_json(value, held.get(key))]
        return [Loss(pointer(key), why) for key in changed]
    told = {loss.pointer for loss in known or ()}
    found = [loss for loss in losses(adapter, record, held, None, None) if loss.pointer not in told]
    return [loss if loss.pointer[1:] not in row else Loss(loss.pointer, why) for loss in found]


def write_columnar(path: Path, rows: Iterator[NewRow], adapter: Adapter, ledger: Ledger) -> None:
    """A Parquet or Arrow file; the types of its columns are those that hold the values of all rows."""
    from didact.convert.columns import Kind, batch_of, column_writer, kind_of_row

    with _spooled(path, rows, adapter, ledger) as spool:
        kind: Kind = None
        for spooled in spool:
            kind = kind_of_row(kind, spooled.row, spooled.place)
        with column_writer(path, kind) as (schema, write):
            for some in _groups(spool):
                batch = batch_of([spooled.row for spooled in some], schema)
                readable = []
                for spooled, held in zip(some, batch.to_pylist(), strict=True):
                    lost = _lost_in_columns(adapter, spooled.row, held)
                    readable.append(all(loss.pointer for loss in lost))
                    ledger.lost(spooled.place, lost, again=spooled.losing, left_out=not readable[-1])
                write(batch if all(readable) else batch.filter(readable))


def _groups(spool: Spool) -> Iterator[list[Spooled]]:
    group: list[Spooled] = []
    for spooled in spool:
        group.append(spooled)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


def _lost_in_columns(adapter: Adapter, row: dict[str, Any], held: dict[str, Any]) -> list[Loss]:
    """Only nulls may be added: every row of a column has all fields."""
    from didact.sources.columnar import with_absent_keys

    found = _differences(adapter, row, held, "the column cannot hold it")
    same = {key for key, value in row.items() if same_json(with_absent_keys(value), with_absent_keys(held.get(key)))}
    return [loss for loss in found if loss.pointer[1:].partition("/")[0] not in same]
