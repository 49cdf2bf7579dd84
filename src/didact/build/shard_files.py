"""Shard files: gather rows from the chunks in training order and write them as Parquet, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from didact.build.rows import ChunkResult, Mapped
from didact.curate.order import I64
from didact.durable import sha256_file, write_with
from didact.recipe.mixes import Purpose
from didact.records import Chat, Header, Preference, Record, Turn
from didact.records.table import concat, from_table
from didact.remote.folder import Folder
from didact.render.dialogue import dialogue_text
from didact.store.manifest import FileEntry

_ROW = pa.struct(
    [
        pa.field("path", pa.string()),
        pa.field("index", pa.int64()),
        pa.field("line", pa.int64()),
        pa.field("digest", pa.string()),
    ]
)
_OPTIONAL = {"weight": pa.float32(), "name": pa.string(), "tool_calls": pa.string(), "tool_call_id": pa.string()}
_LABELS = ("kind", "group", "task", "language")

SHARD_BYTES = 64_000_000
"""Text per shard file: large enough to read fast, small enough to send."""

GROUP_ROWS = 10_000
"""Rows per row group. Also what is held as Python objects at a time while a shard is written, about 60 MB."""


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """A chunk's records and side columns, mapped from disk."""

    records: Mapped
    side: Mapped

    def take(self, inside: I64) -> pa.Table:
        """Some records, and `content`, the content key that each has after cleaning.

        The pages are given back: rows in training order come from all over all chunks, whose pages would add up to the
        size of the data.
        """
        rows = pa.array(inside)
        taken = self.records.table.take(rows).append_column("content", self.side.table.column("content").take(rows))
        self.records.let_go()
        self.side.let_go()
        return taken


@dataclass(frozen=True, slots=True)
class Gather:
    """Rows of chunks in a wanted order: for each, which of the chunks and which row in it."""

    chunks: tuple[ChunkResult, ...]
    chunk: I64
    inside: I64

    def __len__(self) -> int:
        return len(self.chunk)

    def opened(self) -> tuple[OpenChunk, ...]:
        """The chunks, open for `table`."""
        return tuple(OpenChunk(chunk.mapped("records"), chunk.mapped("side")) for chunk in self.chunks)

    def table(self, opened: tuple[OpenChunk, ...], part: slice = slice(None)) -> pa.Table:
        """Some of the rows, or all, in the wanted order. opened: what `opened` gave."""
        chosen, inside = self.chunk[part], self.inside[part]
        parts, places = [], []
        for index in np.unique(chosen):
            where = np.flatnonzero(chosen == index)
            # Ascending rows first: a take in file order touches every mapped page once.
            where = where[np.argsort(inside[where], kind="stable")]
            parts.append(opened[index].take(inside[where]))
            places.append(where)
        if not parts:
            return concat([]).append_column("content", pa.array([], pa.binary(16)))
        back = np.argsort(np.concatenate(places), kind="stable")
        return concat(parts).take(pa.array(back))

    def sources(self, part: slice = slice(None)) -> list[str]:
        """Source of each of some rows, or of all."""
        return [self.chunks[index].source for index in self.chunk[part].tolist()]


@dataclass(frozen=True, slots=True)
class Context:
    """What shards need besides the chunks: headers by id, licence by source, digest of each input file."""

    headers: dict[str, Header]
    licenses: dict[str, str | None]
    digests: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to write."""

    folder: Folder
    name: str
    purpose: Purpose
    optional: tuple[str, ...]
    """Optional keys of a message that some row of the mix has; all shards of a mix have the same columns."""
    rows: Gather
    epochs: NDArray[np.int32]
    phases: list[str | None] | None
    """The phase of each row; None where the mix has no phases."""
    context: Context

    @property
    def about(self) -> str:
        """Which file this is, for messages."""
        return self.name

    def write(self) -> FileEntry:
        """Write the shard; its hash, size and rows."""
        return _write_shard(self)


class FileTask(Protocol):
    """One file of a version that a worker can write on its own."""

    def write(self) -> FileEntry:
        """Write the file; its hash, size and rows."""


def write_file(task: FileTask) -> FileEntry:
    """Write one file of a version, for an engine to run."""
    return task.write()


def _write_shard(task: ShardTask) -> FileEntry:
    """Group by group, so that only one is in memory; the first tells the columns."""
    opened = task.rows.opened()
    parts = (slice(start, start + GROUP_ROWS) for start in range(0, len(task.rows), GROUP_ROWS))
    tables = (_shard_rows(task, opened, part) for part in parts)
    first = next(tables)
    return write_tables(task.folder, task.name, first.schema, chain([first], tables))


def _shard_rows(task: ShardTask, opened: tuple[OpenChunk, ...], part: slice) -> pa.Table:
    table = task.rows.table(opened, part)
    records = _named(table, task.rows.sources(part), task.context)
    columns = _labels(table, records, task)
    columns["epoch"] = pa.array(task.epochs[part], pa.int32())
    if task.phases is not None:
        columns["phase"] = pa.array(task.phases[part], pa.string())
    columns |= _PURPOSES[task.purpose](records, task)
    columns["record"] = pa.array([record.canonical().decode() for record in records], pa.string())
    return pa.table(columns)


def write_parquet(folder: Folder, name: str, table: pa.Table) -> FileEntry:
    """A table as one Parquet file of a version."""
    return write_tables(folder, name, table.schema, [table])


def write_tables(
    folder: Folder, name: str, schema: pa.Schema, tables: Iterable[pa.Table], random: bool = False
) -> FileEntry:
    """Tables one after the other as one Parquet file: zstd, row groups of GROUP_ROWS rows, whole or not at all.

    random: the values are hashes, which neither a dictionary nor a compressor makes smaller.
    """
    path, rows = folder.path / name, 0
    packing: dict[str, Any] = {"compression": "none", "use_dictionary": False} if random else {"compression": "zstd"}

    def write(aside: Path) -> None:
        nonlocal rows
        with pq.ParquetWriter(aside, schema, store_schema=False, **packing) as writer:
            for group in _groups(tables):
                writer.write_table(group, row_group_size=GROUP_ROWS)
                rows += group.num_rows

    write_with(path, write)
    folder.send([name])
    return FileEntry(path=name, sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows)


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of tables in pieces of GROUP_ROWS, so that where a table ends shapes no byte; the last is shorter."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        if rows >= GROUP_ROWS:
            whole, full = pa.concat_tables(held), rows - rows % GROUP_ROWS
            yield from (whole.slice(start, GROUP_ROWS) for start in range(0, full, GROUP_ROWS))
            held, rows = [whole.slice(full)], rows - full
    if rows:
        yield pa.concat_tables(held)


def _named(table: pa.Table, sources: Sequence[str], context: Context) -> list[Record]:
    """The records with the names the build gives them: source and licence."""
    records = list(from_table(table))
    for record, source in zip(records, sources, strict=True):
        record.assign(source=source, license=record.license or context.licenses[source])
    return records


def _labels(table: pa.Table, records: Sequence[Record], task: ShardTask) -> dict[str, pa.Array]:
    """The columns every purpose has."""
    paths = table["path"].to_pylist()
    sources = [record.source for record in records]
    digests = [task.context.digests[source][path] for source, path in zip(sources, paths, strict=True)]
    places = [
        pa.array(paths, pa.string()),
        table["index"].combine_chunks(),
        table["line"].combine_chunks(),
        pa.array(digests, pa.string()),
    ]
    ids, contents = table["id"].to_pylist(), table["content"].to_pylist()
    cleaned = [None if one == other else other.hex() for one, other in zip(ids, contents, strict=True)]
    columns = {
        "id": pa.array([value.hex() for value in ids], pa.string()),
        "content": pa.array(cleaned, pa.string()),
        "key": pa.array([record.origin.key if record.origin else None for record in records], pa.string()),
        "row": pa.StructArray.from_arrays(places, fields=list(_ROW)),
        "source": pa.array(sources, pa.string()),
        "license": pa.array([record.license for record in records], pa.string()),
    }
    return columns | {name: table[name].combine_chunks().cast(pa.string()) for name in _LABELS}


def _pretrain(records: list[Record], task: ShardTask) -> dict[str, pa.Array]:
    return {"text": pa.array([plain_text(record, task.context.headers) for record in records], pa.string())}


def _finetune(records: list[Record], task: ShardTask) -> dict[str, pa.Array]:
    turns = [dialogue(record, task.context.headers) for record in records]
    return {
        "messages": _messages(turns, task.optional),
        "tools": pa.array([tools_json(record) for record in records], pa.string()),
    }


def _preference(records: list[Record], task: ShardTask) -> dict[str, pa.Array]:
    pairs = [record for record in records if isinstance(record, Preference)]
    return {
        "prompt": _messages([record.prompt_turns() for record in pairs], task.optional),
        "chosen": _messages([record.candidate_turns(0) for record in pairs], task.optional),
        "rejected": _messages([record.candidate_turns(-1) for record in pairs], task.optional),
        "tools": pa.array([tools_json(record) for record in pairs], pa.string()),
    }


_PURPOSES: dict[Purpose, Callable[[list[Record], ShardTask], dict[str, pa.Array]]] = {
    "pretrain": _pretrain,
    "finetune": _finetune,
    "preference": _preference,
}


def dialogue(record: Record, headers: dict[str, Header]) -> list[Turn]:
    """A record as messages, with what its header shares."""
    return record.dialogue(headers.get(record.header) if record.header else None)


def tools_json(record: Record) -> str | None:
    """A record's tool definitions as JSON text; None when it has none."""
    tools = record.tools if isinstance(record, Chat | Preference) else []
    return orjson.dumps(tools).decode() if tools else None


def plain_text(record: Record, headers: dict[str, Header]) -> str:
    """A record as the text it is pre-trained on: plain text as it is, instruction records as plain dialogue."""
    if record.kind == "text":
        return "\n\n".join(text.text for text in record.texts() if text.text)
    return dialogue_text(dialogue(record, headers))


def _messages(rows: Sequence[Sequence[Turn]], optional: Sequence[str]) -> pa.Array:
    names: dict[str, Any] = {"role": pa.string(), "content": pa.string()} | {name: _OPTIONAL[name] for name in optional}
    kind = pa.list_(pa.struct([pa.field(name, of) for name, of in names.items()]))
    return pa.array([[{name: turn.get(name) for name in names} for turn in turns] for turns in rows], kind)


def message_keys(skeletons: pa.ChunkedArray) -> tuple[str, ...]:
    """Optional message keys that some of the records need, read off their skeletons."""
    import pyarrow.compute as pc

    marks = {"weight": '"weight":', "name": '"name":', "tool_calls": '"tool_call"', "tool_call_id": '"tool_call_id":'}
    texts = skeletons.cast(pa.string())
    return tuple(name for name, mark in marks.items() if pc.any(pc.match_substring(texts, mark)).as_py())
