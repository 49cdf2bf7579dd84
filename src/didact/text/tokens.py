"""Tokens by code point, their hashes, and shingles of neighbouring tokens: the units near-duplicates are compared in.

A run of letters, marks and digits is a word, lower-cased by the simple map; each character of a script written without
spaces is one token. A text without any of these (`+`, an emoji) has each of its visible characters as a token, so that
it is not taken for an empty one. Shingles never join two segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from didact.text.characters import LETTER, OTHER, SPACE, UNSPACED, WORD, lower_of, tables
from didact.text.compiled import inlined, kernel, part
from didact.text.eight import between, byte_of, eight_bytes, first_place, letters, low_bytes, unmarked
from didact.text.utf8 import FNV_OFFSET, FNV_PRIME, MIX_FIRST, MIX_SECOND, code_point, fold, mix
from didact.text.views import View, Words

_BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier (2^64 over the golden ratio) of the polynomial over a shingle's token hashes."""
_WORD = np.uint8(WORD)
_UNSPACED = np.uint8(UNSPACED)
_INVISIBLE = np.uint8(SPACE | OTHER)
_MASK = 2**64 - 1
_LETTER = np.uint8(LETTER)
_CASE = np.uint64(0x2020202020202020)
"""The bit that ASCII letters of lower case and digits have."""
_FEW = 24
"""Hashes up to which sorting by insertion is fastest."""


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


@inlined
def _fold_first(state, eight, count):  # type: ignore[no-untyped-def]
    """Fold the first `count` of eight bytes into the state. Without a branch, since no processor foresees where words
    end: eight products, of which some are thrown away, take less time than one wrong guess."""
    for k in range(8):
        folded = fold(state, byte_of(eight, k))
        state = folded if k < count else state
    return state


@part
def segment_words(data, start, end, classes, lower, hashes, sizes):  # type: ignore[no-untyped-def]
    """Write the hash of each word of a segment to `hashes`, and to `sizes` twice its number of characters, one more if
    one of them is a letter; how many words there are. Both have room for as many words as the segment has bytes.
    """
    count, state, chars, lettered, i = 0, FNV_OFFSET, 0, np.uint64(0), start
    while i < end:
        if data[i] < 0x80 and i + 8 <= len(data):
            eight = eight_bytes(data, i)
            found = letters(eight)
            run = min(first_place(unmarked(found | between(eight, 0x30, 0x39))), end - i)
            state = _fold_first(state, eight | _CASE, run)
            lettered |= low_bytes(found, run)
            chars += run
            i += run
            if run == 8:
                continue
        code, width, kind = 32, 0, classes[32]
        if i < end:
            code, width = code_point(data, i)
            kind = classes[code]
            i += width
        if kind & _WORD and not kind & _UNSPACED:
            state = fold(state, lower[code] if code < len(lower) else code)
            lettered |= kind & _LETTER
            chars += 1
            continue
        hashes[count], sizes[count] = mix(state), 2 * chars + (lettered > 0)
        count += chars > 0
        state, chars, lettered = FNV_OFFSET, 0, np.uint64(0)
        if kind & _UNSPACED:
            hashes[count], sizes[count] = mix(fold(FNV_OFFSET, code)), 3
            count += 1
    if chars:
        hashes[count], sizes[count] = mix(state), 2 * chars + (lettered > 0)
        count += 1
    return count


@part
def _visible_tokens(data, start, end, classes, out):  # type: ignore[no-untyped-def]
    """The tokens of a segment without words: its visible characters, one by one. `out` has room for one a byte."""
    count, i = 0, start
    while i < end:
        code, width = code_point(data, i)
        i += width
        if not classes[code] & _INVISIBLE:
            out[count] = mix(fold(FNV_OFFSET, code))
            count += 1
    return count


@part
def _segment_shingles(tokens, count, n, out, at):  # type: ignore[no-untyped-def]
    """Write the hashes of a segment's shingles to `out` from `at` on; the place after the last."""
    if count == 0:
        return at
    size = min(n, count)
    oldest, total = np.uint64(1), np.uint64(0)
    for i in range(size):
        oldest *= _BASE
        total = total * _BASE + tokens[i]
    out[at] = mix(total + np.uint64(size))
    for i in range(size, count):
        total = total * _BASE + tokens[i] - oldest * tokens[i - size]
        at += 1
        out[at] = mix(total + np.uint64(size))
    return at + 1


@part
def _insertion_sort(values, low, high):  # type: ignore[no-untyped-def]
    for i in range(low + 1, high):
        value, j = values[i], i
        while j > low and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


@inlined
def parted(values, low, high):  # type: ignore[no-untyped-def]
    """Move those of values[low] to values[high] that are below the middle one before those above it. Where the second
    part begins and where the first one ends; what stands between is equal to it.
    """
    pivot, i, j = values[(low + high) // 2], low, high
    while i <= j:
        while values[i] < pivot:
            i += 1
        while values[j] > pivot:
            j -= 1
        if i <= j:
            values[i], values[j] = values[j], values[i]
            i, j = i + 1, j - 1
    return i, j


@part
def _quicksort(values, low, high):  # type: ignore[no-untyped-def]
    """Sort values[low:high] in place. Hashes are evenly spread, so the middle is a pivot that never degenerates;
    numba's own sort does the same and takes several seconds to compile."""
    while high - low > _FEW:
        i, j = parted(values, low, high - 1)
        if j + 1 - low < high - i:
            _quicksort(values, low, j + 1)
            low = i
        else:
            _quicksort(values, i, high)
            high = j + 1
    _insertion_sort(values, low, high)


@part
def _sort(values, low, high, spare, places):  # type: ignore[no-untyped-def]
    """Sort the hashes values[low:high] in place.

    Hashes are evenly spread, so their highest bits tell nearly where each belongs: they are dealt out to as many slots
    as there are hashes or twice as many, by which few come to stand beside their place.

    spare: room for as many.  places: room for a number more than slots, all 0, before and after.
    """
    count = high - low
    if count <= _FEW:
        _insertion_sort(values, low, high)
        return
    slots, shift = 64, 58
    while slots < count:
        slots, shift = 2 * slots, shift - 1
    down = np.uint64(shift)
    for i in range(low, high):
        places[(values[i] >> down) + np.uint64(1)] += 1
    most = 0
    for slot in range(slots):
        most = max(most, places[slot + 1])
        places[slot + 1] += places[slot]
    for i in range(low, high):
        home = values[i] >> down
        spare[places[home]] = values[i]
        places[home] += 1
    for slot in range(slots + 1):
        places[slot] = 0
    for i in range(count):
        values[low + i] = spare[i]
    if most <= _FEW:
        _insertion_sort(values, low, high)
    else:  # a text that repeats itself
        _quicksort(values, low, high)


@part
def _sorted_unique(values, start, end, spare, places):  # type: ignore[no-untyped-def]
    """Sort values[start:end] in place and close up repetitions; the new end. For room see `_sort`."""
    _sort(values, start, end, spare, places)
    if start == end:
        return end
    kept = start
    for i in range(start + 1, end):
        kept += values[i] != values[kept]
        values[kept] = values[i]
    return kept + 1


@kernel
def _words(data, text_offsets, mask, classes, lower, hashes, sizes, bounds):  # type: ignore[no-untyped-def]
    """Fill the arrays of `Words`; hashes and sizes have room for as many words as the segments have bytes."""
    at = 0
    bounds[0] = 0
    for s in range(len(mask)):
        if mask[s]:
            at += segment_words(data, text_offsets[s], text_offsets[s + 1], classes, lower, hashes[at:], sizes[at:])
        bounds[s + 1] = at


def words_of(view: View) -> Words:
    """The words of a view's segments; all that look at them can then share them."""
    # Pages of memory that stay unused cost nothing.
    most = int(view.sizes.sum())
    hashes, sizes = np.empty(most, np.uint64), np.empty(most, np.int32)
    bounds = np.empty(len(view.mask) + 1, np.int64)
    _words(view.data, view.text_offsets, view.mask, *tables(), hashes, sizes, bounds)
    return Words(hashes[: bounds[-1]].copy(), sizes[: bounds[-1]].copy(), bounds)


@kernel
def _shingles(  # type: ignore[no-untyped-def]
    data, text_offsets, record_offsets, mask, classes, lower, known, hashes, sizes, bounds, n, tokens, places, out,
    offsets,
):  # fmt: skip
    """Fill `out` and `offsets`; room is as for `_visible_tokens` and `_sort`.

    known: whether `hashes` and `bounds` are those of `Words`; else the arrays have room for one segment's.
    """
    offsets[0] = 0
    for r in range(len(record_offsets) - 1):
        at = offsets[r]
        for s in range(record_offsets[r], record_offsets[r + 1]):
            if mask[s]:
                start, end = text_offsets[s], text_offsets[s + 1]
                if known:
                    first, count = bounds[s], bounds[s + 1] - bounds[s]
                else:
                    first, count = np.int64(0), segment_words(data, start, end, classes, lower, hashes, sizes)
                if count:
                    at = _segment_shingles(hashes[first:], count, n, out, at)
                else:
                    at = _segment_shingles(tokens, _visible_tokens(data, start, end, classes, tokens), n, out, at)
        offsets[r + 1] = _sorted_unique(out, offsets[r], at, tokens, places)


def shingles(view: View, n: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Hashes of the shingles of n tokens, sorted and unique within each record, and where each record's begin (n + 1).

    A segment with fewer than n tokens is one shingle of all of them; a view without visible text has none.
    """
    if n < 1:
        raise ValueError(f"a shingle has at least one token, got n = {n}")
    # No text has more tokens or shingles than bytes. Pages of memory that stay unused cost nothing.
    bytes_of = view.sizes
    longest = int(bytes_of.max(initial=0))
    tokens, places = np.empty(longest, np.uint64), np.zeros(max(2 * longest, 64) + 1, np.int64)
    out, offsets = np.empty(int(bytes_of.sum()), np.uint64), np.empty(len(view) + 1, np.int64)
    room = Words(np.empty(longest, np.uint64), np.empty(longest, np.int32), np.zeros(1, np.int64))
    known = view.words is not None
    _shingles(*view.arrays, *tables(), known, *(view.words or room), n, tokens, places, out, offsets)
    return out[: offsets[-1]].copy(), offsets


@kernel
def _have_tokens(data, text_offsets, record_offsets, mask, classes, out):  # type: ignore[no-untyped-def]
    for r in range(len(out)):
        out[r] = False
        for s in range(record_offsets[r], record_offsets[r + 1]):
            i = text_offsets[s]
            while mask[s] and not out[r] and i < text_offsets[s + 1]:
                code, width = code_point(data, i)
                out[r] = not classes[code] & _INVISIBLE
                i += width


def have_tokens(view: View) -> npt.NDArray[np.bool_]:
    """Whether each record's view has a token: a visible character."""
    out = np.empty(len(view), np.bool_)
    _have_tokens(*view.arrays, tables().classes, out)
    return out
