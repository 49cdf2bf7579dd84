"""Parts of kernels that walk JSON (RFC 8259): each takes a place and tells the one behind what stands there, or -1
where that has a fault. No place from `end` on is looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from didact.text.compiled import inlined, part
from didact.text.eight import eight_bytes, equal, first_place

DEPTH = 60
"""Levels of objects and lists that are followed; what is nested deeper counts as a fault."""
_KEY, _KEY_OR_CLOSE, _VALUE, _VALUE_OR_CLOSE, _AFTER = range(5)
"""What must come next."""
COMMA, COLON, QUOTE, BACKSLASH, OPEN, CLOSE, OPEN_LIST, CLOSE_LIST = (ord(c) for c in ',:"\\{}[]')
U = ord("u")


def _spelt() -> NDArray[np.uint8]:
    """For each byte after a backslash the character that both spell; 0 for the others, of which `u` is one."""
    table = np.zeros(256, np.uint8)
    table[[*b'"\\/bfnrt']] = [*b'"\\/\b\f\n\r\t']
    return table


def _digits() -> NDArray[np.int32]:
    table = np.full(256, -1, np.int32)
    for digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
        table[[*digits]] = range(16)
    return table


SPELT = _spelt()
_DIGITS = _digits()
_ONE = np.uint64(1)


@inlined
def past_space(data, i, end):  # type: ignore[no-untyped-def]
    """The first place from i on without white space; `end` when there is none before it."""
    while i < end and (data[i] == 32 or data[i] == 10 or data[i] == 13 or data[i] == 9):
        i += 1
    return i


@part
def four_digits(data, i, end):  # type: ignore[no-untyped-def]
    """The number that four hexadecimal digits say; below 0 where there are not as many."""
    if i + 4 > end:
        return -1
    value = 0
    for k in range(4):
        digit = _DIGITS[data[i + k]]
        if digit < 0:
            return -1
        value = value << 4 | digit
    return value


@part
def _string_end(data, i, end):  # type: ignore[no-untyped-def]
    """The place after the quote that ends the string whose first character is at i. Characters that JSON wants escaped
    and bytes that are no UTF-8 are passed over.
    """
    while i < end:
        if i + 8 <= end:
            eight = eight_bytes(data, i)
            ahead = first_place(equal(eight, QUOTE) | equal(eight, BACKSLASH))
            i += ahead
            if ahead == 8:
                continue
        if data[i] == QUOTE:
            return i + 1
        if data[i] == BACKSLASH:
            i += 1
            if i < end and data[i] == U and four_digits(data, i + 1, end) >= 0:
                i += 4
            elif i >= end or not SPELT[data[i]]:
                return -1
        i += 1
    return -1


@part
def _digits_end(data, i, end):  # type: ignore[no-untyped-def]
    start = i
    while i < end and 48 <= data[i] <= 57:
        i += 1
    return i if i > start else -1


@part
def _number_end(data, i, end):  # type: ignore[no-untyped-def]
    i += data[i] == 45
    if i < end and data[i] == 48:
        i += 1
    else:
        i = _digits_end(data, i, end)
    if 0 <= i < end and data[i] == 46:
        i = _digits_end(data, i + 1, end)
    if 0 <= i < end and (data[i] == 101 or data[i] == 69):
        i += 1
        i += i < end and (data[i] == 43 or data[i] == 45)
        i = _digits_end(data, i, end)
    return i


@part
def _word_end(data, i, end):  # type: ignore[no-untyped-def]
    """The place after true, false or null, behind which something stands."""
    if i + 5 > end:
        return -1
    a, b, c, d = data[i], data[i + 1], data[i + 2], data[i + 3]
    if (a == 116 and b == 114 and c == 117 and d == 101) or (a == 110 and b == 117 and c == 108 and d == 108):
        return i + 4
    return i + 5 if a == 102 and b == 97 and c == 108 and d == 115 and data[i + 4] == 101 else -1


@part
def _plain_end(data, i, end):  # type: ignore[no-untyped-def]
    """The place after a string, a number or a word."""
    if data[i] == QUOTE:
        return _string_end(data, i + 1, end)
    return _number_end(data, i, end) if data[i] == 45 or 48 <= data[i] <= 57 else _word_end(data, i, end)


@part
def _key_end(data, i, end):  # type: ignore[no-untyped-def]
    """The place after the colon behind a key."""
    i = _string_end(data, i + 1, end) if data[i] == QUOTE else -1
    if i < 0:
        return -1
    i = past_space(data, i, end)
    return i + 1 if i < end and data[i] == COLON else -1


@part
def nested_end(data, i, end):  # type: ignore[no-untyped-def]
    """The place after the object or the list that begins at i."""
    in_object = data[i] == OPEN
    levels, depth = np.uint64(in_object), 1  # of `levels` the lowest bit: whether the innermost is an object
    need = _KEY_OR_CLOSE if in_object else _VALUE_OR_CLOSE
    i += 1
    while depth:
        i = past_space(data, i, end)
        if i >= end:
            return -1
        byte, in_object = data[i], levels & _ONE > 0
        closes = byte == (CLOSE if in_object else CLOSE_LIST)
        if closes and (need in (_AFTER, _KEY_OR_CLOSE, _VALUE_OR_CLOSE)):
            i, levels, depth, need = i + 1, levels >> _ONE, depth - 1, _AFTER
        elif need == _AFTER:
            if byte != COMMA:
                return -1
            i, need = i + 1, _KEY if in_object else _VALUE
        elif need in (_KEY, _KEY_OR_CLOSE):
            i, need = _key_end(data, i, end), _VALUE
        elif byte in (OPEN, OPEN_LIST):
            if depth == DEPTH:
                return -1
            levels = levels << _ONE | np.uint64(byte == OPEN)
            i, depth, need = i + 1, depth + 1, _KEY_OR_CLOSE if byte == OPEN else _VALUE_OR_CLOSE
        else:
            i, need = _plain_end(data, i, end), _AFTER
        if i < 0:
            return -1
    return i


@part
def value_end(data, i, end):  # type: ignore[no-untyped-def]
    """The place after the value that begins at i."""
    if i >= end:
        return -1
    return nested_end(data, i, end) if data[i] in (OPEN, OPEN_LIST) else _plain_end(data, i, end)
