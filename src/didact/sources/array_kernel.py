"""Where the elements of a JSON array are, as long as they are objects without a fault, found by a kernel.

An object that is nested deeper than 60 levels, or that may be none (RFC 8259), is left to the scanner of the standard
library. The tests compare the two.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from didact.text.compiled import inlined, kernel, part
from didact.text.eight import eight_bytes, equal, first_place

_DEPTH = 60
_KEY, _KEY_OR_CLOSE, _VALUE, _VALUE_OR_CLOSE, _AFTER = range(5)
"""What must come next."""
_COMMA, _COLON, _QUOTE, _BACKSLASH, _OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = (ord(c) for c in ',:"\\{}[]')
_ESCAPED = np.zeros(256, np.bool_)
_ESCAPED[[*b'"\\/bfnrt']] = True
_HEX = np.zeros(256, np.bool_)
_HEX[[*b"0123456789abcdefABCDEF"]] = True
_ONE = np.uint64(1)


@inlined
def _past_space(data, i):  # type: ignore[no-untyped-def]
    while i < len(data) and (data[i] == 32 or data[i] == 10 or data[i] == 13 or data[i] == 9):
        i += 1
    return i


@part
def _string_end(data, i):  # type: ignore[no-untyped-def]
    """The place after the quote that ends the string whose first character is at i; -1 without one."""
    while i < len(data):
        if i + 8 <= len(data):
            eight = eight_bytes(data, i)
            ahead = first_place(equal(eight, _QUOTE) | equal(eight, _BACKSLASH))
            i += ahead
            if ahead == 8:
                continue
        if data[i] == _QUOTE:
            return i + 1
        if data[i] == _BACKSLASH:
            i += 1
            if i + 5 <= len(data) and data[i] == 117:  # \uXXXX
                for k in range(1, 5):
                    if not _HEX[data[i + k]]:
                        return -1
                i += 4
            elif i >= len(data) or not _ESCAPED[data[i]]:
                return -1
        i += 1
    return -1


@part
def _digits_end(data, i):  # type: ignore[no-untyped-def]
    """The place after the digits from i on; -1 where there is none."""
    start = i
    while i < len(data) and 48 <= data[i] <= 57:
        i += 1
    return i if i > start else -1


@part
def _number_end(data, i):  # type: ignore[no-untyped-def]
    """The place after the number at i; -1 where there is none."""
    i += data[i] == 45
    if i < len(data) and data[i] == 48:
        i += 1
    else:
        i = _digits_end(data, i)
    if 0 <= i < len(data) and data[i] == 46:
        i = _digits_end(data, i + 1)
    if 0 <= i < len(data) and (data[i] == 101 or data[i] == 69):
        i += 1
        i += i < len(data) and (data[i] == 43 or data[i] == 45)
        i = _digits_end(data, i)
    return i


@part
def _word_end(data, i):  # type: ignore[no-untyped-def]
    """The place after true, false or null at i; -1 where there is none."""
    if i + 5 > len(data):
        return -1
    a, b, c, d = data[i], data[i + 1], data[i + 2], data[i + 3]
    if (a == 116 and b == 114 and c == 117 and d == 101) or (a == 110 and b == 117 and c == 108 and d == 108):
        return i + 4
    return i + 5 if a == 102 and b == 97 and c == 108 and d == 115 and data[i + 4] == 101 else -1


@part
def _plain_end(data, i):  # type: ignore[no-untyped-def]
    """The place after the string, number or word at i; -1 where there is none."""
    if data[i] == _QUOTE:
        return _string_end(data, i + 1)
    return _number_end(data, i) if data[i] == 45 or 48 <= data[i] <= 57 else _word_end(data, i)


@part
def _key_end(data, i):  # type: ignore[no-untyped-def]
    """The place after the colon behind the key at i; -1 where there is none."""
    i = _string_end(data, i + 1) if data[i] == _QUOTE else -1
    if i < 0:
        return -1
    i = _past_space(data, i)
    return i + 1 if i < len(data) and data[i] == _COLON else -1


@part
def _object_end(data, i):  # type: ignore[no-untyped-def]
    """The place after the object that begins at i; -1 where it has a fault, or none is found."""
    levels, depth, need = _ONE, 1, _KEY_OR_CLOSE  # of `levels` the lowest bit: whether the innermost is an object
    i += 1
    while depth:
        i = _past_space(data, i)
        if i >= len(data):
            return -1
        byte, in_object = data[i], levels & _ONE > 0
        closes = byte == (_CLOSE if in_object else _CLOSE_LIST)
        if closes and (need in (_AFTER, _KEY_OR_CLOSE, _VALUE_OR_CLOSE)):
            i, levels, depth, need = i + 1, levels >> _ONE, depth - 1, _AFTER
        elif need == _AFTER:
            if byte != _COMMA:
                return -1
            i, need = i + 1, _KEY if in_object else _VALUE
        elif need in (_KEY, _KEY_OR_CLOSE):
            i, need = _key_end(data, i), _VALUE
        elif byte in (_OPEN, _OPEN_LIST):
            if depth == _DEPTH:
                return -1
            levels = levels << _ONE | np.uint64(byte == _OPEN)
            i, depth, need = i + 1, depth + 1, _KEY_OR_CLOSE if byte == _OPEN else _VALUE_OR_CLOSE
        else:
            i, need = _plain_end(data, i), _AFTER
        if i < 0:
            return -1
    return i


@kernel
def _elements(data, i, after_value, comma, spans):  # type: ignore[no-untyped-def]
    """See `elements`; how many were found."""
    count = 0
    while count < len(spans):
        at = _past_space(data, i)
        if at < len(data) and data[at] == _COMMA and after_value and comma < 0:
            comma = at
            at = _past_space(data, at + 1)
        if at >= len(data) or data[at] != _OPEN or (after_value and comma < 0):
            break
        end = _object_end(data, at)
        if end < 0:
            break
        spans[count, 0], spans[count, 1] = at, end
        count, i, after_value, comma = count + 1, end, True, -1
    return count


def elements(data: npt.NDArray[np.uint8], place: int, after_value: bool, comma: int) -> npt.NDArray[np.int64]:
    """Where the objects without a fault begin and end that follow each other in an array from a place on, (n, 2).

    after_value: whether an element stands before the place; comma: where one does behind it, or -1.
    """
    # An object and its comma take three bytes.
    spans = np.empty(((len(data) - place) // 3 + 1, 2), np.int64)
    return spans[: _elements(data, place, after_value, comma, spans)]
