"""Plans a source: which files it has, what they are made of, in which format they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from didact.durable import sha256_file
from didact.errors import CallError, InputMissing
from didact.formats.detect import SAMPLE_ROWS, named_or_detected, require_columns
from didact.formats.registry import Adapter, chosen, get, owner
from didact.plugins import Plugin
from didact.recipe.sources import Source
from didact.sources.blocks import ROW_LIMIT, Block, SourceFile
from didact.sources.containers import BOM, OBJECT_LIMIT, OBJECT_VALUES, Container, container_of, is_binary, is_dense
from didact.sources.cutting import read_blocks
from didact.sources.delimited import DELIMITERS, header_fault
from didact.sources.files import open_stream
from didact.sources.located import Located, locate
from didact.sources.rows import Row, rows
from didact.sources.spool import Spool
from didact.sources.web import require_web

_SAMPLE_BYTES = 1 << 16
"""Of a block, decompressed: enough for the rows of most files, which may be hundreds."""
_GLANCE_BYTES = 1 << 12
"""The same for the first row alone."""
_SAMPLE_LIMIT = 512 << 20
"""Bytes, decompressed, in which the rows that tell a file's format are looked for; a hostile file may have none."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A file and how it is read, or why it cannot be."""

    file: SourceFile
    unfit: str = ""
    """Why the file is in no format that can be told; then its format is empty."""


def plan_source(name: str, source: Source, folder: Path, spool: Spool | None = None) -> list[SourceFile]:
    """The files of a source in reading order, each with its container, format and digest.

    Paths are relative to `folder`. A file without a readable row takes the format of the others. The rows of a query
    are written into `spool`, which must last until they are read.
    Raises InputMissing when there is no such file, CallError when a format is unknown, ambiguous or cannot read the
    file.
    """
    planned = plan_files(name, source, folder, spool)
    unfit = [one for one in planned if one.unfit]
    if unfit:
        more = len(unfit) - 1
        others = (
            f" ({more} more file{'s'[: more > 1]} of this source cannot be read either; `didact validate` lists all)"
        )
        raise CallError(f"{name}: '{unfit[0].file.relative}': {unfit[0].unfit}" + (others if more else ""))
    for file in (one.file for one in planned):
        if source.system and file.format == "text":
            raise CallError(
                f"{name}: '{file.relative}' is plain text, which has no place for a system prompt; remove 'system'"
            )
    return [replace(one.file, sha256=sha256_file(one.file.path)) for one in planned]


def plan_files(name: str, source: Source, folder: Path, spool: Spool | None = None) -> list[Planned]:
    """As `plan_source`, without digests, and a file whose format cannot be told does not keep the others from it.

    Raises InputMissing when there is no such file, CallError when the source names a format that is unknown or does
    not have the columns it is said to have.
    """
    named, plugin = chosen(source.format, folder)
    source = source.model_copy(update={"format": named})
    if named != "auto":
        require_columns(get(named, plugin), source.columns, name)
    found = [_told(name, source, plugin, place) for place in locate(name, source, folder, spool)]
    known = next((one.file for one in found if one.file.format), replace(found[0].file, format="text", plugin=None))
    return [
        one
        if one.file.format or one.unfit
        else replace(one, file=replace(one.file, format=known.format, plugin=known.plugin))
        for one in found
    ]


def _told(name: str, source: Source, plugin: Plugin | None, place: Located) -> Planned:
    """A file as planned, or why it cannot be."""
    path, relative, split = place
    try:
        return Planned(_planned(name, source, plugin, place))
    except CallError as error:
        if isinstance(error, InputMissing):
            raise
        container = container_of(path)
        # Binary data and web pages are one row each; one JSON object too, whose rows nobody knows.
        file = SourceFile(
            name, path, relative, "json" if container == "object" else container, "", unit="file", split=split
        )
        return Planned(file, str(error).removeprefix(f"{name}: '{relative}': "))


def _planned(name: str, source: Source, plugin: Plugin | None, place: Located) -> SourceFile:
    """A file with its container and format; the format is empty when there is no row to tell it by."""
    path, relative, split = place
    names = tuple(source.names)
    file = SourceFile(name, path, relative, container_of(path), source.format, "", source.unit, names, plugin, split)
    where = f"{name}: '{relative}'"
    if names and file.container not in DELIMITERS:
        raise CallError(f"{where}: is {file.container}; 'names' are for CSV and TSV files without a line of names")
    if file.container == "object" and (content := _whole_object(path)) is not None:
        adapter = named_or_detected(source.format, [content], where, source.columns, whole=True, plugin=plugin)
        return _in_format(file, adapter, "object" if adapter.list_key else "json")
    if file.container in ("html", "warc"):
        require_web()
        # Not sampled: what these hold is known, and extracting text takes time.
        return replace(file, format="text" if source.format == "auto" else source.format)
    if source.format == "auto" and file.container == "text" and is_binary(path):
        raise CallError(
            f"{where}: looks like binary data, which is not read; 'format: text' takes it as plain text all the same"
        )
    # Of a file whose format is named, one row tells whether it has rows at all, and rows with fields.
    unknown = source.format == "auto"
    looked_at = _sample(file, where, _SAMPLE_BYTES if unknown else _GLANCE_BYTES)
    sample = list(islice(looked_at, SAMPLE_ROWS if unknown else 1))
    if not sample:
        return replace(file, format="" if source.format == "auto" else source.format)
    adapter = named_or_detected(source.format, sample, where, source.columns, plugin=plugin)
    if adapter.list_key is not None:
        raise CallError(
            f"{where}: format '{adapter.name}' is one JSON object with the rows in '{adapter.list_key}'; "
            f"this file is {file.container}"
        )
    if file.container == "text" and adapter.name != "text" and not adapter.fits(sample[0]):
        raise CallError(f"{where}: format '{adapter.name}' needs rows with fields; this file is plain text")
    return _in_format(file, adapter, file.container)


def _in_format(file: SourceFile, adapter: Adapter, container: Container) -> SourceFile:
    """The file with its format, and the plug-in that a detected adapter came from."""
    plugin = file.plugin if file.plugin is not None else owner(adapter.name)
    return replace(file, format=adapter.name, container=container, plugin=plugin)


def _whole_object(path: Path) -> Any:
    """The one object a file consists of; None when it cannot be read, which is for the reader to report."""
    with open_stream(path) as stream:
        content = stream.read(OBJECT_LIMIT)
    if is_dense(content, OBJECT_VALUES):
        return None
    try:
        return orjson.loads(content.removeprefix(BOM))
    except orjson.JSONDecodeError:
        return None


def _require_names(block: Block, where: str) -> None:
    delimiter = DELIMITERS.get(block.container)
    if delimiter and (fault := header_fault(block.head, delimiter, block.quoted, ROW_LIMIT)):
        raise CallError(
            f"{where}: the row with the names of the columns: {fault}; correct it, or leave it out and name the "
            "columns, as in 'names: [question, answer]'"
        )


def _sample(file: SourceFile, where: str, block_bytes: int) -> Iterator[Any]:
    """The readable rows at the start of a file. Raises CallError when the names of their columns are not."""
    for block in read_blocks(file, block_bytes, most_bytes=_SAMPLE_LIMIT):
        if isinstance(block, Block):
            _require_names(block, where)
            yield from (row.value for row in rows(block) if isinstance(row, Row))
