"""From a source's settings to records: plan its files, cut them into blocks, read each block, account for every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

from didact.errors import DataError, RowError
from didact.formats.detect import renamed
from didact.formats.pointers import value_at
from didact.formats.registry import Adapter, get
from didact.recipe.sources import Source, Unit
from didact.records import Header, Record
from didact.records.base import Text
from didact.records.checks import check, check_texts
from didact.records.columns import Columns, Place
from didact.records.doubts import EMPTY
from didact.records.findings import CODES, Finding, Problem
from didact.records.screening import doubts_about
from didact.sources.blocks import BLOCK_BYTES, ROW_LIMIT, Block, SourceFile
from didact.sources.casting import Alike, Casting
from didact.sources.cutting import read_blocks
from didact.sources.describing import describes, with_metadata
from didact.sources.given import given_source
from didact.sources.memory import ROWS, as_paths
from didact.sources.plan import plan_source
from didact.sources.reading import header_of, identity_of, reading_of
from didact.sources.rows import Row, rows
from didact.sources.spool import Spool

EXCERPT = 16 << 10
"""Most bytes of a rejected row that are kept beside its finding."""


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

    keep_rows: see `read`. into: takes the records, in place of `records`, `places` and `texts`; those that are read as
    others were and that no check has to look at are never made.
    """
    read, how = BlockRead(), _How.of(block, file, source)
    if isinstance(how.header, Header):
        read.headers[how.header.id] = how.header
    made = _made(read, how, rows(block, row_limit), None if into is None else how.casting())
    while few := list(islice(made, _TOGETHER)):
        doubts = iter(_doubts(few))
        for one in few:
            doubt = 0 if isinstance(one, Finding) else next(doubts)
            if isinstance(one, _Cast) and doubt & EMPTY:
                one = how.record(one.row)
            if isinstance(one, _Cast):
                _put(read, block, one, doubt, into)
            elif isinstance(one, _Made):
                if _accepted(read, block, one, doubt, into) and keep_rows:
                    _keep_row(one, how)
            else:
                _reject(read, block, one)
    return read


_TOGETHER = 1024
"""Records that are screened for problems at once: few enough to stay in the processor's cache from step to step."""


class _Made(NamedTuple):
    """A row that became a record."""

    row: Row
    inside: str
    """The row's pointer in a nested file's element."""
    record: Record
    texts: list[Text]
    identity: str
    notes: list[Problem]
    """What is odd about the row."""


class _Cast(NamedTuple):
    """A row of which no record was made, since it would be like another."""

    row: Row
    alike: Alike
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class _How:
    """How the rows of a block are read."""

    block: Block
    adapter: Adapter
    header: Header | RowError | None
    source: Source
    described: bool
    """Whether the source's settings say anything about its records."""

    @classmethod
    def of(cls, block: Block, file: SourceFile, source: Source) -> Self:
        """How those of a block of a file are."""
        adapter = get(file.format, file.plugin)
        if source.split is None and file.split is not None:
            source = source.model_copy(update={"split": file.split})
        return cls(block, adapter, header_of(block, adapter), source, describes(source))

    def record(self, row: Row, inside: str = "") -> _Made | Finding:
        """A row as a record, or as what rejects it."""
        if isinstance(self.header, RowError):
            why = (self.header.code, self.header.pointer, f"in what the file says once: {self.header.message}")
            return _finding(self.block, row, why)
        try:
            record, notes = reading_of(self.named(row.value), self.adapter, self.header)
            if self.described:
                record = with_metadata(record, row.value, self.source, self.header)
            texts = record.texts()
            return _Made(row, inside, record, texts, identity_of(record, texts), notes)
        except RowError as error:
            return _finding(self.block, row, (error.code, error.pointer, error.message), inside)

    def named(self, value: Any) -> Any:
        """A row's value under the names that its format has for it."""
        columns = self.source.columns
        return renamed(value, columns, self.adapter) if columns else value

    def casting(self) -> Casting | None:
        """Casts rows that are alike; none where every row is read for itself: inside elements of nested files, or where
        a path into the row says what group it is of.
        """
        adapter, source = self.adapter, self.source
        if not adapter.moves or adapter.unfold is not None or source.group is not None:
            return None
        said = self.header.model_dump_json() if isinstance(self.header, Header) else ""
        bare = replace(self, source=source.model_copy(update={"columns": {}}))
        return Casting(adapter.moves, bare._alone, self.block.source, said + source.model_dump_json())

    def _alone(self, value: Any) -> Record | None:
        """The record of a row; None where anything is odd about it."""
        made = self.record(Row(0, 0, 0, value))
        return made.record if isinstance(made, _Made) and not made.notes else None


def _made(
    read: BlockRead, how: _How, found: Iterator[Row | Finding], casting: Casting | None
) -> Iterator[_Made | _Cast | Finding]:
    """The rows of a block, nested ones unfolded, as records or as the findings that reject them. Counts them all."""
    block, unfold, where = how.block, how.adapter.unfold, how.source.where
    for row, inside in zip(found, repeat("")) if unfold is None else _unfolded(found, unfold, block):
        read.rows += 1
        if isinstance(row, Finding):
            yield row
        elif where and not _selected(row.value, how.source):
            read.unselected += 1
        elif casting is None or row.notes or (cast := casting.cast(how.named(row.value))) is None:
            yield how.record(row, inside)
        else:
            yield _Cast(row, *cast)


def _doubts(few: Sequence[_Made | _Cast | Finding]) -> list[int]:
    """The doubts about each of some records."""
    texts: list[str] = []
    roles: list[str] = []
    sizes: list[int] = []
    for one in few:
        if isinstance(one, _Cast):
            texts += one.texts
            roles += one.alike.mould.roles
            sizes.append(len(one.texts))
        elif isinstance(one, _Made):
            texts += [text[2] for text in one.texts]
            roles += [text[1] for text in one.texts]
            sizes.append(len(one.texts))
    return doubts_about(texts, roles, sizes)


def _keep_row(made: _Made, how: _How) -> None:
    """Put the row into the record that was made of it, as its author spelt it where it is JSON."""
    row, block, origin = made.row, how.block, made.record.origin
    if origin is None:
        return
    own = renamed(row.value, how.source.columns, how.adapter)
    as_written = block.container in ("jsonl", "json", "object") and not made.inside and own is row.value
    raw = block.row(row.index - block.first) if as_written else orjson.dumps(own)
    origin.row = raw.decode("utf-8")


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


def _put(read: BlockRead, block: Block, cast: _Cast, doubts: int, into: Columns | None) -> None:
    """Put a record that was not made into columns, unless its problems leave it none."""
    row, alike, texts = cast
    mould = alike.mould
    if doubts:
        placed = [*map(Text, mould.fields, mould.roles, texts)]
        if not _admitted(read, block, row, "", check_texts(placed, doubts)):
            return
    assert into is not None  # only then is any row cast
    into.put(into.number(mould), texts, alike.identity(texts), block.path, row.index, row.line)


def _accepted(read: BlockRead, block: Block, made: _Made, doubts: int, into: Columns | None) -> bool:
    """Whether a record's problems leave it one; if so it is put into what was read. doubts: see `check`."""
    row, inside, record, texts, identity, notes = made
    if not _admitted(read, block, row, inside, [*notes, *check(record, texts, doubts)]):
        return False
    record.assign(source=block.source, id=identity)
    place = Place(block.path, row.index, row.line, row.offset)
    if into is not None:
        into.put_record(record, texts, place)
        return True
    read.records.append(record)
    read.texts.append(texts)
    read.places.append(place)
    return True


def _admitted(read: BlockRead, block: Block, row: Row, inside: str, problems: Sequence[Problem]) -> bool:
    """Whether what is odd about a row and the problems of its record leave it one; they are put into what was read."""
    if not problems and not row.notes:
        return True
    found = [_finding(block, row, problem) for problem in row.notes]
    found += [_finding(block, row, problem, inside) for problem in problems]
    read.findings += found
    decisive = next((finding for finding in found if finding.severity == "error"), None)
    if decisive is not None:
        read.rejected.append(Rejected(decisive, _excerpt(block, row.index)))
    return decisive is None


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
