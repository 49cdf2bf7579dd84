"""From a source's settings to records: plan its files, cut them into blocks, read each block, account for every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from didact.errors import DataError
from didact.formats.registry import get
from didact.recipe.sources import Source, Unit
from didact.records import Header, Record
from didact.records.columns import Columns
from didact.records.findings import CODES, Finding
from didact.sources.block_read import BlockRead, Rejected
from didact.sources.blocks import BLOCK_BYTES, ROW_LIMIT, Block, SourceFile
from didact.sources.cutting import read_blocks
from didact.sources.given import given_source
from didact.sources.memory import ROWS, as_paths
from didact.sources.plan import plan_source
from didact.sources.reading_alone import read_alone
from didact.sources.row_reader import RowReader
from didact.sources.rows import rows
from didact.sources.spool import Spool


def source_blocks(
    files: Sequence[SourceFile], source: Source, block_bytes: int = BLOCK_BYTES, row_limit: int = ROW_LIMIT
) -> Iterator[tuple[SourceFile, Block | Finding]]:
    """The blocks of a source's files in order, and the findings that no block carries, until its `limit` of rows."""
    left = source.limit
    for file in files:
        for found in read_blocks(file, block_bytes, row_limit, _list_key(file)):
            taken = len(found) if isinstance(found, Block) else int(CODES[found.code].row)
            if left is not None:
                if left <= 0:
                    return
                if isinstance(found, Block) and taken > left:
                    found = found.only(left)
                left -= taken
            yield file, found


def _list_key(file: SourceFile) -> str | None:
    """Key of the list that holds a file's rows, when its format has one; a file may be cut before it has a format."""
    return get(file.format, file.plugin).list_key if file.format else None


def read_block(
    block: Block,
    file: SourceFile,
    source: Source,
    row_limit: int = ROW_LIMIT,
    *,
    keep_rows: bool = False,
    into: Columns | None = None,
) -> BlockRead:
    """Read the rows of a block as records, check them, and account for each.

    keep_rows: see `read`; not with `into`. into: takes the records, in place of `records`, `places` and `texts`; those
    that are like others are never made.
    """
    read, reader = BlockRead(), RowReader.of(block, file, source)
    if isinstance(reader.header, Header):
        read.headers[reader.header.id] = reader.header
    if into is None or not reader.casts:
        read_alone(read, reader, rows(block, row_limit), into, keep_rows=keep_rows)
    else:
        from didact.sources.casting import read_together  # its kernels take as long to load as a thousand rows to read

        read_together(read, reader, row_limit, into)
    return read


def read(
    given: Any,
    format: str = "auto",
    *,
    query: str | None = None,
    columns: dict[str, str] | None = None,
    limit: int | None = None,
    where: dict[str, Any] | None = None,
    names: Sequence[str] = (),
    unit: Unit = "paragraphs",
    name: str = ROWS,
    findings: list[Finding] | None = None,
    keep_rows: bool = False,
) -> Iterator[Record]:
    """Records of files, folders or globs, one after the other; or of rows in memory.

    given: a path or a list of them; a database URL, with a `query`; or rows as `sources.memory.rows_of` takes them,
    which findings call `name`.
    A list given as `findings` receives every finding, and rejected rows are passed over. Without one, the first
    rejected row raises DataError: no row disappears unseen. `keep_rows` puts each row's JSON text into its record's
    origin, so that `convert` writes an edited record with its author's order of keys and spelling of numbers.
    Raises InputMissing or CallError as `plan_source` does.
    """
    with Spool() as spool:
        paths = as_paths(given, spool, name)
        source = given_source(
            paths, format=format, query=query, columns=columns, limit=limit, where=where, names=list(names), unit=unit
        )
        for file, found in source_blocks(plan_source("read", source, Path.cwd(), spool), source):
            if isinstance(found, Finding):
                _report([found], findings)
                continue
            block = read_block(found, file, source, keep_rows=keep_rows)
            _report(block.findings, findings)
            yield from block.records


def _report(found: Sequence[Finding], findings: list[Finding] | None) -> None:
    if findings is not None:
        findings += found
        return
    for finding in found:
        if finding.severity == "error":
            raise DataError(f"{finding}; give a list as 'findings' to go on without such rows")


__all__ = ["BlockRead", "Rejected", "plan_source", "read", "read_block", "source_blocks"]
