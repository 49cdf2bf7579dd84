"""Texts put together from fixed pieces and from texts of records, over Arrow buffers; no Python string is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

ID = -1
"""The place that stands for a record's id, in hexadecimal digits."""
_PIECE = -2
"""In operations: a fixed piece."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Fixed pieces with a record's texts between them: pieces[0], text places[0], pieces[1], and so on."""

    pieces: tuple[str, ...]
    places: tuple[int, ...] = ()


class Slots(NamedTuple):
    """What patterns of n records are filled with: their texts and their ids.

    data, text_offsets: UTF-8 of all texts and their bounds.  record_offsets: (n + 1,), which texts are a record's.
    ids: (n, 16) bytes.
    """

    data: npt.NDArray[np.uint8]
    text_offsets: npt.NDArray[np.int32]
    record_offsets: npt.NDArray[np.int32]
    ids: npt.NDArray[np.uint8]


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
    escapes = _ESCAPES if in_json else _VERBATIM
    bounds = np.zeros(len(which) + 1, np.int64)
    _measure(which, records, operations, slots, escapes, bounds)
    np.cumsum(bounds, out=bounds)
    data = np.empty(bounds[-1], np.uint8)
    _write(which, records, operations, slots, escapes, bounds, data)
    made = pa.LargeStringArray.from_buffers(len(which), pa.py_buffer(bounds), pa.py_buffer(data))
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


def _escapes() -> npt.NDArray[np.uint8]:
    """For each byte what stands after the backslash in JSON, `u` for four digits more, 0 for a byte that is itself.

    RFC 8259, section 7; the choice among its spellings is orjson's, which writes canonical JSON.
    """
    table = np.zeros(256, np.uint8)
    table[:32] = ord("u")
    for byte, letter in zip(b'\b\t\n\f\r"\\', b'btnfr"\\', strict=True):
        table[byte] = letter
    return table


_ESCAPES = _escapes()
_VERBATIM = np.zeros(256, np.uint8)
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


@njit(cache=True, nogil=True)
def _measure(which, records, operations, slots, escapes, sizes):  # type: ignore[no-untyped-def]
    """The bytes of each item, into sizes[1:]."""
    for item in range(len(which)):
        first, size = np.int64(slots.record_offsets[records[item]]), 0
        for o in range(operations.bounds[which[item]], operations.bounds[which[item] + 1]):
            place = operations.places[o]
            if place == _PIECE:
                size += operations.ends[o] - operations.starts[o]
            elif place == ID:
                size += 32
            else:
                start, end = slots.text_offsets[first + place], slots.text_offsets[first + place + 1]
                size += end - start
                for i in range(start, end):
                    escape = escapes[slots.data[i]]
                    if escape:
                        size += 5 if escape == 117 else 1
        sizes[item + 1] = size


@njit(cache=True, nogil=True)
def _write(which, records, operations, slots, escapes, bounds, out):  # type: ignore[no-untyped-def]
    for item in range(len(which)):
        record, at = records[item], bounds[item]
        first = np.int64(slots.record_offsets[record])
        for o in range(operations.bounds[which[item]], operations.bounds[which[item] + 1]):
            place = operations.places[o]
            if place == _PIECE:
                for i in range(operations.starts[o], operations.ends[o]):
                    out[at] = operations.pieces[i]
                    at += 1
            elif place == ID:
                for byte in slots.ids[record]:
                    out[at], out[at + 1] = _DIGITS[byte >> 4], _DIGITS[byte & 15]
                    at += 2
            else:
                start, end = slots.text_offsets[first + place], slots.text_offsets[first + place + 1]
                at = _write_text(slots.data, start, end, escapes, out, at)


@njit(cache=True, nogil=True)
def _write_text(data, start, end, escapes, out, at):  # type: ignore[no-untyped-def]
    for i in range(start, end):
        byte = data[i]
        escape = escapes[byte]
        if escape == 0:
            out[at] = byte
            at += 1
            continue
        out[at], out[at + 1] = 92, escape
        at += 2
        if escape == 117:
            out[at], out[at + 1], out[at + 2], out[at + 3] = 48, 48, _DIGITS[byte >> 4], _DIGITS[byte & 15]
            at += 4
    return at
