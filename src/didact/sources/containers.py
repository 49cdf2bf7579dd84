"""What a file is made of, told by its content: JSON lines, a JSON array, one JSON object, CSV, Parquet, Arrow, a web
page, a web archive, or text.

Names only decide what content leaves open: whether commas separate cells, and whether text that starts with a bracket
is meant as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson

from didact.sources import endings
from didact.sources.endings import bare_suffix
from didact.sources.files import ByteStream, open_stream

Container = Literal["jsonl", "json", "object", "csv", "tsv", "parquet", "arrow", "html", "warc", "text"]
"""`json` is a sequence of JSON values, in an array or bare; `object` is one object, whose list may hold the rows;
`html` is one web page, `warc` an archive of pages or of their texts (WET)."""

JSON: frozenset[Container] = frozenset({"jsonl", "json", "object"})
"""Those whose rows are JSON text."""
BOM = b"\xef\xbb\xbf"
_PEEK = 1 << 16
OBJECT_LIMIT = 64 << 20
"""Bytes of the largest file that is read whole, because one object holds its rows."""
OBJECT_VALUES, ROW_VALUES = 2_000_000, 1_000_000
"""Most commas and opening brackets of a file that is read whole, and of a row: each value costs up to a hundred bytes
of memory, so that a hostile file could be made to need fifty times its size."""
_LINES_LOOKED_AT = 1000

DECODER = json.JSONDecoder(strict=False, parse_int=float)
"""Finds where JSON values end. Python refuses to make an integer of more than 4,300 digits, and none is needed."""
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_WEB_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?>(?:<!--(?>.*?-->)\s*)*)<(?:!doctype html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
_SPACE = re.compile(r"[ \t\r\n]*")


def container_of(path: Path) -> Container:
    """The container of a file. An empty file is `text`. Raises InputMissing when it cannot be opened."""
    with open_stream(path) as stream:
        start = stream.read(_PEEK)
        if start.startswith(b"PAR1"):
            return "parquet"
        if start.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
            return "arrow"
        if start.startswith(b"WARC/"):
            return "warc"
        if _is_page(start, bare_suffix(path)):
            return "html"
        return _text_container(start.removeprefix(BOM), stream, bare_suffix(path))


def is_binary(path: Path) -> bool:
    """Whether a file would be mistaken for plain text, but holds bytes that text has not."""
    with open_stream(path) as stream:
        return b"\0" in stream.read(_PEEK)


def _is_page(start: bytes, suffix: str) -> bool:
    """Whether a web page begins here. One under the name of JSON or CSV is what a server sent instead of the data."""
    if suffix in endings.PAGES:
        return start.removeprefix(BOM).lstrip()[:1] == b"<" or start.startswith(_WIDE_MARKS)
    return suffix not in (*endings.JSON, *endings.CELLS) and bool(_WEB_PAGE.match(start))


def _text_container(start: bytes, stream: ByteStream, suffix: str) -> Container:
    named_json = suffix in endings.JSON
    first = start.lstrip()[:1]
    if first == b"[" and suffix in endings.LINES and _opens_with_a_bare_array(start):
        return "jsonl"
    if first == b"[" and (named_json or _opens_with_an_element(start)):
        return "json"
    if first == b"{" and (named_json or _opens_with_an_object(start)):
        return _container_of_objects(start, stream, suffix)
    if named_json:
        return "jsonl"
    if suffix in endings.TABS:
        return "tsv"
    return "csv" if suffix == ".csv" else "text"


def _opens_with_an_element(start: bytes) -> bool:
    """Whether an array of objects begins here, as opposed to a text in brackets."""
    text = start.decode("latin-1").lstrip()
    place = _SPACE.match(text, 1).end()  # type: ignore[union-attr]
    return text[place : place + 1] == "{" and _may_be_json(text, place)


def _opens_with_a_bare_array(start: bytes) -> bool:
    """Whether the first line is an array that holds no object: among lines, a row that is no record."""
    try:
        value = orjson.loads(start.lstrip().partition(b"\n")[0])
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, list) and not any(isinstance(one, dict) for one in value)


def _opens_with_an_object(start: bytes) -> bool:
    text = start.decode("latin-1").lstrip()
    return _may_be_json(text, 0)


def _may_be_json(start: str, place: int) -> bool:
    """Whether a JSON value stands at a place of a file's start; one that the file's end cuts short does not count."""
    verdict = decode(start, place)[2]
    return verdict == "whole" or (verdict == "unsure" and len(start) > _PEEK // 2)


def _container_of_objects(start: bytes, stream: ByteStream, suffix: str) -> Container:
    """JSON lines, objects over several lines, or one object; where all is broken, what the name says."""
    text = start.decode("latin-1").lstrip()
    if _has_object_lines(text):
        rest = text[text.index("\n") :]
        return "jsonl" if rest.strip() or stream.read(_PEEK).strip() else "object"
    while True:
        _, end, verdict = decode(text, 0)
        readable = len(text) < OBJECT_LIMIT and not is_dense(text, OBJECT_VALUES)
        wanted = max(_PEEK, min(len(text), OBJECT_LIMIT + 1 - len(text)))
        more = stream.read(wanted).decode("latin-1") if readable else ""
        if verdict == "broken" or (verdict == "unsure" and not more):
            by_line = suffix in endings.LINES or any(map(_is_object, _second_lines(text)))
            return "jsonl" if by_line else "json"
        if verdict == "whole":
            several: Container = "json" if "\n" in text[:end] else "jsonl"
            return several if (text[end:] + more).strip() else "object"
        text += more


def is_dense(content: str | bytes, most: int) -> bool:
    """Whether JSON may hold more than `most` values; commas and brackets inside texts count too."""
    if len(content) <= most:
        return False
    if isinstance(content, bytes):
        return content.count(b",") + content.count(b"[") + content.count(b"{") > most
    return content.count(",") + content.count("[") + content.count("{") > most


def _second_lines(text: str) -> Iterator[str]:
    """The lines from the second on, some of them."""
    place = text.find("\n") + 1
    for _ in range(_LINES_LOOKED_AT):
        end = text.find("\n", place)
        if not place or end < 0:
            break
        yield text[place:end]
        place = end + 1
    if place:
        yield text[place : place + _PEEK].partition("\n")[0]


def _has_object_lines(text: str) -> bool:
    line, newline, _ = text.partition("\n")
    return bool(newline) and _is_object(line)


def _is_object(line: str) -> bool:
    try:
        return isinstance(orjson.loads(line.encode("latin-1")), dict)
    except orjson.JSONDecodeError:
        return False


Verdict = Literal["whole", "broken", "unsure"]
_TAIL = 16
"""An error this close to the end of what is known may be the cut of a longer word, number or escape."""


def decode(text: str, place: int) -> tuple[Any, int, Verdict]:
    """The JSON value that begins at `place`, where it ends, and how certain that is.

    `broken`: no continuation of the text makes it valid; `unsure`: the text ends before the value does, or right
    after a number, which may go on; the end of a value that could not be read is `place`. Control characters inside
    strings are let pass here: spans are found first, rows are judged later.
    """
    try:
        value, end = DECODER.raw_decode(text, place)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text) - _TAIL or error.msg.startswith("Unterminated string")
        return None, place, "unsure" if cut else "broken"
    except RecursionError:
        return None, place, "broken"
    return value, end, "whole" if end < len(text) or text[end - 1] in '}]"' else "unsure"
