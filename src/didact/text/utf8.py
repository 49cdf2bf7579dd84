"""Kernels that walk UTF-8 bytes, and the mixing functions their hashes are made of."""

from __future__ import annotations

import numpy as np

from didact.text.compiled import inlined

FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
"""Fowler, Noll and Vo's 64-bit parameters. The unit folded here is a code point, not a byte."""
MIX_FIRST = np.uint64(0xFF51AFD7ED558CCD)
MIX_SECOND = np.uint64(0xC4CEB9FE1A85EC53)
"""The multipliers of MurmurHash3's 64-bit finaliser (fmix64)."""
_SHIFT = np.uint64(33)


@inlined
def code_point(data, i):  # type: ignore[no-untyped-def]
    """Decode the code point that starts at byte i of valid UTF-8: (code point, bytes it takes)."""
    place = np.uint64(i)
    first = np.int32(data[place])
    if first < 0x80:
        return first, 1
    second = np.int32(data[place + np.uint64(1)]) & 0x3F
    if first < 0xE0:
        return (first & 0x1F) << 6 | second, 2
    third = np.int32(data[place + np.uint64(2)]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | third, 3
    fourth = np.int32(data[place + np.uint64(3)]) & 0x3F
    return (first & 0x07) << 18 | second << 12 | third << 6 | fourth, 4


@inlined
def place_before(data, start, end, characters):  # type: ignore[no-untyped-def]
    """The place so many characters before `end`, but none before `start`."""
    while characters > 0 and end > start:
        end -= 1
        characters -= data[end] & 0xC0 != 0x80
    return end


@inlined
def code_point_before(data, start, end):  # type: ignore[no-untyped-def]
    """Decode the last code point of data[start:end], which is not empty: (code point, bytes it takes)."""
    return code_point(data, place_before(data, start, end, 1))


@inlined
def fold(state, code):  # type: ignore[no-untyped-def]
    """Fold one code point (or hash) into a running FNV-1a state."""
    return (state ^ np.uint64(code)) * FNV_PRIME


@inlined
def mix(value):  # type: ignore[no-untyped-def]
    """MurmurHash3's 64-bit finaliser: a bijection in which every input bit reaches every output bit."""
    value = (value ^ (value >> _SHIFT)) * MIX_FIRST
    value = (value ^ (value >> _SHIFT)) * MIX_SECOND
    return value ^ (value >> _SHIFT)
