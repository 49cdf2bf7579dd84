"""Whole files in every container, as hypothesis draws them: rows with all that may stand around them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import zstandard
from hypothesis import strategies as st

SPACE = st.text(" \t\n", max_size=3)
PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    "": bytes,
}
_OPENED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    "": bytes,
}
_UNREADABLE = st.sampled_from(['{"instruction": ', '{"a": NaN}', "nothing", '{"instruction": "\\ud800"}', "[1, 2]"])


def content_of(path: Path) -> bytes:
    """A file's bytes, decompressed by the libraries that made them."""
    return _OPENED[path.suffix if path.suffix in PACKED else ""](path.read_bytes())


@st.composite
def json_text(draw: st.DrawFn, value: Any, space: st.SearchStrategy[str] = SPACE) -> str:
    """A value as JSON text: white space, escapes and spellings of numbers at random, some keys given twice."""

    def gap() -> str:
        return draw(space)

    if isinstance(value, dict):
        members = [(key, draw(json_text(inner, space))) for key, inner in value.items()]
        if members and draw(st.integers(0, 9)) == 0:
            members.insert(0, (members[-1][0], '"an earlier value"'))
        inner = ",".join(
            f"{gap()}{json.dumps(key, ensure_ascii=draw(st.booleans()))}{gap()}:{gap()}{text}{gap()}"
            for key, text in members
        )
        return f"{{{inner or gap()}}}"
    if isinstance(value, list):
        return f"[{','.join(f'{gap()}{draw(json_text(v, space))}{gap()}' for v in value) or gap()}]"
    if type(value) is float and "e" not in repr(value):
        return draw(st.sampled_from([repr(value), f"{value}0", f"{value}e0", f"{value}E+00"]))
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def json_lines(draw: st.DrawFn, rows: list[dict[str, Any]], broken: bool) -> bytes:
    """JSON lines with blank lines, line ends of both kinds and unreadable lines between them."""
    lines = []
    for row in rows:
        if broken and draw(st.integers(0, 3)) == 0:
            lines.append(draw(_UNREADABLE))
        lines += draw(st.lists(st.sampled_from(["", "  ", "\t"]), max_size=1))
        lines.append(draw(json_text(row, st.text(" \t", max_size=2))))
    text = "".join(line + draw(st.sampled_from(["\n", "\r\n"])) for line in lines)
    return _marked(draw, text[: draw(st.sampled_from([None, -1]))] if text.endswith("\n") else text)


@st.composite
def json_array(draw: st.DrawFn, rows: list[dict[str, Any]], broken: bool) -> bytes:
    """An array; with `broken`, a comma may stand before its closing bracket."""
    elements = [draw(SPACE) + draw(json_text(row)) + draw(SPACE) for row in rows]
    comma = draw(st.sampled_from(["", ","])) if broken and rows else ""
    return _marked(draw, f"{draw(SPACE)}[{','.join(elements)}{comma}]{draw(SPACE)}")


@st.composite
def json_object(draw: st.DrawFn, rows: list[dict[str, Any]], head: dict[str, Any], list_key: str) -> bytes:
    """One object that holds the rows in a list among its other keys."""
    members = [(key, draw(json_text(value))) for key, value in head.items()]
    listed = "[" + ",".join(draw(SPACE) + draw(json_text(row)) + draw(SPACE) for row in rows) + "]"
    members.insert(draw(st.integers(0, len(members))), (list_key, listed))
    inner = ",".join(f"{draw(SPACE)}{json.dumps(key)}{draw(SPACE)}:{draw(SPACE)}{text}" for key, text in members)
    return _marked(draw, f"{{{inner}{draw(SPACE)}}}{draw(SPACE)}")


@st.composite
def table(draw: st.DrawFn, rows: list[dict[str, str]], broken: bool) -> bytes:
    """A CSV file: any quoting, line ends of both kinds, blank lines anywhere, rows with a cell too many."""
    sheet = io.StringIO()
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    names = list(rows[0])
    for cells in [names, *([row[name] for name in names] for row in rows)]:
        bare = any("\r" in cell for cell in cells)  # which older versions of the library leave unquoted
        how: Literal[0, 1] = csv.QUOTE_ALL if bare else draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        csv.writer(sheet, quoting=how, lineterminator=ending).writerow(cells)
        sheet.write(draw(st.sampled_from(["", "", ending])))
        if broken and draw(st.integers(0, 4)) == 0:
            sheet.write("," * len(names) + ending)
    return _marked(draw, sheet.getvalue())


def _marked(draw: st.DrawFn, text: str) -> bytes:
    """The text in UTF-8, sometimes behind a byte order mark."""
    return (b"\xef\xbb\xbf" if draw(st.integers(0, 4)) == 0 else b"") + text.encode("utf-8", "surrogatepass")
