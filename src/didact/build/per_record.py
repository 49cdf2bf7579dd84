"""The stages that need one record at a time, fused: read, validate, clean, measure, sign.
One chunk in, five files and a marker out.

`records`: the cleaned records as a table. `side`: what later decisions need, one row per record: content key, keys that
tie records together, signals, signature and bands. `rejected`: rows that became no record. `findings`: warnings, and
`cleaned`: changed texts, both by the place of their row, for whoever asks later what became of a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from didact.build.assemble import marks_of
from didact.build.decide import check
from didact.build.depends import chunk_maker, measured_signals
from didact.build.inputs import Inputs
from didact.build.rows import ChunkResult, in_order
from didact.build.side_columns import side_columns
from didact.curate.clean import CHANGES, clean_texts
from didact.curate.signals import lookup
from didact.durable import store_errors, write_together
from didact.engine.base import Engine
from didact.engine.chunks import Chunk, MadeFrom, chunk_bytes, group_blocks, read_marker, write_marker
from didact.plugins import Plugin, load
from didact.recipe.cleaning import CleanSettings
from didact.recipe.load import Recipe
from didact.recipe.selection import MinHashSettings
from didact.recipe.sources import Source
from didact.records import Header
from didact.records.columns import Columns
from didact.records.findings import CODES, Finding
from didact.records.forms import forms_of
from didact.records.table import in_one_piece, texts_column, with_texts_column
from didact.remote.folder import Folder
from didact.report.progress import Listener
from didact.sources.blocks import Block, SourceFile
from didact.sources.read import BlockRead, Rejected, read_block, source_blocks
from didact.store.manifest import Account

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("path", pa.string()),
        ("index", pa.int64()),
        ("line", pa.int64()),
        ("offset", pa.int64()),
        ("code", pa.string()),
        ("pointer", pa.string()),
        ("message", pa.string()),
        ("raw", pa.binary()),
    ]
)
"""Columns of rejected rows: place, code, and the row's first bytes as they stand in the file."""

_PLACE = [("source", pa.string()), ("path", pa.string()), ("index", pa.int64()), ("line", pa.int64())]
FINDINGS = pa.schema([*_PLACE, ("code", pa.string()), ("pointer", pa.string()), ("message", pa.string())])
"""Columns of warnings: the place of the row, code, JSON pointer in the row, message."""
CLEANED = pa.schema([*_PLACE, ("field", pa.string()), *CHANGES])
"""Columns of changed texts: the place of the row, the text's field, the rules, an excerpt before and after."""


ON_FILE = "on file"
"""In what `curate_chunk` gives of a chunk that was not run: the marker itself does not say so."""


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """One chunk and everything its result depends on."""

    chunk: Chunk
    files: dict[str, SourceFile]
    source: Source
    clean: CleanSettings
    minhash: MinHashSettings | None
    signals: tuple[str, ...]
    plugins: tuple[Plugin, ...]
    """Files of the user's own signals among them."""
    folder: Folder
    made_from: MadeFrom

    @property
    def key(self) -> str:
        """The name of the chunk's result."""
        return self.made_from.key

    @property
    def about(self) -> str:
        """Which rows these are, for messages."""
        first = self.chunk.blocks[0]
        return f"chunk {self.chunk.ordinal} of source '{self.chunk.source}' ({first.path}, from row {first.first})"

    def portable(self) -> ChunkTask:
        """The task with all its rows, for a machine that sees nothing but the store."""
        from didact.sources.columnar import with_rows  # as in `sources`: only those who need it load it

        blocks = tuple(with_rows(block) if block.file else block for block in self.chunk.blocks)
        return replace(self, chunk=replace(self.chunk, blocks=blocks))


@dataclass
class Curated:
    """All chunks of a build, and what reading them found."""

    chunks: list[ChunkResult] = field(default_factory=list)
    headers: dict[str, Header] = field(default_factory=dict)
    unreadable: list[dict[str, Any]] = field(default_factory=list)
    """Rows that could not even be cut out of their file."""
    ran_rows: int = 0
    """Rows of the chunks that were not on file, and the bytes of those rows as text."""
    ran_bytes: int = 0
    accounts: list[Account] = field(default_factory=list)
    findings: dict[str, dict[str, int]] = field(default_factory=dict)
    cleaned: dict[str, dict[str, int]] = field(default_factory=dict)
    made: int = 0
    """Chunks that were run; the results of the others were on file."""

    @property
    def chunks_in_order(self) -> tuple[ChunkResult, ...]:
        """Chunks in canonical order."""
        return in_order(self.chunks)


def curate_sources(inputs: Inputs, recipe: Recipe, engine: Engine, folder: Folder, tell: Listener) -> Curated:
    """Run every source through the fused stages; chunks whose result is on file are not run again."""
    with store_errors(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    curated = Curated()
    lost: list[tuple[str, Finding]] = []
    total, done, text = inputs.total_bytes, 0, 0
    taken: dict[tuple[str, str], int] = {}
    for task, marker in engine.map(curate_chunk, chunk_tasks(inputs, recipe, folder, lost)):
        curated.chunks.append(ChunkResult(task.chunk.source, task.chunk.ordinal, task.key, folder, marker))
        rows, size = int(marker["rows"]), task.chunk.bytes
        if not marker.get(ON_FILE):
            curated.made += 1
            curated.ran_rows, curated.ran_bytes = curated.ran_rows + rows, curated.ran_bytes + size
        for block in task.chunk.blocks:
            place = task.chunk.source, block.path
            taken[place] = max(taken.get(place, 0), block.stored)
        done, text = done + rows, text + size
        tell.advance(done, None, "rows", bytes=text, share=sum(taken.values()) / max(total, 1) or None)
    for chunk in curated.chunks:
        curated.headers |= {one: Header.model_validate(content) for one, content in chunk.marker["headers"].items()}
    _account(curated, sorted(recipe.sources), lost)
    return curated


def chunk_tasks(inputs: Inputs, recipe: Recipe, folder: Folder, lost: list[tuple[str, Finding]]) -> Iterator[ChunkTask]:
    """The chunks of every source in canonical order. Findings that no chunk carries are put into `lost`."""
    for name, files in inputs.files.items():
        task = source_task(inputs, recipe, folder, name)
        size = chunk_bytes(inputs.bytes_of(name))
        yield from map(task, group_blocks(name, _cut(name, files, recipe.sources[name], size, lost), size))


def source_task(inputs: Inputs, recipe: Recipe, folder: Folder, name: str) -> Callable[[Chunk], ChunkTask]:
    """What makes a task of each chunk of a source."""
    measured = measured_signals(recipe, name)
    made_from = chunk_maker(recipe, name, inputs)
    by_path = {file.relative: file for file in inputs.files[name]}
    plugins = tuple(plugin for signal in measured if (plugin := lookup(signal).plugin) is not None)
    fixed = (by_path, recipe.sources[name], recipe.clean, recipe.dedup.minhash, measured, plugins, folder)
    return lambda chunk: ChunkTask(chunk, *fixed, made_from(chunk))


def _cut(
    name: str, files: Sequence[SourceFile], source: Source, size: int, lost: list[tuple[str, Finding]]
) -> Iterator[Block]:
    for _, found in source_blocks(files, source, size):
        if isinstance(found, Block):
            yield found
        else:
            lost.append((name, found))


def _account(curated: Curated, sources: Sequence[str], lost: Sequence[tuple[str, Finding]]) -> None:
    """Rows in = kept + unselected + rejected for every source; and the warnings and changes to count."""
    for name in sources:
        chunks = [chunk for chunk in curated.chunks if chunk.source == name]
        unreadable = [found for source, found in lost if source == name and CODES[found.code].row]
        rejected = Counter(found.code for found in unreadable)
        warnings = Counter(found.code for source, found in lost if source == name and not CODES[found.code].row)
        cleaned: Counter[str] = Counter()
        for chunk in chunks:
            check(_chunk_account(chunk), f", chunk {chunk.ordinal}")
            rejected.update(chunk.marker["rejected"])
            warnings.update(chunk.marker["warnings"])
            cleaned.update(chunk.marker["cleaned"])
        unselected = sum(chunk.marker["unselected"] for chunk in chunks)
        account = Account(
            stage="read",
            source=name,
            rows_in=sum(chunk.marker["rows"] for chunk in chunks) + len(unreadable),
            kept=sum(chunk.rows for chunk in chunks),
            dropped={"where": unselected} if unselected else {},
            rejected=dict(sorted(rejected.items())),
        )
        check(account)
        curated.accounts.append(account)
        curated.unreadable += [_rejected_row(name, Rejected(found)) for found in unreadable]
        curated.findings[name], curated.cleaned[name] = dict(sorted(warnings.items())), dict(sorted(cleaned.items()))


def _chunk_account(chunk: ChunkResult) -> Account:
    """What reading did with the rows of one chunk."""
    unselected, rejected = int(chunk.marker["unselected"]), dict(chunk.marker["rejected"])
    return Account(
        stage="read",
        source=chunk.source,
        rows_in=chunk.marker["rows"],
        kept=chunk.rows,
        dropped={"where": unselected} if unselected else {},
        rejected=rejected,
    )


def _rejected_row(source: str, rejected: Rejected) -> dict[str, Any]:
    found = rejected.finding
    place = {"source": source, "path": found.path, "index": found.index, "line": found.line, "offset": found.offset}
    return place | {"code": found.code, "pointer": found.pointer, "message": found.message, "raw": rejected.raw}


def on_file(task: ChunkTask) -> bool:
    """Whether a chunk's result is there already."""
    return read_marker(task.folder, task.key) is not None


def curate_chunk(task: ChunkTask) -> dict[str, Any]:
    """The marker of a chunk's result, which is made unless it is on file already."""
    marker = read_marker(task.folder, task.key)
    if marker is not None:
        return marker | {ON_FILE: True}
    for plugin in task.plugins:
        # In a worker the user's signals are not known yet; their file registers them.
        load(plugin)
    records = Columns()
    reads = [read_block(block, task.files[block.path], task.source, into=records) for block in task.chunk.blocks]
    table = records.table()
    table, keys, counts, changes = cleaned(table, task.clean, task.chunk.source)
    files = {
        "records": table,
        "side": side_columns(table, keys, task.chunk.source, task.signals, task.minhash),
        "rejected": _rejected(task.chunk.source, reads),
        "findings": _warnings(task.chunk.source, reads, _masked(changes)),
        "cleaned": changes,
    }
    paths = {task.folder.path / f"{task.key}.{part}.arrow": content for part, content in files.items()}
    write_together({path: partial(_write, content) for path, content in paths.items()})
    sizes = {path.name: path.stat().st_size for path in paths}
    task.folder.send(sizes)
    marker = _marker(task, reads, table, counts) | {"files": sizes, "made_from": task.made_from.as_json()}
    write_marker(task.folder, task.key, marker)
    return marker


def _marker(task: ChunkTask, reads: Sequence[BlockRead], table: pa.Table, cleaned: dict[str, int]) -> dict[str, Any]:
    rejected = Counter(one.finding.code for read in reads for one in read.rejected)
    warnings = Counter(found.code for read in reads for found in read.findings if found.severity == "warning")
    headers = {one: header.model_dump(exclude_defaults=True) for read in reads for one, header in read.headers.items()}
    return {
        "source": task.chunk.source,
        "rows": sum(read.rows for read in reads),
        "kept": table.num_rows,
        "unselected": sum(read.unselected for read in reads),
        "rejected": dict(sorted(rejected.items())),
        "warnings": dict(sorted(warnings.items())),
        "cleaned": cleaned,
        "headers": headers,
        **marks_of(table),
    }


def _write(table: pa.Table, path: Path) -> None:
    """Write a table as an Arrow file of one batch, so that readers get each column as one buffer."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def cleaned(
    table: pa.Table, settings: CleanSettings, source: str
) -> tuple[pa.Table, list[bytes], dict[str, int], pa.Table]:
    """The table with clean texts, the content key of each record, how many texts each rule changed, and the changes.

    A record that cleaning left alone is known by its id; one that it changed by the id its new content has.
    """
    segments = in_one_piece(table["segments"])
    texts, report, changed = clean_texts(texts_column(segments), settings)
    keys = table["id"].to_pylist()
    if not changed.any():
        return table, keys, {}, CLEANED.empty_table()
    place = table.schema.get_field_index("segments")
    table = table.set_column(place, table.schema.field(place), with_texts_column(segments, texts))
    lengths = np.diff(segments.offsets.to_numpy())
    row_of = np.repeat(np.arange(len(lengths)), lengths)[changed]
    fields = segments.flatten().field("field").filter(pa.array(changed)).cast(pa.string())
    changes = _changes(table.take(pa.array(row_of)), fields, report.changes, source)
    rows = np.unique(row_of)
    for row, key in zip(rows.tolist(), forms_of(table.take(pa.array(rows))).content_ids(), strict=True):
        keys[row] = key
    return table, keys, dict(sorted(report.counts.items())), changes


def _changes(rows: pa.Table, fields: pa.Array, changes: pa.Table, source: str) -> pa.Table:
    """The table of changed texts. rows: the record of each of them."""
    columns = {
        "source": pa.array([source] * rows.num_rows, pa.string()),
        "path": rows["path"].cast(pa.string()),
        "index": rows["index"],
        "line": rows["line"],
        "field": fields,
        **{name: changes[name] for name in CHANGES.names},
    }
    return pa.table(columns, schema=CLEANED)


def _rejected(source: str, reads: Sequence[BlockRead]) -> pa.Table:
    return pa.Table.from_pylist(
        [_rejected_row(source, one) for read in reads for one in read.rejected], schema=REJECTED
    )


def _masked(changes: pa.Table) -> set[tuple[str, int]]:
    """Path and index of the rows in which cleaning replaced personal data: the text before is kept nowhere."""
    replaced = changes.filter(pc.is_null(changes["before"]))
    return set(zip(replaced["path"].to_pylist(), replaced["index"].to_pylist(), strict=True))


def _warnings(source: str, reads: Sequence[BlockRead], masked: set[tuple[str, int]]) -> pa.Table:
    """Warnings about single rows. Messages quote the text as ingested, so those of masked rows are left out."""
    found = [one for read in reads for one in read.findings if one.severity == "warning" and CODES[one.code].row]
    names = FINDINGS.names[1:]
    rows = [{"source": source} | {name: getattr(one, name) for name in names} for one in found]
    for row in rows:
        if (row["path"], row["index"]) in masked:
            row["message"] = CODES[row["code"]].title
    return pa.Table.from_pylist(rows, schema=FINDINGS)
