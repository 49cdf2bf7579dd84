"""Shard files: gather rows from the chunks in training order and write them as Parquet, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from didact.build.rows import ChunkResult
from didact.build.wording import dialogue, messages_column, plain_texts, stand_ins, tools_json
from didact.curate.order import I64
from didact.durable import sha256_file, write_with
from didact.recipe.mixes import Purpose
from didact.records import Header, Preference, Record, Turn
from didact.records.forms import Forms, StandIns, forms_with, slots_of
from didact.records.table import fixed_bytes, hexadecimal, in_one_piece
from didact.remote.folder import Folder
from didact.store.manifest import FileEntry
from didact.text.slots import Room, Slots, Taken

_ROW = ("path", "index", "line", "digest")
_LABELS = ("kind", "group", "task", "language")

_SHARD_BYTES = 64_000_000
"""Text per shard file, about: large enough to read fast, small enough to send."""
_SHARDS, _LEAST_BYTES = 8, 8_000_000
"""At least so many files, where each has about so much text: one is written by one worker, and few would leave others
idle.
"""

GROUP_ROWS = 10_000
"""Rows per row group. Also how many records are written at a time; where each is a form of its own, they are
Python objects of about 60 MB."""


_LONG = frozenset({"text", "content", "record"})
"""Columns whose least and greatest value tell no reader which rows to skip."""
_DISTINCT = _LONG | {"id", "kept", "index", "line"}
"""Columns of which few values occur twice in a row group: a dictionary of them takes time and saves nothing."""

_ROWS = ["path", "index", "line", "kind", "group", "task", "language", "skeleton"]
"""Columns of records from which shards are made, beside texts and ids."""


class OpenChunk:
    """A chunk's records and side columns, mapped from disk."""

    def __init__(self, chunk: ChunkResult) -> None:
        self._records, self._side = chunk.mapped("records"), chunk.mapped("side")
        self.slots = slots_of(self._records.table)

    def take(self, inside: I64) -> pa.Table:
        """What is written of some records beside texts and ids, and `content`, their content key after cleaning."""
        rows = pa.array(inside)
        taken = self._records.table.select(_ROWS).take(rows)
        return taken.append_column("content", self._side.table.column("content").take(rows))

    def let_go(self) -> None:
        """Give the pages back: rows in training order come from all over all chunks, whose pages would add up to the
        size of the data.
        """
        self._records.let_go()
        self._side.let_go()


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows of chunks, in a wanted order: what is written of them beside their texts, and what their forms hold."""

    table: pa.Table
    slots: Slots

    def forms(self, known: StandIns | None = None) -> Forms:
        """The forms of the records. known: those met before, where there are any."""
        return forms_with(self.table["skeleton"], self.slots, known)


@dataclass(frozen=True, slots=True)
class Gather:
    """Rows of chunks in a wanted order: for each, which of the chunks and which row in it."""

    chunks: tuple[ChunkResult, ...]
    chunk: I64
    inside: I64

    def __len__(self) -> int:
        return len(self.chunk)

    def opened(self) -> tuple[OpenChunk, ...]:
        """The chunks, open for `rows`."""
        return tuple(map(OpenChunk, self.chunks))

    def rows(self, opened: tuple[OpenChunk, ...], part: slice = slice(None)) -> Gathered:
        """Some of the rows, or all, in the wanted order. opened: what `opened` gave."""
        chosen, inside = self.chunk[part], self.inside[part]
        # Chunk by chunk, rows ascending: a take in file order touches every mapped page once.
        order = np.lexsort((inside, chosen))
        bounds = np.searchsorted(chosen[order], np.arange(len(opened) + 1)).tolist()
        places = [order[start:end] for start, end in pairwise(bounds)]
        taken = [Taken(chunk.slots, inside[own], own) for chunk, own in zip(opened, places, strict=True)]
        room = Room.of(taken, len(chosen))
        tables = []
        for chunk, own in zip(opened, taken, strict=True):
            if len(own.rows):
                room.put(own)
                tables.append(chunk.take(own.rows))
                chunk.let_go()
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return Gathered(pa.concat_tables(tables).unify_dictionaries().take(pa.array(back)), room.slots())

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


def shard_count(rows: int, text: int) -> int:
    """How many files rows with so many bytes of text in all are written to, each with a row at least.

    >>> [shard_count(1_000, megabytes * 1_000_000) for megabytes in (1, 30, 400, 4_000)]
    [1, 3, 8, 63]
    """
    return min(rows, max(1, min(_SHARDS, text // _LEAST_BYTES), -(-text // _SHARD_BYTES)))


class FileTask(Protocol):
    """One file of a version that a worker can write on its own."""

    def write(self) -> FileEntry:
        """Write the file; its hash, size and rows."""


def write_file(task: FileTask) -> FileEntry:
    """Write one file of a version, for an engine to run."""
    return task.write()


def _write_shard(task: ShardTask) -> FileEntry:
    """Group by group, so that only one is in memory; a row alone tells the columns."""
    opened, known = task.rows.opened(), stand_ins(task.context.headers)
    parts = (slice(start, start + GROUP_ROWS) for start in range(0, len(task.rows), GROUP_ROWS))
    tables = (_shard_rows(task, opened, part, known) for part in parts)
    return write_tables(task.folder, task.name, _shard_rows(task, opened, slice(1), known).schema, tables)


def _shard_rows(task: ShardTask, opened: tuple[OpenChunk, ...], part: slice, known: StandIns) -> pa.Table:
    rows = task.rows.rows(opened, part)
    forms = _forms(rows, task.context, known)
    columns = _labels(rows.table, forms, task)
    columns["epoch"] = pa.array(task.epochs[part], pa.int32())
    if task.phases is not None:
        columns["phase"] = pa.array(task.phases[part], pa.string())
    columns |= _PURPOSES[task.purpose](forms, task)
    columns["record"] = forms.canonical()
    return pa.table(columns)


def write_parquet(folder: Folder, name: str, table: pa.Table) -> FileEntry:
    """A table as one Parquet file of a version."""
    return write_tables(folder, name, table.schema, [table])


def write_tables(
    folder: Folder, name: str, schema: pa.Schema, tables: Iterable[pa.Table], random: bool = False
) -> FileEntry:
    """Tables one after the other as one Parquet file: row groups of GROUP_ROWS rows, whole or not at all.

    random: the values are hashes, which neither a dictionary nor a compressor makes smaller.
    """
    path, rows = folder.path / name, 0
    packing: dict[str, Any] = {"compression": "none", "use_dictionary": False} if random else _packing(schema)

    def write(aside: Path) -> None:
        nonlocal rows
        with pq.ParquetWriter(aside, schema, store_schema=False, **packing) as writer:
            for group in _groups(tables):
                writer.write_table(group, row_group_size=GROUP_ROWS)
                rows += group.num_rows
                del group

    write_with(path, write)
    folder.send([name])
    return FileEntry(path=name, sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows)


def _packing(schema: pa.Schema) -> dict[str, Any]:
    """How columns are packed: decided by their names alone, so that the same rows are the same bytes."""
    names = {path: path.rpartition(".")[2] for field in schema for path in _leaves(field.name, field.type)}
    coded = [path for path, name in names.items() if name not in _DISTINCT]
    bounded = [path for path, name in names.items() if name not in _LONG]
    return {"compression": "zstd", "use_dictionary": coded, "write_statistics": bounded}


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """Paths of the columns that Parquet makes of a field."""
    if pa.types.is_struct(kind):
        for part in kind:
            yield from _leaves(f"{path}.{part.name}", part.type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of tables in pieces of GROUP_ROWS, so that where a table ends shapes no byte; the last is shorter."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        # No name may keep a table in memory while the next one is made.
        del table
        while rows > GROUP_ROWS:
            whole = pa.concat_tables(held)
            held, rows = [whole.slice(0, GROUP_ROWS), whole.slice(GROUP_ROWS)], rows - GROUP_ROWS
            del whole
            yield held.pop(0)
        if rows == GROUP_ROWS:
            held, rows = [pa.concat_tables(held)], 0
            yield held.pop()
    if rows:
        yield pa.concat_tables(held)


def _forms(rows: Gathered, context: Context, known: StandIns) -> Forms:
    """The records under the licence of their source where they have none of their own."""
    forms = rows.forms(known)
    for form in forms.forms:
        form.record.assign(license=form.record.license or context.licenses[form.record.source])
    return forms


def _labels(table: pa.Table, forms: Forms, task: ShardTask) -> dict[str, pa.Array]:
    """The columns every purpose has. What few values occur in is kept as their numbers, as Parquet keeps it too."""
    sources, paths = forms.column(lambda record: record.source), _used(in_one_piece(table["path"]))
    places = [paths, in_one_piece(table["index"]), in_one_piece(table["line"]), _digests(sources, paths, task)]
    ids, contents = forms.slots.ids, fixed_bytes(table["content"])
    same = pa.array((ids == contents).all(axis=1))
    columns = {
        "id": hexadecimal(ids),
        "content": pc.if_else(same, pa.scalar(None, pa.string()), hexadecimal(contents)),
        "key": forms.column(lambda record: record.origin.key if record.origin else None),
        "row": pa.StructArray.from_arrays(places, names=_ROW),
        "source": sources,
        "license": forms.column(lambda record: record.license),
    }
    return columns | {name: in_one_piece(table[name]) for name in _LABELS}


def _used(coded: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same values in a dictionary of those that occur: the chunks they come from may have thousands of others."""
    places = coded.indices.dictionary_encode()
    return pa.DictionaryArray.from_arrays(places.indices, coded.dictionary.take(places.dictionary))


def _digests(sources: pa.DictionaryArray, paths: pa.DictionaryArray, task: ShardTask) -> pa.DictionaryArray:
    """The digest of the file each row stands in."""
    pairs = sources.indices.to_numpy().astype(np.int64) * len(paths.dictionary) + paths.indices.to_numpy()
    files = pa.array(pairs).dictionary_encode()
    named = [divmod(file, len(paths.dictionary)) for file in files.dictionary.to_pylist()]
    digests = [task.context.digests[sources.dictionary[s].as_py()].get(paths.dictionary[p].as_py()) for s, p in named]
    return pa.array(digests, pa.string()).dictionary_encode().take(files.indices)


def _pretrain(forms: Forms, task: ShardTask) -> dict[str, pa.Array]:
    return {"text": plain_texts(forms, task.context.headers)}


def _finetune(forms: Forms, task: ShardTask) -> dict[str, pa.Array]:
    speak = partial(dialogue, headers=task.context.headers)
    return {"messages": messages_column(forms, speak, task.optional), "tools": forms.column(tools_json)}


def _preference(forms: Forms, task: ShardTask) -> dict[str, pa.Array]:
    parts: dict[str, Callable[[Preference], list[Turn]]] = {
        "prompt": Preference.prompt_turns,
        "chosen": lambda record: record.candidate_turns(0),
        "rejected": lambda record: record.candidate_turns(-1),
    }
    columns = {
        name: messages_column(forms, cast("Callable[[Record], list[Turn]]", part), task.optional)
        for name, part in parts.items()
    }
    return columns | {"tools": forms.column(tools_json)}


_PURPOSES: dict[Purpose, Callable[[Forms, ShardTask], dict[str, pa.Array]]] = {
    "pretrain": _pretrain,
    "finetune": _finetune,
    "preference": _preference,
}


def message_keys(skeletons: pa.ChunkedArray) -> tuple[str, ...]:
    """Optional message keys that some of the records need, read off their skeletons."""
    marks = {"weight": '"weight":', "name": '"name":', "tool_calls": '"tool_call"', "tool_call_id": '"tool_call_id":'}
    texts = skeletons.unique().cast(pa.string())
    return tuple(name for name, mark in marks.items() if pc.any(pc.match_substring(texts, mark)).as_py())
