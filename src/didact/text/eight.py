"""Eight bytes of text at a time, as one number. Kernels so pass over ASCII; other characters are decoded one by one.

What a function tells about each byte is in the top bit of that byte of its result; the other bits are 0.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from didact.text.compiled import inlined

Index: TypeAlias = int | np.signedinteger[Any]
"""A place or a number of bytes, as Python or a kernel hands it on."""
TOPS = np.uint64(0x8080808080808080)
"""All eight bytes marked."""
_REST = np.uint64(0x7F7F7F7F7F7F7F7F)
_ONES = np.uint64(0x0101010101010101)
_ONE = np.uint64(1)
_CASE = np.uint64(0x2020202020202020)


@inlined
def eight_bytes(data: NDArray[np.uint8], i: Index) -> np.uint64:
    """The eight bytes from i on, the first lowest; the compiler makes one load of it."""
    place = np.uint64(i)
    value = np.uint64(data[place])
    for k in range(1, 8):
        value |= np.uint64(data[place + np.uint64(k)]) << np.uint64(8 * k)
    return value


@inlined
def byte_of(eight: np.uint64, k: Index) -> np.uint64:
    """The byte k of eight."""
    return (eight >> np.uint64(8 * k)) & np.uint64(0xFF)


@inlined
def low_bytes(eight: np.uint64, count: Index) -> np.uint64:
    """The first `count` of eight bytes, all if there are more, none if it is negative; the others are 0."""
    if count >= 8:
        return eight
    return eight & ((_ONE << np.uint64(8 * max(count, 0))) - _ONE)


@inlined
def not_ascii(eight: np.uint64) -> np.uint64:
    """Bytes from 0x80 on."""
    return eight & TOPS


@inlined
def continuations(eight: np.uint64) -> np.uint64:
    """Bytes of a UTF-8 character after its first."""
    return eight & ~(eight << _ONE) & TOPS


@inlined
def between(eight: np.uint64, first: Index, last: Index) -> np.uint64:
    """Bytes from `first` to `last`, both below 0x80."""
    rest = eight & _REST
    from_first = rest + np.uint64(0x80 - first) * _ONES
    beyond_last = rest + np.uint64(0x7F - last) * _ONES
    return from_first & ~beyond_last & ~eight & TOPS


@inlined
def equal(eight: np.uint64, byte: Index) -> np.uint64:
    """Bytes equal to one below 0x80."""
    return between(eight, byte, byte)


@inlined
def letters(eight: np.uint64) -> np.uint64:
    """ASCII letters."""
    return between(eight | _CASE, 0x61, 0x7A)


@inlined
def unmarked(marked: np.uint64) -> np.uint64:
    """The bytes that are not marked."""
    return ~marked & TOPS


@inlined
def _bits(value: np.uint64) -> int:
    """How many bits are set; the compiler makes one instruction of the loop, also together with `first_place`."""
    count = 0
    while value:
        value &= value - _ONE
        count += 1
    return count


@inlined
def first_place(marked: np.uint64) -> int:
    """How many bytes come before the first that is marked; 8 when none is."""
    return _bits((marked & (~marked + _ONE)) - _ONE) >> 3


@inlined
def how_many(marked: np.uint64) -> int:
    """How many bytes are marked."""
    return _bits(marked)
