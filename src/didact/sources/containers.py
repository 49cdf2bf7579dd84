"""What a file is made of, told by its content: JSON lines, a JSON array, one JSON object, CSV, Parquet, Arrow, or text.

Names only decide what content leaves open: whether commas separate cells, and whether text that starts with a bracket is meant as JSON.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import orjson

from didact.sources.files import ByteStream, bare_suffix, open_stream

Container = Literal["jsonl", "json", "object", "csv", "tsv", "parquet", "arrow", "text"]
"""`json` is a sequence of JSON values, in an array or bare; `object` is one JSON object, whose list may hold the rows."""

BOM = b"\xef\xbb\xbf"
_PEEK = 1 << 16
OBJECT_LIMIT = 256 << 20
"""Bytes of the largest file that is read whole, because one object holds its rows."""

_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson", ".jsonlines")
_DECODER = json.JSONDecoder(strict=False)
_SPACE = re.compile(r"[ \t\r\n]*")


def container_of(path: Path) -> Container:
    """The container of a file. An empty file is `text`. Raises InputMissing when it cannot be opened."""
    with open_stream(path) as stream:
        start = stream.read(_PEEK)
        if start.startswith(b"PAR1"):
            return "parquet"
        if start.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
            return "arrow"
        return _text_container(start.removeprefix(BOM), stream, bare_suffix(path))


def _text_container(start: bytes, stream: ByteStream, suffix: str) -> Container:
    named_json = suffix in _JSON_SUFFIXES
    first = start.lstrip()[:1]
    if first == b"[" and (named_json or _opens_with_an_element(start)):
        return "json"
    if first == b"{" and (named_json or _opens_with_an_object(start)):
        return _container_of_objects(start, stream)
    if named_json:
        return "jsonl"
    if suffix in (".tsv", ".tab"):
        return "tsv"
    return "csv" if suffix == ".csv" else "text"


def _opens_with_an_element(start: bytes) -> bool:
    """Whether an array of objects begins here, as opposed to a text in brackets."""
    text = start.decode("latin-1").lstrip()
    place = _SPACE.match(text, 1).end()  # type: ignore[union-attr]
    return text[place : place + 1] == "{" and value_end(text, place)[1] != "broken"


def _opens_with_an_object(start: bytes) -> bool:
    text = start.decode("latin-1").lstrip()
    return value_end(text, 0)[1] != "broken"


def _container_of_objects(start: bytes, stream: ByteStream) -> Container:
    """JSON lines, objects one after the other over several lines, or one object."""
    text = start.decode("latin-1").lstrip()
    if _has_object_lines(text):
        rest = text[text.index("\n") :]
        return "jsonl" if rest.strip() or stream.read(_PEEK).strip() else "object"
    while True:
        end, verdict = value_end(text, 0)
        more = stream.read(max(_PEEK, len(text))).decode("latin-1") if len(text) < OBJECT_LIMIT else ""
        if verdict == "broken":
            return "jsonl" if any(_is_object(line) for line in text.split("\n")[1:]) else "json"
        if verdict == "whole":
            return "json" if (text[end:] + more).strip() else "object"
        if not more:
            return "json"
        text += more


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


def value_end(text: str, place: int) -> tuple[int, Verdict]:
    """Where the JSON value that begins at `place` ends.

    `broken`: no continuation of the text makes it valid; `unsure`: the text ends before the value does.
    Control characters inside strings are let pass here: spans are found first, rows are judged later.
    """
    try:
        _, end = _DECODER.raw_decode(text, place)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text) - _TAIL or error.msg.startswith("Unterminated string")
        return place, "unsure" if cut else "broken"
    except RecursionError:
        return place, "broken"
    return end, "whole" if end < len(text) or text[end - 1] in '}]"' else "unsure"
