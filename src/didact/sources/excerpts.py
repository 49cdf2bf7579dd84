"""What stands where a finding points, shortened for a person who reads a report. Never a whole row of any length."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson
from pydantic import ValidationError

from didact.errors import RowError
from didact.formats.detect import renamed
from didact.formats.registry import get
from didact.recipe.sources import Source
from didact.records import Record
from didact.records.findings import Finding
from didact.sources.blocks import Block, SourceFile
from didact.sources.rows import Row, rows
from didact.text.shown import shortened

SHOWN = 80
"""Characters of an excerpt."""

_ODD = re.compile(r"[^\t\n\r -~\u00a0-\U0010ffff]|[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]")
"""Where a text is looked at first: characters that a reader would not see."""
_ABSENT = object()


def with_excerpts(findings: Iterable[Finding], block: Block, file: SourceFile, source: Source) -> list[Finding]:
    """The findings of a block, each with its excerpt. Reads their rows again, so it is for the few that are kept."""
    return [replace(finding, excerpt=excerpt(finding, block, file, source)) for finding in findings]


def excerpt(finding: Finding, block: Block, file: SourceFile, source: Source) -> str:
    """At most 80 visible characters from where a finding points; empty when nothing stands there."""
    place = finding.index - block.first
    if not 0 <= place < len(block):
        return ""
    row = next(iter(rows(_alone(block, place))), None)
    if not isinstance(row, Row):
        return _unreadable(block.row(place))
    found = _pointed_at(row, finding, file, source)
    return "" if found is _ABSENT else _shortened(found)


def _alone(block: Block, place: int) -> Block:
    """A block of one row; its index does not matter here."""
    one = slice(place, place + 1)
    return replace(block, starts=block.starts[one], ends=block.ends[one], lines=block.lines[one])


def _unreadable(raw: bytes) -> str:
    """The place at which bytes stop being a row."""
    raw = raw[: 1 << 20]
    text = raw.decode("utf-8", "replace")
    try:
        json.loads(raw.decode("utf-8"), parse_int=float)
    except UnicodeDecodeError as error:
        return shortened(text, SHOWN, len(raw[: error.start].decode("utf-8", "replace")))
    except json.JSONDecodeError as error:
        return shortened(text, SHOWN, error.pos)
    except RecursionError:
        return shortened(text, SHOWN)
    return shortened(text, SHOWN)


def _pointed_at(row: Row, finding: Finding, file: SourceFile, source: Source) -> Any:
    """The value at a finding's pointer: in the row as it is written, else in the record that the row becomes."""
    adapter = get(file.format, file.plugin)
    value = renamed(row.value, source.columns, adapter)
    found = _resolved(value, finding.pointer)
    if found is not _ABSENT or adapter.header is not None:
        return found
    try:
        return _in_record(adapter.read(value, None).record, finding.pointer)
    except (RowError, ValidationError):
        return _ABSENT


def _in_record(record: Record, pointer: str) -> Any:
    texts = {f"/{text.field}": text.text for text in record.texts()}
    return texts[pointer] if pointer in texts else _resolved(record.model_dump(mode="json", exclude_none=True), pointer)


def _resolved(value: Any, pointer: str) -> Any:
    """The value at a JSON pointer, or `_ABSENT`."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return _ABSENT
    return value


def _shortened(value: Any) -> str:
    """A text as it is, from its first odd character on; another value by its JSON spelling."""
    if not isinstance(value, str):
        return shortened(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode(), SHOWN)
    odd = _ODD.search(value)
    return shortened(value, SHOWN, odd.start() if odd else 0)
