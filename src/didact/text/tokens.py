"""Tokens by code point, their hashes, and shingles of neighbouring tokens: the units near-duplicates are compared in.

A run of letters, marks and digits is a word, lower-cased by the simple map; each character of a script written without
spaces is one token. A text without any of these (`+`, an emoji) has each of its visible characters as a token, so that
it is not taken for an empty one. Shingles never join two segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from didact.text.characters import OTHER, SPACE, UNSPACED, WORD, lower_of, tables
from didact.text.utf8 import FNV_OFFSET, FNV_PRIME, MIX_FIRST, MIX_SECOND, code_point, fold, mix
from didact.text.views import View

_BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier (2^64 over the golden ratio) of the polynomial over a shingle's token hashes."""
_WORD = np.uint8(WORD)
_UNSPACED = np.uint8(UNSPACED)
_INVISIBLE = np.uint8(SPACE | OTHER)
_MASK = 2**64 - 1


def shingle_hash(tokens: Sequence[str]) -> int:
    """The 64-bit hash of a shingle of lower-case tokens, equal to what `shingles` yields for them.

    A token's hash is FNV-1a over its code points, finished by MurmurHash3's fmix64. A shingle's is fmix64 of
    k + sum of t[i] * B^(k - 1 - i) over its k token hashes t, modulo 2^64, with B = 0x9E3779B97F4A7C15.

    >>> hex(shingle_hash(["to", "be", "or", "not", "to"]))
    '0xe93ddd6311c268f8'
    """
    total = 0
    for token in tokens:
        total = (total * int(_BASE) + token_hash(token)) & _MASK
    return _mixed((total + len(tokens)) & _MASK)


def token_hash(token: str) -> int:
    """The 64-bit hash of one token, as written: lower-case it first."""
    state = int(FNV_OFFSET)
    for character in token:
        state = ((state ^ ord(character)) * int(FNV_PRIME)) & _MASK
    return _mixed(state)


def _mixed(value: int) -> int:
    for multiplier in (int(MIX_FIRST), int(MIX_SECOND)):
        value = ((value ^ (value >> 33)) * multiplier) & _MASK
    return value ^ (value >> 33)


def tokenise(text: str) -> list[str]:
    """The tokens of one text, as the kernels find them.

    >>> tokenise("What's 12*7? 多少"), tokenise(" + ")
    (['what', 's', '12', '7', '多', '少'], ['+'])
    """
    classes = tables().classes
    tokens, word = [], ""
    for character in text:
        kind = int(classes[ord(character)])
        if kind & WORD and not kind & UNSPACED:
            word += lower_of(character)
            continue
        tokens += [word] if word else []
        tokens += [character] if kind & UNSPACED else []
        word = ""
    tokens += [word] if word else []
    return tokens or [character for character in text if not int(classes[ord(character)]) & int(_INVISIBLE)]


@njit(cache=True, nogil=True)
def _segment_tokens(data, start, end, classes, lower, out):  # type: ignore[no-untyped-def]
    """Write the token hashes of one segment to `out` (at least end - start long); their number."""
    count, state, i = 0, FNV_OFFSET, start
    while i < end:
        code, width = code_point(data, i)
        i += width
        kind = classes[code]
        if kind & _WORD and not kind & _UNSPACED:
            state = fold(state, lower[code] if code < len(lower) else code)
            continue
        # No word leaves the state where it began, but for one chance in 2^64.
        if state != FNV_OFFSET:
            out[count] = mix(state)
            count, state = count + 1, FNV_OFFSET
        if kind & _UNSPACED:
            out[count] = mix(fold(FNV_OFFSET, code))
            count += 1
    if state != FNV_OFFSET:
        out[count] = mix(state)
        count += 1
    return count if count else _visible_tokens(data, start, end, classes, out)


@njit(cache=True, nogil=True)
def _visible_tokens(data, start, end, classes, out):  # type: ignore[no-untyped-def]
    """The tokens of a segment without words: its visible characters, one by one."""
    count, i = 0, start
    while i < end:
        code, width = code_point(data, i)
        i += width
        if not classes[code] & _INVISIBLE:
            out[count] = mix(fold(FNV_OFFSET, code))
            count += 1
    return count


@njit(cache=True, nogil=True)
def _segment_shingles(tokens, count, n, out, at):  # type: ignore[no-untyped-def]
    """Write the hashes of a segment's shingles to `out` from `at` on; the place after the last."""
    if count == 0:
        return at
    size = min(n, count)
    oldest = np.uint64(1)
    for _ in range(size):
        oldest *= _BASE
    total = np.uint64(0)
    for i in range(count):
        total = total * _BASE + tokens[i]
        if i >= size:
            total -= oldest * tokens[i - size]
        if i >= size - 1:
            out[at] = mix(total + np.uint64(size))
            at += 1
    return at


@njit(cache=True, nogil=True)
def _insertion_sort(values, low, high):  # type: ignore[no-untyped-def]
    for i in range(low + 1, high):
        value, j = values[i], i
        while j > low and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


@njit(cache=True, nogil=True)
def _sort(values, low, high):  # type: ignore[no-untyped-def]
    """Sort values[low:high] in place. Hashes are evenly spread, so quicksort's middle pivot never degenerates;
    numba's own sort does the same and takes several seconds to compile."""
    while high - low > 24:
        pivot, i, j = values[(low + high) // 2], low, high - 1
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if j + 1 - low < high - i:
            _sort(values, low, j + 1)
            low = i
        else:
            _sort(values, i, high)
            high = j + 1
    _insertion_sort(values, low, high)


@njit(cache=True, nogil=True)
def _sorted_unique(values, start, end):  # type: ignore[no-untyped-def]
    """Sort values[start:end] in place and close up repetitions; the new end."""
    _sort(values, start, end)
    kept = start
    for i in range(start, end):
        if i == start or values[i] != values[kept - 1]:
            values[kept] = values[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _bytes_of(text_offsets, record_offsets, mask, record):  # type: ignore[no-untyped-def]
    """Bytes of a record's segments in the view: no segment can have more tokens or shingles than bytes."""
    size = 0
    for s in range(record_offsets[record], record_offsets[record + 1]):
        if mask[s]:
            size += text_offsets[s + 1] - text_offsets[s]
    return size


@njit(cache=True, nogil=True)
def _shingles(data, text_offsets, record_offsets, mask, classes, lower, n):  # type: ignore[no-untyped-def]
    records = len(record_offsets) - 1
    offsets = np.zeros(records + 1, dtype=np.int64)
    out, tokens = np.empty(1024, dtype=np.uint64), np.empty(1024, dtype=np.uint64)
    for r in range(records):
        at = offsets[r]
        need = _bytes_of(text_offsets, record_offsets, mask, r)
        if at + need > len(out):
            grown = np.empty(2 * (at + need), dtype=np.uint64)
            grown[:at] = out[:at]
            out = grown
        if need > len(tokens):
            tokens = np.empty(2 * need, dtype=np.uint64)
        for s in range(record_offsets[r], record_offsets[r + 1]):
            if mask[s]:
                count = _segment_tokens(data, text_offsets[s], text_offsets[s + 1], classes, lower, tokens)
                at = _segment_shingles(tokens, count, n, out, at)
        offsets[r + 1] = _sorted_unique(out, offsets[r], at)
    return out[: offsets[-1]].copy(), offsets


def shingles(view: View, n: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Hashes of the shingles of n tokens, sorted and unique within each record, and where each record's begin (n + 1).

    A segment with fewer than n tokens is one shingle of all of them; a view without visible text has none.
    """
    if n < 1:
        raise ValueError(f"a shingle has at least one token, got n = {n}")
    return _shingles(*view.arrays, *tables(), n)


@njit(cache=True, nogil=True)
def _token_counts(data, text_offsets, record_offsets, mask, classes, lower):  # type: ignore[no-untyped-def]
    counts = np.zeros(len(record_offsets) - 1, dtype=np.int64)
    tokens = np.empty(1024, dtype=np.uint64)
    for r in range(len(counts)):
        for s in range(record_offsets[r], record_offsets[r + 1]):
            size = text_offsets[s + 1] - text_offsets[s]
            if mask[s] and size > len(tokens):
                tokens = np.empty(2 * size, dtype=np.uint64)
            if mask[s]:
                counts[r] += _segment_tokens(data, text_offsets[s], text_offsets[s + 1], classes, lower, tokens)
    return counts


def token_counts(view: View) -> npt.NDArray[np.int64]:
    """How many tokens each record's view has."""
    return _token_counts(*view.arrays, *tables())
