"""Writes a file again in its own container: rows that change are changed only where they do, all else is copied.

What stands between rows (white space, brackets, a header row, what an object says once, blank lines, a byte order mark,
rows that cannot be read) is never interpreted, so it cannot be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from didact.errors import NoPlace
from didact.formats.fields import kind_of, pointer
from didact.formats.json_edit import edited, spelled
from didact.records.findings import Finding
from didact.sources.blocks import BLOCK_BYTES, ROW_LIMIT, Block, SourceFile
from didact.sources.cells import edited_cells
from didact.sources.containers import BOM
from didact.sources.cutting import read_blocks
from didact.sources.delimited import DELIMITERS, PEEK, column_names, uses_quotes
from didact.sources.files import ByteStream, open_stream, write_stream

_PIECE = 1 << 20

Changes = Callable[[Block], Iterable[tuple[int, Any]]]
"""For a block, its rows that change: the place in the block and the row's new value, by ascending place."""


class Replacement(NamedTuple):
    """Bytes `start` to `end` of a decompressed file are replaced."""

    start: int
    end: int
    content: bytes


class Several(NamedTuple):
    """Elements of a JSON file that take the place of one."""

    values: list[Any]


Mend = Callable[[Finding], Iterable[Replacement]]
"""What to change outside of rows because of a finding about the file."""


def _leave(finding: Finding) -> Iterable[Replacement]:
    """Nothing: the finding's bytes are copied like others."""
    del finding
    return ()


def rewrite(
    file: SourceFile,
    target: Path,
    changes: Changes,
    *,
    mend: Mend = _leave,
    list_key: str | None = None,
    block_bytes: int = BLOCK_BYTES,
    row_limit: int = ROW_LIMIT,
) -> str | None:
    """Write a file again under `target`, whose ending says how it is compressed; give what is damaged about its stream.

    A damaged stream is copied as far as it could be decoded. The file is not written atomically: callers pass a name
    beside the one that counts (`durable.write_with`). Raises NoPlace when the container cannot hold a row's new value,
    InputMissing when the file cannot be opened.
    """
    if file.container in ("parquet", "arrow"):
        # Imported here, as in `cutting`: only those who need it load pyarrow's readers and writers.
        from didact.sources.columnar_rewriting import rewrite_columnar

        rewrite_columnar(file, target, changes, block_bytes)
        return None
    cut = read_blocks(file, block_bytes, row_limit, list_key)
    with open_stream(file.path) as stream, write_stream(target) as out:
        copy_with(stream, out, _replacements(cut, changes, mend))
    if file.container == "tsv":
        _require_same_quoting(file, target)
    return stream.damage


def copy_with(stream: ByteStream, out: BinaryIO, replacements: Iterable[Replacement]) -> None:
    """Copy a stream with some of its bytes replaced; replacements come in order and do not overlap."""
    place = 0
    for start, end, content in replacements:
        _copy(stream, out, start - place)
        out.write(content)
        stream.read(end - start)
        place = end
    while piece := stream.read(_PIECE):
        out.write(piece)


def _copy(stream: ByteStream, out: BinaryIO, size: int) -> None:
    while size > 0 and (piece := stream.read(min(size, _PIECE))):
        out.write(piece)
        size -= len(piece)


def _replacements(cut: Iterable[Block | Finding], changes: Changes, mend: Mend) -> Iterator[Replacement]:
    """All replacements of a file in order; findings come before the block in which they stand."""
    waiting: list[Replacement] = []
    for found in cut:
        if isinstance(found, Finding):
            waiting += mend(found)
            continue
        yield from sorted([*waiting, *_changed_rows(found, changes)])
        waiting = []
    yield from sorted(waiting)


def _changed_rows(block: Block, changes: Changes) -> Iterator[Replacement]:
    for place, value in changes(block):
        start, end = block.offset + int(block.starts[place]), block.offset + int(block.ends[place])
        try:
            yield Replacement(start, end, row_as(block, place, value))
        except NoPlace as error:
            where = f"{block.path}:{block.lines[place]}"
            raise NoPlace(f"{where}: {error.message}", error.pointer) from error


def row_as(block: Block, place: int, value: Any) -> bytes:
    """The bytes of one row of a block that is not columnar, changed so that it reads as `value`, and only where it
    reads as something else. Raises NoPlace when the container cannot hold the value.
    """
    raw = block.row(place)
    if block.container == "text":
        return _unit(value)
    if block.container in ("html", "warc"):
        raise NoPlace("the text of a web page stands among its tags; write another format to change it")
    if block.container not in DELIMITERS:
        first, *others = value.values if isinstance(value, Several) else [value]
        between = b"\n" if block.container == "jsonl" else b", "
        return between.join([edited(raw, first), *(spelled(other).encode() for other in others)])
    delimiter = DELIMITERS[block.container]
    names = column_names(block.head, delimiter, block.quoted, ROW_LIMIT)
    return edited_cells(raw, names, _texts(value, names), delimiter, block.quoted)


def _unit(value: Any) -> bytes:
    if not isinstance(value, str):
        raise NoPlace("a text file holds texts, and no fields")
    return value.encode("utf-8")


def _texts(value: Any, names: list[str]) -> list[str]:
    """The cells of a row, by name. Raises NoPlace for a key without a column, and for what is no text."""
    for key, cell in value.items():
        if key not in names:
            raise NoPlace("the file has no such column", pointer(key))
        if not isinstance(cell, str):
            raise NoPlace(f"{kind_of(cell)} where a cell holds text", pointer(key))
    return [value.get(name, "") for name in names]


def _require_same_quoting(file: SourceFile, target: Path) -> None:
    """Whether a TSV file quotes is told by its cells, so a changed cell must not turn the others into something else.

    Raises NoPlace.
    """
    if _quotes(file.path) != _quotes(target):
        raise NoPlace(f"{file.relative}: a changed cell makes the quotes in all cells mean something else")


def _quotes(path: Path) -> bool:
    with open_stream(path) as stream:
        return uses_quotes(stream.read(PEEK).removeprefix(BOM)[:PEEK], b"\t")
