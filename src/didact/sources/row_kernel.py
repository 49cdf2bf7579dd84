"""The texts of rows that are JSON objects with the same keys, taken out into one buffer by a kernel.

A row that is written in another way, or that may have a fault (RFC 8259, RFC 3629), is left to the parser. The tests
compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from didact.sources.json_parts import (
    BACKSLASH,
    CLOSE,
    COLON,
    COMMA,
    OPEN,
    QUOTE,
    SPELT,
    U,
    four_digits,
    past_space,
    value_end,
)
from didact.text.compiled import inlined, kernel, part
from didact.text.eight import eight_bytes, first_place, not_ascii
from didact.text.filling import escaped
from didact.text.slots import copied
from didact.text.utf8 import mix


class Keys(NamedTuple):
    """The keys of a row in their order, for the kernel.

    spelt: all keys in quotes, as JSON; bounds: (keys + 1,), where each begins.  taken: (keys,), the number of the text
    that stands under it, or -1 where any value may.
    """

    spelt: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    taken: NDArray[np.int64]

    @classmethod
    def of(cls, keys: Sequence[str], taken: Sequence[str]) -> Self:
        """taken: the keys whose texts are taken out, in the order of `keys`."""
        spelt = [orjson.dumps(key) for key in keys]
        bounds = np.cumsum([0, *map(len, spelt)]).astype(np.int64)
        numbers = {key: number for number, key in enumerate(taken)}
        places = np.array([numbers.get(key, -1) for key in keys], np.int64)
        return cls(np.frombuffer(b"".join(spelt), np.uint8), bounds, places)


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of n rows, m of each.

    fits: (all rows,), which of the rows that were asked for have exactly these keys; the others below are of those.
    data, bounds: the UTF-8 of all texts, row by row, and where each begins, (n * m + 1,).  first: (n,), for each row
    the number of the first one, most often itself, that has the same values under the other keys, byte by byte, and the
    same texts empty.
    """

    fits: NDArray[np.bool_]
    data: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    first: NDArray[np.int64]


def texts_of(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], keys: Keys) -> Texts:
    """The texts of rows. starts, ends: where the rows asked for begin and end in `data`."""
    content = np.frombuffer(data, np.uint8)
    texts, others = int((keys.taken >= 0).sum()), int((keys.taken < 0).sum())
    spans = np.empty((len(starts), texts, 2), np.int64)
    sizes = np.empty((len(starts), texts), np.int64)
    rest = np.empty((len(starts), others, 2), np.int64)
    kinds = np.empty(len(starts), np.uint64)
    fits = np.empty(len(starts), np.bool_)
    _walk(content, starts, ends, keys, spans, sizes, rest, kinds, fits)
    spans, sizes, rest, kinds = spans[fits], sizes[fits], rest[fits], kinds[fits]
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    out = np.empty(bounds[-1], np.uint8)
    _spell(content, spans.reshape(-1, 2), bounds, out)
    _, firsts, which = np.unique(kinds, return_index=True, return_inverse=True)
    first = firsts[which].astype(np.int64)
    _part_others(content, rest, sizes, first)
    return Texts(fits, out, bounds, first)


@kernel
def _walk(data, starts, ends, keys, spans, sizes, rest, kinds, fits):  # type: ignore[no-untyped-def]
    """For each row whether it fits, where its texts are spelt and how many bytes each spells, where its other values
    are, and a hash of these and of which texts are empty.
    """
    for row in range(len(starts)):
        fits[row] = _is_row(data, starts[row], ends[row], keys, spans[row], sizes[row], rest[row])
        kind = np.uint64(0)
        if fits[row]:
            for text in range(len(sizes[row])):
                kind = mix(kind + np.uint64(sizes[row, text] == 0) + np.uint64(1))
            for other in range(len(rest[row])):
                kind = _hashed(data, rest[row, other, 0], rest[row, other, 1], kind)
        kinds[row] = kind


@part
def _is_row(data, i, end, keys, spans, sizes, rest):  # type: ignore[no-untyped-def]
    """Whether data[i:end] is an object with these keys, and texts where they are wanted."""
    i = past_space(data, i, end)
    if i >= end or data[i] != OPEN:
        return False
    others = 0
    for key in range(len(keys.taken)):
        i = past_space(data, i + 1, end)
        for k in range(keys.bounds[key], keys.bounds[key + 1]):
            if i >= end or data[i] != keys.spelt[k]:
                return False
            i += 1
        i = past_space(data, i, end)
        if i >= end or data[i] != COLON:
            return False
        i = past_space(data, i + 1, end)
        text = keys.taken[key]
        start = i
        if text >= 0:
            i, size = _text_size(data, i, end)
            if i >= 0:
                spans[text, 0], spans[text, 1], sizes[text] = start + 1, i - 1, size
        else:
            i = value_end(data, i, end)
            if not _strings_fit(data, start, i):
                return False
            rest[others, 0], rest[others, 1] = start, i
            others += 1
        if i < 0:
            return False
        i = past_space(data, i, end)
        if i >= end or data[i] != (COMMA if key + 1 < len(keys.taken) else CLOSE):
            return False
    return past_space(data, i + 1, end) == end


@part
def _hashed(data, start, end, state):  # type: ignore[no-untyped-def]
    """The hash of some bytes behind what the state is one of."""
    state = mix(state + np.uint64(end - start))
    while start + 8 <= end:
        state = mix(state ^ eight_bytes(data, start))
        start += 8
    for k in range(start, end):
        state = mix(state ^ np.uint64(data[k]))
    return state


@part
def _text_size(data, i, end):  # type: ignore[no-untyped-def]
    """The place after the string that begins at i, -1 where none does or it has a fault; and the bytes it spells."""
    size = 0
    if i >= end or data[i] != QUOTE:
        return -1, size
    i += 1
    while i < end:
        if i + 8 <= end:
            eight = eight_bytes(data, i)
            ahead = first_place(escaped(eight) | not_ascii(eight))
            i += ahead
            size += ahead
            if ahead == 8:
                continue
        byte = data[i]
        if byte == QUOTE:
            return i + 1, size
        if byte == BACKSLASH:
            i, code = _escaped_code(data, i, end)
            size += _width(code)
        elif byte >= 128:
            width = _character(data, i, end)
            size += width
            i = i + width if width else -1
        else:
            i = i + 1 if byte >= 32 else -1
            size += 1
        if i < 0:
            return -1, size
    return -1, size


@part
def _strings_fit(data, i, end):  # type: ignore[no-untyped-def]
    """Whether the strings of a value, which `value_end` passes over, have no fault."""
    while i < end:
        if data[i] == QUOTE:
            i, _ = _text_size(data, i, end)
            if i < 0:
                return False
        else:
            i += 1
    return True


@part
def _escaped_code(data, i, end):  # type: ignore[no-untyped-def]
    """The place after the escape that begins at i, -1 where that has a fault; and the code point it spells."""
    if i + 1 >= end:
        return -1, 0
    if data[i + 1] != U:
        code = np.int32(SPELT[data[i + 1]])
        return i + 2 if code else -1, code
    code = four_digits(data, i + 2, end)
    if code < 0 or 0xDC00 <= code < 0xE000:
        return -1, 0
    if code < 0xD800 or code >= 0xE000:
        return i + 6, code
    low = four_digits(data, i + 8, end) if i + 8 < end and data[i + 6] == BACKSLASH and data[i + 7] == U else -1
    if low < 0xDC00 or low >= 0xE000:
        return -1, 0
    return i + 12, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)


@inlined
def _width(code):  # type: ignore[no-untyped-def]
    """Bytes of a code point in UTF-8."""
    return 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)


@part
def _character(data, i, end):  # type: ignore[no-untyped-def]
    """Bytes of the character beyond ASCII that begins at i; 0 where none does (RFC 3629, section 4)."""
    first = data[i]
    if first < 0xC2 or first > 0xF4:
        return 0
    width = 2 + (first >= 0xE0) + (first >= 0xF0)
    if i + width > end:
        return 0
    for k in range(1, width):
        if data[i + k] & 0xC0 != 0x80:
            return 0
    second = data[i + 1]
    too_long = (first == 0xE0 and second < 0xA0) or (first == 0xF0 and second < 0x90)
    half = first == 0xED and second >= 0xA0
    return 0 if too_long or half or (first == 0xF4 and second >= 0x90) else width


@kernel
def _spell(data, spans, bounds, out):  # type: ignore[no-untyped-def]
    """Write the texts that stand, as JSON without quotes, in data[spans]."""
    for text in range(len(spans)):
        start, end, at = spans[text, 0], spans[text, 1], bounds[text]
        if end - start == bounds[text + 1] - at:
            copied(data, start, end, out, at)
            continue
        while start < end:
            i = start
            while i + 8 <= end and not escaped(eight_bytes(data, i)):
                i += 8
            while i < end and data[i] != BACKSLASH:
                i += 1
            at = copied(data, start, i, out, at)
            if i < end:
                i, code = _escaped_code(data, i, end)
                at = _write(code, out, at)
            start = i


@inlined
def _write(code, out, at):  # type: ignore[no-untyped-def]
    """Write a code point; where the next one goes."""
    width = _width(code)
    if width == 1:
        out[at] = code
        return at + 1
    for k in range(width - 1, 0, -1):
        out[at + k] = 0x80 | (code & 0x3F)
        code >>= 6
    out[at] = ((0xF00 >> width) & 0xFF) | code
    return at + width


@kernel
def _part_others(data, rest, sizes, first):  # type: ignore[no-untyped-def]
    """Make a row first of its own kind that is not like the one whose hash it shares."""
    for row in range(len(first)):
        if not _are_alike(data, rest[row], rest[first[row]], sizes[row], sizes[first[row]]):
            first[row] = row


@part
def _are_alike(data, rest, other, sizes, of_other):  # type: ignore[no-untyped-def]
    for text in range(len(sizes)):
        if (sizes[text] == 0) != (of_other[text] == 0):
            return False
    for value in range(len(rest)):
        start, size, there = rest[value, 0], rest[value, 1] - rest[value, 0], other[value, 0]
        if size != other[value, 1] - there:
            return False
        for k in range(size):
            if data[start + k] != data[there + k]:
                return False
    return True
