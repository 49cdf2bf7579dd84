"""The part of validation that runs in the workers: one block in, a small verdict out; records are not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import orjson
import xxhash

from didact.formats.detect import only_fit
from didact.recipe.sources import Source
from didact.records import Origin
from didact.records.findings import Finding
from didact.sources.blocks import Block, SourceFile
from didact.sources.excerpts import with_excerpts
from didact.sources.read import BlockRead, Rejected, read_block
from didact.sources.rows import Row, rows
from didact.validate.repeats import SEEN, Rows

CONTENT, AUTHOR_ID = 0, 1
"""What a hash in `BlockVerdict.seen` is of: a record's content, or the author's id within one file."""

_SHARED_KEYS = ("task_id", "question_id", "prompt_id", "idx")
"""Keys under which authors number what several rows may share."""
_SHAPE_CODES = ("SC001", "SC006")
"""Errors of rows that may simply be in another format."""
_LOOKED_AT = 20
"""Rows of a block that are tried in other formats."""


@dataclass(frozen=True, slots=True)
class BlockTask:
    """A block and all that its verdict depends on."""

    block: Block
    file: SourceFile
    source: Source
    number: int
    """Of the file, in reading order."""
    order: int
    """Of the block among all that was cut."""
    most: int
    """Located findings to keep of each code."""
    unfit: str = ""
    """Why no row of the file can be read, when its format cannot be told."""


@dataclass(slots=True)
class BlockVerdict:
    """What was found in a block: rows = valid + rejected."""

    valid: int = 0
    rejected: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    located: list[Finding] = field(default_factory=list)
    """Of each code the first few, in the order of the rows."""
    seen: Rows = field(default_factory=lambda: np.empty(0, SEEN))
    """Hashes of contents and author's ids with their places."""
    others: dict[str, Finding] = field(default_factory=dict)
    """Formats that rejected rows fit, each with the first such row."""


def judge(task: BlockTask) -> BlockVerdict:
    """Read and check the rows of a block."""
    read = _unfit(task) if task.unfit else read_block(task.block, task.file, task.source)
    found = list(first_few(read.findings, task.most))
    return BlockVerdict(
        len(read.records),
        len(read.rejected),
        Counter(finding.code for finding in read.findings),
        found if task.unfit else with_excerpts(found, task.block, task.file, task.source),
        np.concatenate([_contents(read, task.number), _author_ids(read, task.number)]),
        {} if task.unfit else _other_formats(read, task),
    )


def first_few(findings: Iterable[Finding], most: int) -> Iterator[Finding]:
    """The first `most` findings of each code."""
    counts: Counter[str] = Counter()
    for finding in findings:
        if counts[finding.code] < most:
            yield finding
        counts[finding.code] += 1


def _unfit(task: BlockTask) -> BlockRead:
    """Every row of a file in no format that can be told is rejected."""
    read = BlockRead(len(task.block))
    for row in rows(task.block):
        if isinstance(row, Row):
            row = Finding("SC006", task.block.path, row.index, row.line, row.offset, "", task.unfit)
        read.findings.append(row)
        read.rejected.append(Rejected(row))
    return read


def _contents(read: BlockRead, number: int) -> Rows:
    """The first 64 bits of each record's id, with its place."""
    seen = np.zeros(len(read.records), SEEN)
    ids = bytes.fromhex("".join([record.id for record in read.records]))
    seen["hash"] = np.frombuffer(ids, ">u8")[::2]
    seen["what"], seen["file"] = CONTENT, number
    for name, places in (
        ("index", [place.index for place in read.places]),
        ("line", [place.line for place in read.places]),
        ("offset", [place.offset for place in read.places]),
    ):
        seen[name] = places
    return seen


def _author_ids(read: BlockRead, number: int) -> Rows:
    """The author's id of each record that has one of its own, hashed with the file: ids may recur in other files."""
    named = [
        (f"{number}\0{record.origin.key}".encode(), place)
        for record, place in zip(read.records, read.places, strict=True)
        if record.origin is not None and record.origin.key is not None and not _is_shared(record.origin)
    ]
    hashed = ((xxhash.xxh3_64_intdigest(name), place) for name, place in named)
    return np.array(
        [(value, AUTHOR_ID, number, place.index, place.line, place.offset) for value, place in hashed], SEEN
    )


def _is_shared(origin: Origin) -> bool:
    """Whether the key numbers a task or a question, which several rows may be about."""
    return any(str(origin.extra[name]) == origin.key for name in _SHARED_KEYS if name in origin.extra)


def _other_formats(read: BlockRead, task: BlockTask) -> dict[str, Finding]:
    """Other formats that rows without the shape of their file's format fit."""
    shapeless = (one.finding for one in read.rejected if one.finding.code in _SHAPE_CODES)
    found: dict[str, Finding] = {}
    for finding in islice(shapeless, _LOOKED_AT):
        value = _value(task.block, finding)
        # A bare text or number fits the format of plain text, and is a stray value rather than another format.
        name = only_fit(value, task.file.format, task.source.columns) if isinstance(value, dict) else None
        if name is not None:
            found.setdefault(name, finding)
    return found


def _value(block: Block, finding: Finding) -> Any:
    """The JSON value of a row that was read once already; None for rows of other containers, which share a header."""
    if block.container not in ("jsonl", "json"):
        return None
    return orjson.loads(block.row(finding.index - block.first))
