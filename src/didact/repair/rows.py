"""Repairs one row: only what findings name changes, and only when the row is the better for it."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from didact.formats.json_edit import edited, same_json
from didact.formats.pointers import value_at
from didact.formats.registry import get
from didact.recipe.sources import Source
from didact.records.findings import Finding
from didact.repair.cells import edited_cells
from didact.repair.fixes import PARSE_JSON, Fix
from didact.sources.blocks import Block, SourceFile
from didact.sources.delimited import DELIMITERS
from didact.sources.read import BlockRead, read_block
from didact.sources.rows import Row, rows

_ROUNDS = 4
"""A fix can lay bare what another one answers, so a row is read and fixed again; none needs more rounds than this."""


class Change(NamedTuple):
    """One value of a row before and after."""

    pointer: str
    code: str
    fix: str
    before: Any
    after: Any


def repaired_row(
    block: Block, place: int, found: Sequence[Finding], file: SourceFile, source: Source, fixes: Mapping[str, Fix]
) -> tuple[bytes, list[Change]]:
    """The bytes of a row with its findings fixed, and what changed.

    The row stays as it is when a fix would bring a finding that was not there, and when it is rejected in the end.
    """
    if block.container in DELIMITERS:  # whose cells hold texts only
        fixes = {code: fix for code, fix in fixes.items() if fix.name != PARSE_JSON}
    raw, codes, changes = block.row(place), _counted(found), list[Change]()
    read: BlockRead | None = None
    for _ in range(_ROUNDS):
        fixed, made = _round(_alone(block, place, raw), found, source, file, fixes)
        if not made or fixed == raw:
            break
        read = read_block(_alone(block, place, fixed), file, source)
        if _counted(read.findings) - codes:
            break
        raw, changes, codes, found = fixed, [*changes, *made], _counted(read.findings), read.findings
    if any(finding.severity == "error" for finding in found):
        return block.row(place), []
    return raw, changes


def _counted(findings: Sequence[Finding]) -> Counter[str]:
    return Counter(finding.code for finding in findings)


def _alone(block: Block, place: int, raw: bytes) -> Block:
    """A block of one row that stands where the row stood."""
    span = np.array([0, len(raw)], np.int64)
    return replace(
        block,
        first=block.first + place,
        data=raw,
        starts=span[:1],
        ends=span[1:],
        lines=block.lines[place : place + 1],
        offset=block.offset + int(block.starts[place]),
    )


def _round(
    block: Block, found: Sequence[Finding], source: Source, file: SourceFile, fixes: Mapping[str, Fix]
) -> tuple[bytes, list[Change]]:
    """One pass of all fixes over the one row of a block."""
    row = next(iter(rows(block)))
    if not isinstance(row, Row):
        return block.data, []
    was = _exact(block, row)
    value, changes = copy.deepcopy(was), list[Change]()
    for finding in {(one.code, one.pointer): one for one in found if one.code in fixes}.values():
        fix = fixes[finding.code]
        pointer = _own_pointer(finding.pointer, row.value, source, file)
        value, made = _fixed(value, fix, pointer)
        changes += [Change(at, finding.code, fix.name, before, after) for at, before, after in made]
    return _written(block, was, value), changes


def _exact(block: Block, row: Row) -> Any:
    """The row's value; of JSON with its numbers as exact as they are written."""
    return row.value if block.container == "text" or block.container in DELIMITERS else json.loads(block.data)


def _own_pointer(pointer: str, row: Any, source: Source, file: SourceFile) -> str:
    """A finding's pointer under the author's own key, where the format or `columns` reads it under another."""
    first, slash, rest = pointer[1:].partition("/")
    own = get(file.format, file.plugin).columns
    if not isinstance(row, dict):
        return pointer
    deep = [key for generic, key in source.columns.items() if own[generic] == first and key not in row and "/" in key]
    if deep and value_at(row, deep[0]) is not None:
        return f"/{deep[0].removeprefix('/')}{slash}{rest}"
    name = next((key for generic, key in source.columns.items() if own[generic] == first and key in row), first)
    if name not in row and own.get(name) in row:
        name = own[name]
    return f"/{name.replace('~', '~0').replace('/', '~1')}{slash}{rest}" if name != first else pointer


_Made = list[tuple[str, Any, Any]]
"""Pointer, value before, value after."""


def _fixed(value: Any, fix: Fix, pointer: str) -> tuple[Any, _Made]:
    made: _Made = []
    if fix.scope == "texts":
        return _each_text(value, "", fix.change, made), made
    path = pointer.split("/")[1:]
    if fix.scope == "value":
        return _at(value, path, pointer, fix.change, made), made
    if fix.scope == "item" and path and path[-1].isdecimal():
        change = partial(_without, fix.change, int(path[-1]))
        return _at(value, path[:-1], pointer.rpartition("/")[0], change, made), made
    return value, made


def _without(change: Callable[[list[Any], int], Any], place: int, items: Any) -> Any:
    return change(items, place) if isinstance(items, list) else items


def _each_text(value: Any, pointer: str, change: Callable[[Any], Any], made: _Made) -> Any:
    """The value with every text in it changed; keys stay."""
    if isinstance(value, str):
        return _noted(pointer, value, change(value), made)
    if isinstance(value, list):
        return [_each_text(item, f"{pointer}/{i}", change, made) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            key: _each_text(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", change, made)
            for key, item in value.items()
        }
    return value


def _at(value: Any, path: Sequence[str], pointer: str, change: Callable[[Any], Any], made: _Made) -> Any:
    """The value with what stands at a path changed; as it is when nothing stands there."""
    if not path:
        return _noted(pointer, value, change(value), made)
    key: Any = path[0].replace("~1", "/").replace("~0", "~")
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        key = int(key)
    elif not (isinstance(value, dict) and key in value):
        return value
    value[key] = _at(value[key], path[1:], pointer, change, made)
    return value


def _noted(pointer: str, before: Any, after: Any, made: _Made) -> Any:
    if not same_json(before, after):
        made.append((pointer, before, after))
    return after


def _written(block: Block, was: Any, value: Any) -> bytes:
    """The row's bytes with another value; what did not change keeps its bytes."""
    if block.container == "text":
        return block.data if value == was else str(value).encode("utf-8")
    if block.container in DELIMITERS:
        return edited_cells(
            block.data, DELIMITERS[block.container], block.quoted, list(was.values()), list(value.values())
        )
    return edited(block.data, value)


def fixable(found: Sequence[Finding], fixes: Mapping[str, Fix]) -> Iterator[tuple[int, list[Finding]]]:
    """Indexes of the rows with something to fix, in their order, each with all its findings."""
    by_row: dict[int, list[Finding]] = {}
    for finding in found:
        by_row.setdefault(finding.index, []).append(finding)
    for index, findings in sorted(by_row.items()):
        if any(finding.code in fixes for finding in findings):
            yield index, findings
