"""Losses on file: every dropped and rejected row with its place, its reason and its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.build.assemble import MixedRows, gather
from didact.build.decide import Fates, Loss
from didact.build.per_record import CLEANED, FINDINGS, REJECTED, Curated
from didact.build.rows import ChunkResult, Rows
from didact.build.shard_files import Context, FileTask, Gather, write_parquet, write_tables
from didact.canonical import canonical_json
from didact.curate.order import I64
from didact.records.table import fixed_bytes, hexadecimal
from didact.remote.folder import Folder
from didact.store.manifest import FileEntry

_PART_ROWS = 10_000
"""Rows per file: bounds memory while they are written."""


def account_unused(fates: Fates, split: NDArray[np.int8], mixes: Sequence[MixedRows]) -> None:
    """Account for rows that no mix takes; what one mix leaves out and another takes is not lost."""
    before = fates.alive.copy()
    used = np.zeros(len(split), np.bool_)
    for mixed in mixes:
        for rows in mixed.rows.values():
            used[rows] = True
    for place, name in enumerate(("train", "validation", "test")):
        rows = np.flatnonzero(before & ~used & (split == place))
        if len(rows):
            fates.drop(Loss("mix", "mix.unused", rows, (f"in split {name}; no mix takes it",) * len(rows)))
    fates.close("mix", before)


@dataclass(frozen=True, slots=True)
class DroppedTask:
    """One file of dropped rows: place, stage, reason, evidence, and the record as it was when it was dropped."""

    folder: Folder
    name: str
    rows: Gather
    stages: list[str]
    reasons: list[str]
    evidence: list[str]
    kept: list[str | None]
    """For duplicates, the id of the row that was kept in place of each."""

    @property
    def about(self) -> str:
        """Which file this is, for messages."""
        return self.name

    def write(self) -> FileEntry:
        """Write the file."""
        return _write_dropped(self)


@dataclass(frozen=True, slots=True)
class TableTask:
    """A small table that is at hand."""

    folder: Folder
    name: str
    table: pa.Table

    @property
    def about(self) -> str:
        """Which file this is, for messages."""
        return self.name

    def write(self) -> FileEntry:
        """Write the file."""
        return write_parquet(self.folder, self.name, self.table)


@dataclass(frozen=True, slots=True)
class ChunksTask:
    """A table that every chunk has a part of: warnings, or changed texts."""

    folder: Folder
    part: Literal["findings", "cleaned"]
    chunks: tuple[ChunkResult, ...]

    @property
    def about(self) -> str:
        """Which file this is, for messages."""
        return self.part

    def write(self) -> FileEntry:
        """Write the file, chunk by chunk."""
        tables = (chunk.table(self.part) for chunk in self.chunks)
        schema = FINDINGS if self.part == "findings" else CLEANED
        return write_tables(self.folder, f"{self.part}/{self.part}.parquet", schema, tables)


@dataclass(frozen=True, slots=True)
class SideTask:
    """Side columns of the rows that stayed: signals, or signatures."""

    folder: Folder
    part: Literal["signals", "signatures"]
    chunks: tuple[ChunkResult, ...]
    alive: tuple[I64, ...]
    """Rows of each chunk that stayed."""

    @property
    def about(self) -> str:
        """Which file this is, for messages."""
        return self.part

    def write(self) -> FileEntry:
        """Write the file, chunk by chunk: the signatures of a million rows are half a gigabyte."""
        # What only some sources measure is null for the others.
        measured = pa.unify_schemas([pa.schema(self._measured(chunk.table("side").schema)) for chunk in self.chunks])
        schema = pa.schema([*self._beside, *measured])
        parts = zip(self.chunks, self.alive, strict=True)
        tables = (self._columns(chunk, pa.array(rows), schema) for chunk, rows in parts)
        name, random = f"{self.part}/{self.part}.parquet", self.part == "signatures"
        return write_tables(self.folder, name, schema, tables, random)

    @property
    def _beside(self) -> list[pa.Field]:
        """The columns that say whose measures they are."""
        names = {"id": pa.string(), "source": pa.string(), "path": pa.string(), "index": pa.int64()}
        return [pa.field(name, kind) for name, kind in names.items() if self.part == "signals" or name == "id"]

    def _measured(self, side: pa.Schema) -> list[pa.Field]:
        return [field for field in side if ("." in field.name if self.part == "signals" else field.name == "signature")]

    def _columns(self, chunk: ChunkResult, rows: pa.Array, schema: pa.Schema) -> pa.Table:
        side = chunk.table("side")
        chosen = side.select(["id", *(field.name for field in self._measured(side.schema))]).take(rows)
        columns = dict(zip(chosen.schema.names, chosen.columns, strict=True))
        columns["id"] = hexadecimal(fixed_bytes(chosen["id"]))
        if self.part == "signals":
            place = chunk.table("records").select(["path", "index"]).take(rows)
            source = pa.repeat(pa.scalar(chunk.source), len(rows))
            columns |= {"source": source, "path": place["path"].cast(pa.string()), "index": place["index"]}
        return pa.table([columns.get(field.name, pa.nulls(len(rows), field.type)) for field in schema], schema=schema)


def loss_tasks(folder: Folder, fates: Fates, curated: Curated, context: Context) -> Iterator[FileTask]:
    """The files of dropped/, rejected/, findings/, cleaned/ and headers/ of a version."""
    yield from _dropped(folder, fates)
    parts: tuple[Literal["findings", "cleaned"], ...] = ("findings", "cleaned")
    for part in parts:
        if any(chunk.table(part).num_rows for chunk in curated.chunks_in_order):
            yield ChunksTask(folder, part, curated.chunks_in_order)
    for number, table in enumerate(_rejected(curated)):
        yield TableTask(folder, f"rejected/rejected-{number:05d}.parquet", table)
    if context.headers:
        ids = sorted(context.headers)
        contents = (context.headers[one].model_dump(exclude_defaults=True) for one in ids)
        texts = [canonical_json(content).decode() for content in contents]
        yield TableTask(folder, "headers/headers.parquet", pa.table({"id": ids, "header": texts}))


def _dropped(folder: Folder, fates: Fates) -> Iterator[DroppedTask]:
    rows, stages, reasons, evidence, keepers = _flattened(fates.losses)
    ids = fates.rows.keys("id")
    for number, start in enumerate(range(0, len(rows), _PART_ROWS)):
        part = slice(start, start + _PART_ROWS)
        name = f"dropped/dropped-{number:05d}.parquet"
        kept = [ids[row].astype("<u8").tobytes().hex() if row >= 0 else None for row in keepers[part]]
        chosen = gather(fates.rows, rows[part])
        yield DroppedTask(folder, name, chosen, stages[part], reasons[part], evidence[part], kept)


def _write_dropped(task: DroppedTask) -> FileEntry:
    rows = task.rows.rows(task.rows.opened())
    table, forms = rows.table, rows.forms()
    columns = {
        "id": hexadecimal(forms.slots.ids),
        "source": task.rows.sources(),
        "path": table["path"].combine_chunks().cast(pa.string()),
        "index": table["index"],
        "line": table["line"],
        "stage": task.stages,
        "reason": task.reasons,
        "evidence": task.evidence,
        "kept": pa.array(task.kept, pa.string()),
        "record": forms.canonical(),
    }
    return write_parquet(task.folder, task.name, pa.table(columns))


def _flattened(losses: Sequence[Loss]) -> tuple[I64, list[str], list[str], list[str], I64]:
    """All losses in canonical order of their rows; the last array is the row kept in place of each, or -1."""
    rows = np.concatenate([np.zeros(0, np.int64), *(loss.rows for loss in losses)]).astype(np.int64)
    stages = [loss.stage for loss in losses for _ in loss.rows]
    reasons = [loss.reason for loss in losses for _ in loss.rows]
    evidence = [text for loss in losses for text in loss.evidence]
    none = np.zeros(0, np.int64)
    kept = np.concatenate([none, *(np.full(len(one.rows), -1) if one.kept is None else one.kept for one in losses)])
    order = np.argsort(rows, kind="stable")
    stages, reasons, evidence = ([values[i] for i in order] for values in (stages, reasons, evidence))
    return rows[order], stages, reasons, evidence, kept[order].astype(np.int64)


def _rejected(curated: Curated) -> Iterator[pa.Table]:
    tables = [chunk.table("rejected") for chunk in curated.chunks_in_order] + [
        pa.Table.from_pylist(curated.unreadable, schema=REJECTED)
    ]
    whole = pa.concat_tables(tables).sort_by(
        [("source", "ascending"), ("path", "ascending"), ("index", "ascending"), ("offset", "ascending")]
    )
    for start in range(0, whole.num_rows, _PART_ROWS):
        # A slice would send all rows to the worker that writes these.
        yield whole.take(pa.array(range(start, min(start + _PART_ROWS, whole.num_rows))))


def side_tasks(folder: Folder, fates: Fates) -> Iterator[SideTask]:
    """Signatures and signals of the rows that stayed, for later builds and pictures."""
    rows: Rows = fates.rows
    bounds = pairwise(rows.offsets.tolist())
    alive = tuple(np.flatnonzero(fates.alive[start:end]).astype(np.int64) for start, end in bounds)
    if any("signature" in chunk.table("side").schema.names for chunk in rows.chunks):
        yield SideTask(folder, "signatures", rows.chunks, alive)
    if rows.chunks:
        yield SideTask(folder, "signals", rows.chunks, alive)
