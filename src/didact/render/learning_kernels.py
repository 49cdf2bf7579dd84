"""Byte-pair merges learned from counted pieces: what `tokenizers` learns, without a string a word.

The algorithm is that of the library's `BpeTrainer`, so that the merges are the same: the most frequent pair is merged,
of equally frequent ones that of the least ids; a pair waits with the words in which it was met when it came up, and
with its count of then, which is corrected when its turn comes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from didact.render.counting_kernels import MIX, SLOTS, copy_row, hash_of, twice
from didact.text.compiled import allocating_kernel, part

_TEXT = 1 << 12
"""Room for bytes of tokens at first."""
_HEAD = 3
"""Numbers before the ids of a word: how many there are, and how often the word is there, cut in two."""
_PAIR, _COUNT, _FIRST, _WORDS = range(4)
"""Of a pair: its ids, and one more, as a key (0 in a free slot); how often it is there; the words it has come up in, as
a stretch of a list: first and number."""
_TOTAL, _CHAIN, _LAST = range(3)
"""Of a neighbour of the merged pair: how often it stands there, the chain of the words where, and the last word."""


class Tokens(NamedTuple):
    """The spelling of each id in bytes: text[bounds[i] : bounds[i + 1]]; none for what is not spelt in bytes."""

    text: NDArray[np.uint8]
    bounds: NDArray[np.int64]


class _Neighbours(NamedTuple):
    """What stands before (0) and after (1) a pair that is merged. rows: (2, ids, 3).  met: (2, ids), those that do,
    each once.  chains: words, and the links after them.  counts: of those met before and after, and of links.
    """

    rows: NDArray[np.int64]
    met: NDArray[np.int64]
    chains: NDArray[np.int64]
    counts: NDArray[np.int64]


@part
def _key(left, right):  # type: ignore[no-untyped-def]
    return ((np.int64(left) << 32) | np.int64(right)) + 1


@part
def _slot(pairs, key):  # type: ignore[no-untyped-def]
    """Slot of a pair, or the free one where it goes."""
    mask = np.uint64(len(pairs) - 1)
    slot = ((np.uint64(key) * MIX) >> np.uint64(29)) & mask
    while pairs[slot, _PAIR] != key and pairs[slot, _PAIR] != 0:
        slot = (slot + np.uint64(1)) & mask
    return slot


@part
def _counted(pairs, key, times):  # type: ignore[no-untyped-def]
    """Slot of a pair, counted; and whether it is new."""
    slot = _slot(pairs, key)
    new = pairs[slot, _PAIR] == 0
    pairs[slot, _PAIR] = key
    pairs[slot, _COUNT] += times
    return slot, new


@njit(nogil=True)
def _with_room(pairs):  # type: ignore[no-untyped-def]
    """The pairs in four times as many slots."""
    out = np.zeros((4 * len(pairs), 2), np.int64)
    for at in range(len(pairs)):
        if pairs[at, _PAIR]:
            copy_row(pairs, at, out, _slot(out, pairs[at, _PAIR]))
    return out


@part
def _before(queue, at, count, pair):  # type: ignore[no-untyped-def]
    """Whether an entry is merged before a pair that has another count."""
    return queue[at, _COUNT] > count or (queue[at, _COUNT] == count and queue[at, _PAIR] < pair)


@part
def _sink(queue, size):  # type: ignore[no-untyped-def]
    """Move the entry behind the last one to where it belongs, from the first place on, which is free."""
    at, count, pair = 0, queue[size, _COUNT], queue[size, _PAIR]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _before(queue, child + 1, queue[child, _COUNT], queue[child, _PAIR]):
            child += 1
        if not _before(queue, child, count, pair):
            break
        copy_row(queue, child, queue, at)
        at = child
    copy_row(queue, size, queue, at)


@part
def _queue_up(queue, size, pairs, slot, first, words):  # type: ignore[no-untyped-def]
    """Queue a pair that has come up in a stretch of words; returns the new size."""
    at, count, pair = size, pairs[slot, _COUNT], pairs[slot, _PAIR]
    while at and not _before(queue, (at - 1) >> 1, count, pair):
        copy_row(queue, (at - 1) >> 1, queue, at)
        at = (at - 1) >> 1
    queue[at, _PAIR], queue[at, _COUNT], queue[at, _FIRST], queue[at, _WORDS] = pair, count, first, words
    return size + 1


@allocating_kernel
def words_of(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    times: NDArray[np.int64],
    byte_ids: NDArray[np.int32],
) -> NDArray[np.int32]:
    """All words as ids, one after the other, each with its head."""
    room = _HEAD * sizes.size
    for size in sizes:
        room += size
    words, at = np.empty(room, np.int32), 0
    for piece in range(sizes.size):
        words[at], words[at + 1], words[at + 2] = sizes[piece], times[piece] >> 31, times[piece] & 0x7FFFFFFF
        at += _HEAD
        for i in range(sizes[piece]):
            words[at] = byte_ids[data[starts[piece] + i]]
            at += 1
    return words


@part
def _times(words, at):  # type: ignore[no-untyped-def]
    return (np.int64(words[at + 1]) << 31) | np.int64(words[at + 2])


@njit(nogil=True)
def _queued_bytes(words, pairs, lists, queue):  # type: ignore[no-untyped-def]
    """Count the pairs of bytes and queue them with their words; returns how many pairs there are, and the end of the
    list.
    """
    last, met = np.full(len(pairs), -1, np.int64), np.zeros(len(pairs), np.int64)
    at = 0
    while at < words.size:
        end, times = at + _HEAD + words[at], _times(words, at)
        for i in range(at + _HEAD, end - 1):
            slot, _ = _counted(pairs, _key(words[i], words[i + 1]), times)
            met[slot] += last[slot] != at
            last[slot] = at
        at = end
    used = end = 0
    for slot in range(len(pairs)):
        if met[slot]:
            used = _queue_up(queue, used, pairs, slot, end, met[slot])
            met[slot], last[slot], end = end, -1, end + met[slot]
    at = 0
    while at < words.size:
        following = at + _HEAD + words[at]
        for i in range(at + _HEAD, following - 1):
            slot = _slot(pairs, _key(words[i], words[i + 1]))
            if last[slot] != at:
                lists[met[slot]] = at
                met[slot], last[slot] = met[slot] + 1, at
        at = following
    return used, end


@part
def _stands(neighbours, side, token, times, word):  # type: ignore[no-untyped-def]
    """Note what stands on a side of a merged pair in a word."""
    rows, counts = neighbours.rows, neighbours.counts
    if rows[side, token, _CHAIN] < 0:
        neighbours.met[side, counts[side]] = token
        counts[side] += 1
        rows[side, token, _TOTAL], rows[side, token, _LAST] = 0, -1
    rows[side, token, _TOTAL] += times
    if rows[side, token, _LAST] != word:
        neighbours.chains[counts[2], 0], neighbours.chains[counts[2], 1] = word, rows[side, token, _CHAIN]
        rows[side, token, _CHAIN], rows[side, token, _LAST] = counts[2], word
        counts[2] += 1


@part
def _merge_in_word(words, word, left, right, token, neighbours):  # type: ignore[no-untyped-def]
    """Merge a pair wherever it stands in a word, from the left."""
    times = _times(words, word)
    start = word + _HEAD
    at = out = start
    end = start + words[word]
    while at < end:
        if words[at] != left or at + 1 == end or words[at + 1] != right:
            words[out] = words[at]
            out, at = out + 1, at + 1
            continue
        if out > start:
            _stands(neighbours, 0, words[out - 1], times, word)
        if at + 2 < end:
            _stands(neighbours, 1, words[at + 2], times, word)
        words[out] = token
        out, at = out + 1, at + 2
    words[word] = out - start


@part
def _listed(neighbours, side, token, lists, end):  # type: ignore[no-untyped-def]
    """Write the words of a neighbour to the end of the list; returns how often it stands there, and the new end."""
    link = neighbours.rows[side, token, _CHAIN]
    if link < 0:
        return 0, end
    while link >= 0:
        lists[end] = neighbours.chains[link, 0]
        link, end = neighbours.chains[link, 1], end + 1
    neighbours.rows[side, token, _CHAIN] = -1
    return neighbours.rows[side, token, _TOTAL], end


@part
def _settle(left, right, token, neighbours, pairs, lists, queue, used):  # type: ignore[no-untyped-def]
    """Count what has become of the neighbours, and queue the pairs that have come up.

    used: entries of the queue, the end of the list, and pairs; raised.
    """
    for side in range(2):
        for place in range(neighbours.counts[side]):
            other = neighbours.met[side, place]
            total = neighbours.rows[side, other, _TOTAL]
            gone = _key(other, left) if side == 0 else _key(right, other)
            used[2] += _counted(pairs, gone, -total)[1]
    for side in range(2):
        for place in range(neighbours.counts[side]):
            other = neighbours.met[side, place]
            start = used[1]
            total, used[1] = _listed(neighbours, side, other, lists, start)
            if other == token:
                # The one pair that comes up on both sides.
                more, used[1] = _listed(neighbours, 1 - side, other, lists, used[1])
                total += more
            slot, new = _counted(pairs, _key(other, token) if side == 0 else _key(token, other), total)
            used[2] += new
            if used[1] > start and pairs[slot, _COUNT] > 0:
                used[0] = _queue_up(queue, used[0], pairs, slot, start, used[1] - start)
        neighbours.counts[side] = 0
    neighbours.counts[2] = 0


@part
def _slot_of_token(slots, text, bounds, start, end):  # type: ignore[no-untyped-def]
    """Slot of the token that is spelt text[start:end], or the empty slot where it would go."""
    mask = np.uint64(slots.size - 1)
    slot = ((hash_of(text, start, end) * MIX) >> np.uint64(29)) & mask
    while slots[slot]:
        first, same = bounds[slots[slot] - 1], 0
        if bounds[slots[slot]] - first == end - start:
            while same < end - start and text[first + same] == text[start + same]:
                same += 1
            if same == end - start:
                break
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(nogil=True)
def _spelt(text, bounds, used, left, right):  # type: ignore[no-untyped-def]
    """The text with the spelling of two tokens, one after the other, behind that of the last; and where this ends."""
    end = bounds[used]
    for token in (left, right):
        for i in range(bounds[token], bounds[token + 1]):
            if end == text.size:
                longer = np.empty(2 * text.size, np.uint8)
                for known in range(text.size):
                    longer[known] = text[known]
                text = longer
            text[end] = text[i]
            end += 1
    return text, end


@njit(nogil=True)
def _names(known, text, bounds):  # type: ignore[no-untyped-def]
    """Slots by the spelling of tokens, with those that are known."""
    size = 4096
    while size < 2 * bounds.size:
        size *= 2
    names = np.zeros(size, np.int32)
    for token in range(known.bounds.size - 1):
        start, end = known.bounds[token], known.bounds[token + 1]
        if end > start:
            names[_slot_of_token(names, text, bounds, start, end)] = token + 1
    return names


@allocating_kernel
def learn_merges(
    words: NDArray[np.int32], bytes_: int, known: Tokens, vocabulary: int, least: int
) -> tuple[Tokens, NDArray[np.int32]]:
    """All tokens, those `known` first, and the merges (m, 3) in the order learned: left, right, merged.

    words: what `words_of` gives for so many bytes; it is overwritten.  vocabulary: ids to end with.  least: how often a
    pair must be there to be merged. Two merges may give one token, and a pair may be merged more than once.
    """
    # Every merge takes an id away and lets two pairs come up at most. Memory that nothing is written to costs nothing.
    most = 3 * bytes_ + 1
    pairs, lists, queue = np.zeros((SLOTS, 2), np.int64), np.empty(most, np.int64), np.empty((most + 1, 4), np.int64)
    used = np.zeros(3, np.int64)
    used[0], used[1] = _queued_bytes(words, pairs, lists, queue)
    used[2] = used[0]

    tokens = known.bounds.size - 1
    room = max(vocabulary, tokens) + 2
    neighbours = _Neighbours(
        np.full((2, room, 3), -1, np.int64), np.empty((2, room), np.int64), np.empty((most, 2), np.int64),
        np.zeros(3, np.int64),
    )  # fmt: skip
    text, bounds = np.empty(max(_TEXT, known.text.size), np.uint8), np.zeros(room, np.int64)
    for i in range(known.text.size):
        text[i] = known.text[i]
    for i in range(tokens + 1):
        bounds[i] = known.bounds[i]
    names = _names(known, text, bounds)
    merges = np.empty((room, 3), np.int32)
    merged = 0
    while tokens < vocabulary and used[0]:
        count = pairs[_slot(pairs, queue[0, _PAIR]), _COUNT]
        if queue[0, _COUNT] != count:
            queue[0, _COUNT] = count
            copy_row(queue, 0, queue, used[0])
            _sink(queue, used[0])
            continue
        if count < max(least, 1):
            break
        left, right = (queue[0, _PAIR] - 1) >> 32, (queue[0, _PAIR] - 1) & 0xFFFFFFFF
        first, following = queue[0, _FIRST], queue[0, _FIRST] + queue[0, _WORDS]
        used[0] -= 1
        _sink(queue, used[0])

        text, end = _spelt(text, bounds, tokens, left, right)
        slot = _slot_of_token(names, text, bounds, bounds[tokens], end)
        if not names[slot]:
            tokens += 1
            names[slot], bounds[tokens] = tokens, end
        token = np.int64(names[slot]) - 1
        if merged == len(merges):
            merges = twice(merges)
        merges[merged, 0], merges[merged, 1], merges[merged, 2] = left, right, token
        merged += 1

        for place in range(first, following):
            _merge_in_word(words, lists[place], left, right, token, neighbours)
        # The pairs that come up hold the new token and any other.
        if 2 * (used[2] + 2 * tokens) > len(pairs):
            pairs = _with_room(pairs)
        _settle(left, right, token, neighbours, pairs, lists, queue, used)
    return Tokens(text[: bounds[tokens]], bounds[: tokens + 1]), merges[:merged]
