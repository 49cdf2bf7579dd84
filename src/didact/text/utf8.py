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
_ONE, _TOP = np.uint64(1), np.uint64(7)
_ONES = np.uint64(0x0101010101010101)


@inlined
def code_point(data, i):  # type: ignore[no-untyped-def]
    """Decode the code point that starts at byte i of valid UTF-8: (code point, bytes it takes)."""
    first = np.int32(data[i])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | np.int32(data[i + 1]) & 0x3F, 2
    if first < 0xF0:
        return (first & 0x0F) << 12 | (np.int32(data[i + 1]) & 0x3F) << 6 | np.int32(data[i + 2]) & 0x3F, 3
    low = (np.int32(data[i + 2]) & 0x3F) << 6 | np.int32(data[i + 3]) & 0x3F
    return (first & 0x07) << 18 | (np.int32(data[i + 1]) & 0x3F) << 12 | low, 4


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


@inlined
def eight_bytes(data, i):  # type: ignore[no-untyped-def]
    """The eight bytes from i on as one number, the first lowest; the compiler makes one load of it."""
    place = np.uint64(i)
    value = np.uint64(data[place])
    for k in range(1, 8):
        value |= np.uint64(data[place + np.uint64(k)]) << np.uint64(8 * k)
    return value


@inlined
def leading_bytes(tops):  # type: ignore[no-untyped-def]
    """How many of eight bytes come before the first whose top bit is set; the other bits are clear."""
    below = ((tops & (~tops + _ONE)) >> _TOP) - _ONE
    return np.int64(((below & _ONES) * _ONES) >> np.uint64(56))
