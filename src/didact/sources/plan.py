"""Plans a source: which files it has, what they are made of, in which format they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from didact.durable import sha256_file
from didact.errors import CallError
from didact.formats.detect import SAMPLE_ROWS, named_or_detected, require_columns
from didact.formats.registry import get
from didact.recipe.sources import Source
from didact.sources.blocks import Block, SourceFile
from didact.sources.containers import BOM, OBJECT_LIMIT, container_of, is_binary
from didact.sources.cutting import read_blocks
from didact.sources.files import open_stream
from didact.sources.located import Located, locate
from didact.sources.rows import Row, rows
from didact.sources.spool import Spool
from didact.sources.web import require_web

_SAMPLE_BYTES = 1 << 18


def plan_source(name: str, source: Source, folder: Path, spool: Spool | None = None) -> list[SourceFile]:
    """The files of a source in reading order, each with its container, format and digest.

    Paths are relative to `folder`. A file without a readable row takes the format of the others. The rows of a query
    are written into `spool`, which must last until they are read.
    Raises InputMissing when there is no such file, CallError when a format is unknown, ambiguous or cannot read the
    file.
    """
    if source.format != "auto":
        require_columns(get(source.format), source.columns, name)
    found = [_planned(name, source, place) for place in locate(name, source, folder, spool)]
    known = next((file.format for file in found if file.format), "text")
    files = [file if file.format else replace(file, format=known) for file in found]
    for file in files:
        if source.system and file.format == "text":
            raise CallError(
                f"{name}: '{file.relative}' is plain text, which has no place for a system prompt; remove 'system'"
            )
    return [replace(file, sha256=sha256_file(file.path)) for file in files]


def _planned(name: str, source: Source, place: Located) -> SourceFile:
    """A file with its container and format; the format is empty when there is no row to tell it by."""
    path, relative, split = place
    file = SourceFile(name, path, relative, container_of(path), source.format, unit=source.unit, split=split)
    where = f"{name}: '{relative}'"
    if file.container == "object" and (content := _whole_object(path)) is not None:
        adapter = named_or_detected(source.format, [content], where, source.columns, whole=True)
        return replace(file, format=adapter.name, container="object" if adapter.list_key else "json")
    if file.container in ("html", "warc"):
        require_web()
        # Not sampled: what these hold is known, and extracting text takes time.
        return replace(file, format="text" if source.format == "auto" else source.format)
    if source.format == "auto" and file.container == "text" and is_binary(path):
        raise CallError(
            f"{where}: looks like binary data, which is not read; 'format: text' takes it as plain text all the same"
        )
    sample = list(islice(_sample(file), SAMPLE_ROWS))
    if not sample:
        return replace(file, format="" if source.format == "auto" else source.format)
    adapter = named_or_detected(source.format, sample, where, source.columns)
    if adapter.list_key is not None:
        raise CallError(
            f"{where}: format '{adapter.name}' is one JSON object with the rows in '{adapter.list_key}'; "
            f"this file is {file.container}"
        )
    if file.container == "text" and adapter.name != "text" and not adapter.fits(sample[0]):
        raise CallError(f"{where}: format '{adapter.name}' needs rows with fields; this file is plain text")
    return replace(file, format=adapter.name)


def _whole_object(path: Path) -> Any:
    """The one object a file consists of; None when it cannot be read, which is for the reader to report."""
    with open_stream(path) as stream:
        content = stream.read(OBJECT_LIMIT)
    try:
        return orjson.loads(content.removeprefix(BOM))
    except orjson.JSONDecodeError:
        return None


def _sample(file: SourceFile) -> Iterator[Any]:
    """The readable rows at the start of a file."""
    for block in read_blocks(file, _SAMPLE_BYTES):
        if isinstance(block, Block):
            yield from (row.value for row in rows(block) if isinstance(row, Row))
