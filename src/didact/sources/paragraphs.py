"""Cuts plain text into units: paragraphs packed to a size a model can read, or the file as a whole.

Packing looks a fixed distance ahead and never back, so the units do not depend on how the file was read.
"""

from __future__ import annotations

import re

import numpy as np

from didact.sources.blocks import Block, Cursor, Cut, lines_at
from didact.sources.files import ByteStream

UNIT_CHARACTERS = 8000
"""Most characters of a unit: about two thousand words, several contexts of the models trained here."""

_AHEAD = 256
"""Characters past the unit in which the white space that ends it is looked for."""
_AHEAD_BYTES = 4 * (UNIT_CHARACTERS + _AHEAD)
_BREAK = re.compile(r"\n(?:[ \t\r]*\n)+")
_BLANK_LINES = re.compile(rb"(?:[ \t\r]*\n)+")
_SENTENCE_END = re.compile(r"[.!?。！？][\"'”’）)]?(?:\s|(?<=[。！？]))")


def cut_paragraphs(stream: ByteStream, cursor: Cursor, block_bytes: int, row_limit: int) -> Cut:
    """Blocks of packed paragraphs. What a damaged file yields before the damage is kept to the last character."""
    del row_limit
    rest, last = b"", False
    while not last:
        piece = stream.read(max(block_bytes, _AHEAD_BYTES))
        last = len(piece) < max(block_bytes, _AHEAD_BYTES)
        data = rest + piece
        spans, settled = _units(data, final=last)
        if spans:
            yield _block(data[:settled], spans, cursor)
        else:
            cursor.skip(data[:settled])
        rest = data[settled:]
    if stream.damage:
        yield cursor.lost_row("IO004", f"{stream.damage}; what follows is lost")


def cut_file(stream: ByteStream, cursor: Cursor, block_bytes: int, row_limit: int) -> Cut:
    """The whole file as one row."""
    del block_bytes
    data = stream.read(row_limit + 1)
    if len(data) > row_limit:
        yield cursor.lost_row("JS007", f"the file is longer than {row_limit} bytes; read it by paragraphs")
    elif data.strip():
        yield _block(data, [(0, len(data))], cursor)
    if stream.damage:
        yield cursor.lost_row("IO004", f"{stream.damage}; what follows is lost")


def _units(data: bytes, *, final: bool) -> tuple[list[tuple[int, int]], int]:
    """The units whose end is certain, and where the next one begins."""
    spans: list[tuple[int, int]] = []
    place = 0
    while True:
        blank = _BLANK_LINES.match(data, place)
        place = blank.end() if blank else place
        if place == len(data) or (not final and len(data) - place < _AHEAD_BYTES):
            return spans, place
        end = place + _unit_bytes(data[place : place + _AHEAD_BYTES])
        if length := len(data[place:end].rstrip()):
            spans.append((place, place + length))
        place = end


def _unit_bytes(ahead: bytes) -> int:
    """Length of the unit that begins here, in bytes; a byte that is not UTF-8 counts as a character."""
    text = ahead.decode("utf-8", "surrogateescape")
    if len(text) <= UNIT_CHARACTERS:
        return len(ahead)
    return len(text[: _unit_end(text)].encode("utf-8", "surrogateescape"))


def _unit_end(text: str) -> int:
    """Where a text longer than a unit is cut: after the last whole paragraph, else line, sentence, word, character."""
    fitting = [match.start() for match in _BREAK.finditer(text) if 0 < match.start() <= UNIT_CHARACTERS]
    if fitting:
        return fitting[-1]
    head = text[:UNIT_CHARACTERS]
    line = head.rfind("\n") + 1
    if line > 0:
        return line
    sentence = max((match.end() for match in _SENTENCE_END.finditer(head)), default=0)
    return sentence or head.rfind(" ") + 1 or UNIT_CHARACTERS


def _block(data: bytes, spans: list[tuple[int, int]], cursor: Cursor) -> Block:
    bounds = np.array(spans, np.int64)
    starts, ends = np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1])
    return cursor.block(data, starts, ends, lines_at(data, starts, cursor.line))
