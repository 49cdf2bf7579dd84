"""Texts put together from fixed pieces and from texts of records, over Arrow buffers; no Python string is made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from didact.text.compiled import inlined, kernel, part
from didact.text.eight import TOPS, eight_bytes, first_place
from didact.text.slots import Slots, copied

ID = -1
"""The place that stands for a record's id, in hexadecimal digits."""
_PIECE = -2
"""In operations: a fixed piece."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Fixed pieces with a record's texts between them: pieces[0], text places[0], pieces[1], and so on."""

    pieces: tuple[str, ...]
    places: tuple[int, ...] = ()

    @classmethod
    def cut(cls, made: str, mark: re.Pattern[str]) -> Self:
        """What was made of a record with marks for its texts, cut at them.

        mark: matches one; its group is the place.
        """
        parts = mark.split(made)
        return cls(tuple(parts[::2]), tuple(map(int, parts[1::2])))


class _Operations(NamedTuple):
    """Patterns for the kernel: pattern p is operations bounds[p] to bounds[p + 1], each the text of a place or a piece.

    starts, ends: of the pieces in `pieces`.
    """

    bounds: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    pieces: npt.NDArray[np.uint8]


def fill(
    patterns: Sequence[Pattern],
    which: npt.NDArray[np.int64],
    records: npt.NDArray[np.int64],
    slots: Slots,
    *,
    in_json: bool = False,
) -> pa.StringArray:
    """For each item the pattern `which` filled from its record. in_json: texts are spelt as inside a JSON string.

    which, records: (items,). Raises pyarrow.ArrowInvalid when all together is more than 2 GiB.
    """
    operations = _operations(patterns)
    bounds = np.zeros(len(which) + 1, np.int64)
    _measure(which, records, operations, slots, in_json, bounds)
    np.cumsum(bounds, out=bounds)
    data = pa.allocate_buffer(int(bounds[-1]))
    _write(which, records, operations, slots, in_json, bounds, np.frombuffer(data, np.uint8))
    made = pa.LargeStringArray.from_buffers(len(which), pa.py_buffer(bounds), data)
    return made.cast(pa.string())


def _operations(patterns: Sequence[Pattern]) -> _Operations:
    places: list[int] = []
    encoded: list[bytes] = []
    bounds = [0]
    for pattern in patterns:
        for piece, place in zip_longest(pattern.pieces, pattern.places):
            if piece:
                places.append(_PIECE)
                encoded.append(piece.encode())
            if place is not None:
                places.append(place)
                encoded.append(b"")
        bounds.append(len(places))
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    pieces = np.frombuffer(b"".join(encoded) or b"\0", np.uint8)
    return _Operations(np.array(bounds, np.int64), np.array(places, np.int64), ends[:-1], ends[1:], pieces)


_HEXADECIMAL = ord("u")


def _escapes() -> npt.NDArray[np.uint8]:
    """For each byte what stands after the backslash in JSON, `u` for four digits more, 0 for a byte that is itself.

    RFC 8259, section 7; the choice among its spellings is orjson's, which writes canonical JSON.
    """
    table = np.zeros(256, np.uint8)
    table[:32] = _HEXADECIMAL
    for byte, letter in zip(b'\b\t\n\f\r"\\', b'btnfr"\\', strict=True):
        table[byte] = letter
    return table


_ESCAPES = _escapes()
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


@kernel
def _measure(which, records, operations, slots, in_json, sizes):  # type: ignore[no-untyped-def]
    """The bytes of each item, into sizes[1:]."""
    for item in range(len(which)):
        first, size = np.int64(slots.record_offsets[records[item]]), np.int64(0)
        for o in range(operations.bounds[which[item]], operations.bounds[which[item] + 1]):
            place = operations.places[o]
            if place == _PIECE:
                size += operations.ends[o] - operations.starts[o]
            elif place == ID:
                size += 32
            else:
                start, end = slots.text_offsets[first + place], slots.text_offsets[first + place + 1]
                size += end - start
                if in_json:
                    size += _added_by_escapes(slots.data, np.int64(start), np.int64(end))
        sizes[item + 1] = size


@part
def _added_by_escapes(data, start, end):  # type: ignore[no-untyped-def]
    """How many bytes longer a text is inside a JSON string."""
    added = 0
    i = _next_escaped(data, start, end)
    while i < end:
        added += 5 if _ESCAPES[data[i]] == _HEXADECIMAL else 1
        i = _next_escaped(data, i + 1, end)
    return added


@kernel
def _write(which, records, operations, slots, in_json, bounds, out):  # type: ignore[no-untyped-def]
    for item in range(len(which)):
        record, at = records[item], bounds[item]
        first = np.int64(slots.record_offsets[record])
        for o in range(operations.bounds[which[item]], operations.bounds[which[item] + 1]):
            place = operations.places[o]
            if place == _PIECE:
                at = copied(operations.pieces, operations.starts[o], operations.ends[o], out, at)
            elif place == ID:
                for byte in slots.ids[record]:
                    out[at], out[at + 1] = _DIGITS[byte >> 4], _DIGITS[byte & 15]
                    at += 2
            else:
                start = np.int64(slots.text_offsets[first + place])
                end = np.int64(slots.text_offsets[first + place + 1])
                if in_json:
                    at = _write_escaped(slots.data, start, end, out, at)
                else:
                    at = copied(slots.data, start, end, out, at)


@part
def _write_escaped(data, start, end, out, at):  # type: ignore[no-untyped-def]
    while True:
        i = _next_escaped(data, start, end)
        at = copied(data, start, i, out, at)
        if i == end:
            return at
        byte = data[i]
        escape = _ESCAPES[byte]
        out[at], out[at + 1] = 92, escape
        at += 2
        if escape == _HEXADECIMAL:
            out[at], out[at + 1], out[at + 2], out[at + 3] = 48, 48, _DIGITS[byte >> 4], _DIGITS[byte & 15]
            at += 4
        start = i + 1


_TWOS = np.uint64(0x0202020202020202)
_LIMITS = np.uint64(0x2121212121212121)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_ONES = np.uint64(0x0101010101010101)


@inlined
def escaped(eight: np.uint64) -> np.uint64:
    """Marks the first of eight bytes that JSON escapes, and perhaps others after it, but none when there is no such.

    A byte is below 0x20 or a quote, 0x22, when it is below 0x21 with its second bit turned. A byte is below another
    when taking that away borrows from the next, so only the first mark is certain; `between` is, at twice the price.
    """
    turned, struck = eight ^ _TWOS, eight ^ _BACKSLASHES
    return (((turned - _LIMITS) & ~turned) | ((struck - _ONES) & ~struck)) & TOPS


@inlined
def _next_escaped(data, i, end):  # type: ignore[no-untyped-def]
    """The first place from i on whose byte JSON escapes; `end` when there is none before it."""
    while i + 8 <= end:
        marked = escaped(eight_bytes(data, i))
        if marked:
            return i + first_place(marked)
        i += 8
    while i < end and _ESCAPES[data[i]] == 0:
        i += 1
    return i
