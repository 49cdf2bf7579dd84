"""From a source's settings to records: plan its files, cut them into blocks, read each block, account for every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from didact.errors import DataError, RowError
from didact.formats.detect import renamed
from didact.formats.messages import said, with_system
from didact.formats.pointers import value_at
from didact.formats.registry import Adapter, Reading, get
from didact.recipe.sources import Source, Unit
from didact.records import Chat, Header, PlainText, Preference, Record
from didact.records.base import Text, Turn
from didact.records.checks import check
from didact.records.findings import CODES, Finding, Problem
from didact.records.screening import doubts_of
from didact.records.table import Place
from didact.sources.blocks import BLOCK_BYTES, ROW_LIMIT, Block, SourceFile
from didact.sources.cutting import read_blocks
from didact.sources.given import given_source
from didact.sources.keys import TooDeep, require_shallow
from didact.sources.memory import ROWS, as_paths
from didact.sources.plan import plan_source
from didact.sources.rows import Row, rows
from didact.sources.spool import Spool

EXCERPT = 16 << 10
"""Most bytes of a rejected row that are kept beside its finding."""


_POINTER_PARTS = 12
"""Most parts of a pointer to what a model refuses; nesting can make it as long as the row."""
_ENCODER_LIMIT = "Recursion limit reached"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that became no record: the error that decided it, and the row's first bytes."""

    finding: Finding
    raw: bytes = b""


@dataclass(slots=True)
class BlockRead:
    """What a block of rows became: `rows` = records + rejected + `unselected`."""

    rows: int = 0
    """Rows looked at; in nested files those inside the elements."""
    records: list[Record] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    """Of the records, in the same order."""
    texts: list[list[Text]] = field(default_factory=list)
    """Of each record, as it hands them out."""
    headers: dict[str, Header] = field(default_factory=dict)
    """What the file says once, by id; records refer to it."""
    findings: list[Finding] = field(default_factory=list)
    """Errors and warnings, in the order of the rows."""
    rejected: list[Rejected] = field(default_factory=list)
    unselected: int = 0
    """Rows that `where` leaves out."""
    described: bool = True
    """Whether the source's settings say anything about its records."""


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
    block: Block, file: SourceFile, source: Source, row_limit: int = ROW_LIMIT, *, keep_rows: bool = False
) -> BlockRead:
    """Read the rows of a block as records, check them, and account for each. `keep_rows`: see `read`."""
    adapter = get(file.format, file.plugin)
    if source.split is None and file.split is not None:
        source = source.model_copy(update={"split": file.split})
    read = BlockRead(described=any(getattr(source, name) is not None for name in _DESCRIBING))
    header = header_of(block, adapter)
    if isinstance(header, Header):
        read.headers[header.id] = header
    made = _made(read, block, rows(block, row_limit), adapter, header, source)
    while few := list(islice(made, _TOGETHER)):
        doubts = iter(doubts_of([one[3] for one in few if not isinstance(one, Finding)]))
        for one in few:
            if isinstance(one, Finding):
                _reject(read, block, one)
            elif _accepted(read, block, one, next(doubts)) and keep_rows:
                _keep_row(one[2], block, one[0], one[1], adapter, source)
    return read


_TOGETHER = 1024
"""Records that are screened for problems at once: few enough to stay in the processor's cache from step to step."""
_Made = tuple[Row, str, Record, list[Text], str, list[Problem]]
"""A row that became a record: the row, its pointer in a nested file's element, the record, its texts, its id, and what
is odd about the row."""


def _made(
    read: BlockRead,
    block: Block,
    found: Iterator[Row | Finding],
    adapter: Adapter,
    header: Header | RowError | None,
    source: Source,
) -> Iterator[_Made | Finding]:
    """The rows of a block, nested ones unfolded, as records or as the findings that reject them. Counts them all."""
    for row, inside in zip(found, repeat("")) if adapter.unfold is None else _unfolded(found, adapter.unfold, block):
        read.rows += 1
        if isinstance(row, Finding):
            yield row
        elif source.where and not _selected(row.value, source):
            read.unselected += 1
        elif isinstance(header, RowError):
            why = (header.code, header.pointer, f"in what the file says once: {header.message}")
            yield _finding(block, row, why)
        else:
            try:
                yield _made_of(row, inside, adapter, header, source, read.described)
            except RowError as error:
                yield _finding(block, row, (error.code, error.pointer, error.message), inside)


_DESCRIBING = ("system", "license", "language", "task", "split", "group")
"""Settings of a source that say something about all its records."""
_DEFAULTS = ("language", "task", "split")
"""Those of them that a record's own word goes before."""


def _keep_row(record: Record, block: Block, row: Row, inside: str, adapter: Adapter, source: Source) -> None:
    """Put the row into the record that was made of it, as its author spelt it where it is JSON."""
    if record.origin is None:
        return
    own = renamed(row.value, source.columns, adapter)
    as_written = block.container in ("jsonl", "json", "object") and not inside and own is row.value
    raw = block.row(row.index - block.first) if as_written else orjson.dumps(own)
    record.origin.row = raw.decode("utf-8")


def _unfolded(
    found: Iterator[Row | Finding], unfold: Callable[[Any], list[tuple[str, Any]]], block: Block
) -> Iterator[tuple[Row | Finding, str]]:
    """The rows inside each element of a nested file, with their JSON pointers; the first has the element's notes."""
    for row in found:
        if isinstance(row, Finding):
            yield row, ""
            continue
        try:
            inner = unfold(row.value)
        except RowError as error:
            yield _finding(block, row, (error.code, error.pointer, error.message)), ""
            continue
        for place, (pointer, value) in enumerate(inner):
            yield Row(row.index, row.line, row.offset, value, () if place else row.notes), pointer


def header_of(block: Block, adapter: Adapter) -> Header | RowError | None:
    """What the block's file says once, or why it cannot be read."""
    if adapter.header is None or not block.head or block.container != "object":
        return None
    try:
        head = orjson.loads(block.head)
        require_shallow(head)
        return adapter.header(head, block.path)
    except RowError as error:
        return error
    except TooDeep as error:
        return RowError("JS001", str(error))
    except (orjson.JSONDecodeError, ValidationError) as error:
        return RowError("JS001", str(error).partition("\n")[0])


def _made_of(row: Row, inside: str, adapter: Adapter, header: Header | None, source: Source, described: bool) -> _Made:
    """A row as a record. Raises RowError."""
    columns = source.columns
    record, notes = reading_of(renamed(row.value, columns, adapter) if columns else row.value, adapter, header)
    if described:
        record = _with_metadata(record, row.value, source, header)
    texts = record.texts()
    return row, inside, record, texts, _identity(record, texts), notes


def _accepted(read: BlockRead, block: Block, made: _Made, doubts: int) -> bool:
    """Whether a record's problems leave it one; it and they are put into what was read. doubts: see `check`."""
    row, inside, record, texts, identity, notes = made
    problems = check(record, texts, doubts)
    if problems or notes or row.notes:
        found = [_finding(block, row, problem) for problem in row.notes]
        found += [_finding(block, row, problem, inside) for problem in (*notes, *problems)]
        read.findings += found
        decisive = next((finding for finding in found if finding.severity == "error"), None)
        if decisive is not None:
            read.rejected.append(Rejected(decisive, _excerpt(block, row.index)))
            return False
    record.assign(source=block.source, id=identity)
    read.records.append(record)
    read.texts.append(texts)
    read.places.append(Place(block.path, row.index, row.line, row.offset))
    return True


def reading_of(value: Any, adapter: Adapter, header: Header | None) -> Reading:
    """A row as a record. Raises RowError, whatever a hostile row makes of the JSON that stands inside its texts."""
    try:
        return adapter.read(value, header)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        pointer = "".join(f"/{part}" for part in first["loc"][:_POINTER_PARTS])
        raise RowError("SC002", first["msg"], pointer) from error
    except orjson.JSONDecodeError as error:
        raise RowError("SC002", f"a text that should hold JSON does not: {error}") from error
    except orjson.JSONEncodeError as error:  # It is TypeError itself, so that its message must tell.
        if str(error) != _ENCODER_LIMIT:
            raise
        raise RowError("JS001", str(TooDeep())) from error


def _identity(record: Record, texts: Sequence[Text]) -> str:
    """A record's id. Raises RowError when it is nested too deep to be written, as JSON inside texts can be."""
    try:
        if record.origin is not None and record.origin.extra:
            require_shallow(record.origin.extra)
        return record.content_id(texts)
    except TooDeep as error:
        raise RowError("JS001", str(error)) from error
    except orjson.JSONEncodeError as error:
        if str(error) != _ENCODER_LIMIT:
            raise
        raise RowError("JS001", str(TooDeep())) from error


def _finding(block: Block, row: Row, problem: tuple[str, str, str], inside: str = "") -> Finding:
    code, pointer, message = problem
    return Finding(code, block.path, row.index, row.line, row.offset, inside + pointer, message)


def _reject(read: BlockRead, block: Block, finding: Finding) -> None:
    read.findings.append(finding)
    read.rejected.append(Rejected(finding, _excerpt(block, finding.index)))


def _excerpt(block: Block, index: int) -> bytes:
    """The first bytes of a row as they stand in its file; none for columnar files."""
    place = index - block.first
    return block.row(place)[:EXCERPT] if block.data else b""


def _selected(value: Any, source: Source) -> bool:
    """Whether a row has the values that `where` asks for; a text equals the value it spells."""
    if not isinstance(value, dict):
        return False
    return all(_equals(value_at(value, key), wanted) for key, wanted in source.where.items())


def _equals(found: Any, wanted: Any) -> bool:
    if isinstance(found, str) and not isinstance(wanted, str):
        return found.strip() == orjson.dumps(wanted).decode()
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _with_metadata(record: Record, row: Any, source: Source, header: Header | None) -> Record:
    """The record with what the source's settings say about all its records."""
    if source.system:
        record = _prompted(record, source.system, header)
    fields = vars(record)
    if source.license is not None:
        fields["license"] = source.license
    for name in _DEFAULTS:
        if fields[name] is None:
            fields[name] = getattr(source, name)
    if source.group is not None and (group := value_at(row, source.group)) is not None:
        record.group = str(group)
    return record


def _prompted(record: Record, system: str, header: Header | None) -> Record:
    """The record behind a system prompt. Questions and tasks become the conversation that they are rendered as."""
    if isinstance(record, Chat):
        record.messages = with_system(record.messages, system)
        return record
    if isinstance(record, Preference):
        record.prompt = with_system(record.prompt, system)
        return record
    if isinstance(record, PlainText):
        return record
    turns: list[Turn] = record.dialogue(header)
    messages = [said("assistant" if turn["role"] == "assistant" else "user", turn["content"]) for turn in turns]
    shared = record.model_dump(include={"task", "tags", "group", "language", "split", "header"})
    return Chat(messages=with_system(messages, system), origin=record.origin, **shared)


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
