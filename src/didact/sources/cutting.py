"""Cuts any file into blocks: opens it, looks at its first bytes, and hands it to the cutter of its container."""

from __future__ import annotations

from collections.abc import Callable

from didact.sources.archives import cut_archive, cut_page
from didact.sources.arrays import cut_object, cut_values
from didact.sources.blocks import BLOCK_BYTES, ROW_LIMIT, Block, Cursor, Cut, SourceFile
from didact.sources.containers import BOM
from didact.sources.delimited import cut_delimited
from didact.sources.files import ByteStream, open_stream
from didact.sources.lines import cut_lines
from didact.sources.paragraphs import cut_file, cut_paragraphs

Cutter = Callable[[ByteStream, Cursor, int, int], Cut]

_CUTTERS: dict[str, Cutter] = {"jsonl": cut_lines, "json": cut_values, "csv": cut_delimited, "tsv": cut_delimited}
_WEB_CUTTERS: dict[str, Cutter] = {"html": cut_page, "warc": cut_archive}
_TEXT_CUTTERS: dict[str, Cutter] = {"paragraphs": cut_paragraphs, "file": cut_file, "line": cut_lines}
_FOREIGN_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def read_blocks(
    file: SourceFile,
    block_bytes: int = BLOCK_BYTES,
    row_limit: int = ROW_LIMIT,
    list_key: str | None = None,
    most_bytes: int | None = None,
) -> Cut:
    """Cut a file into blocks of about `block_bytes` bytes of rows, in the file's order.

    Findings among them are about the file, or about rows that could not be cut out; those carry a row's index of
    their own. `list_key` names the list that holds the rows of an `object` file. With `most_bytes` a text file ends
    after that many bytes, decompressed. Raises InputMissing when the file cannot be opened.
    """
    cursor = Cursor(file)
    for found in _cut(cursor, block_bytes, row_limit, list_key, most_bytes):
        if not isinstance(found, Block) or len(found):
            yield found
    if cursor.index == 0:
        yield cursor.finding("IO001", "the file holds no row")


def _cut(cursor: Cursor, block_bytes: int, row_limit: int, list_key: str | None, most_bytes: int | None) -> Cut:
    if cursor.file.container in ("parquet", "arrow"):
        # Imported here: pyarrow's Parquet reader takes longer to load than most text files to read.
        from didact.sources.columnar import cut_arrow, cut_parquet

        yield from (cut_parquet if cursor.file.container == "parquet" else cut_arrow)(cursor, block_bytes)
        return
    with open_stream(cursor.file.path, most_bytes) as stream:
        cursor.stream = stream
        if cursor.file.container in _WEB_CUTTERS:
            # Pages state their encoding themselves, in many ways; the worker's library knows them.
            yield from _WEB_CUTTERS[cursor.file.container](stream, cursor, block_bytes, row_limit)
            return
        start = stream.read(4)
        encoding = next((name for mark, name in _FOREIGN_MARKS.items() if start.startswith(mark)), None)
        if encoding is not None:
            yield cursor.lost_row("IO002", f"the file is {encoding}; convert it to UTF-8")
            return
        if start.startswith(BOM):
            yield cursor.finding("IO003", "a UTF-8 byte order mark, skipped")
            cursor.skip(BOM)
        stream.unread(start.removeprefix(BOM))
        yield from _cut_text(stream, cursor, block_bytes, row_limit, list_key)


def _cut_text(stream: ByteStream, cursor: Cursor, block_bytes: int, row_limit: int, list_key: str | None) -> Cut:
    if cursor.file.container == "object" and list_key is not None:
        return cut_object(stream, cursor, list_key)
    if cursor.file.container == "text":
        return _TEXT_CUTTERS[cursor.file.unit](stream, cursor, block_bytes, row_limit)
    return _CUTTERS.get(cursor.file.container, cut_values)(stream, cursor, block_bytes, row_limit)
