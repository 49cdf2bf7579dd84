"""A vocabulary's merges as the arrays that kernels read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.render.merges import MergeTable, fill_table
from didact.render.pretokens import byte_alphabet, code_point_classes

_BREAK = "\u2028"
"""Between tokens; no byte stands for it."""
_CHARACTERS = re.compile(f"{_BREAK}|[^\x80-\xbf]?[\x80-\xbf]*")
"""Whole characters of tokens in UTF-8, or what a token has of one, when each byte is the code point of its number."""


def merge_table(model: dict[str, Any]) -> MergeTable:
    """The table of the part `model` of a tokenizer.json."""
    vocab: dict[str, int] = model["vocab"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    left = np.array([vocab[a] for a, _ in merges], dtype=np.int32)
    right = np.array([vocab[b] for _, b in merges], dtype=np.int32)
    keys = joints_of(a + b for a, b in merges)
    pairs = np.full(2 * _slots(len(merges)), np.iinfo(np.uint64).max, dtype=np.uint64)
    joints = np.zeros(_slots(len(keys)), dtype=np.uint64)
    fill_table(pairs, left, right, joints, keys)
    merged = np.array([vocab[a + b] for a, b in merges], dtype=np.int32)
    return MergeTable(
        code_point_classes(),
        np.array([vocab[character] for character in byte_alphabet()], dtype=np.int32),
        merged,
        pairs,
        joints,
        *_ends_and_starts(keys),
        distinct=len(np.unique(merged)) == len(merged),
    )


def _slots(entries: int) -> int:
    """Slots of an open-addressing table: a power of two, at most a quarter of them taken."""
    return 1 << max(4, (4 * entries).bit_length())


def joints_of(tokens: Iterable[str]) -> NDArray[np.uint64]:
    """The joints inside tokens, as `merges.MergeTable` has them, sorted and unique. Tokens are as in a vocabulary."""
    bytes_of = str.maketrans({character: chr(byte) for byte, character in enumerate(byte_alphabet())})
    characters = _CHARACTERS.findall(_BREAK.join(tokens).translate(bytes_of))
    pairs = {(a, b) for a, b in itertools.pairwise(characters) if a != _BREAK and "\xc0" <= b != _BREAK}
    return np.array(sorted(_number(a) << 32 | _number(b) for a, b in pairs), np.uint64)


def _number(spelt: str) -> int:
    return int.from_bytes(spelt.encode("latin-1"))


def _ends_and_starts(joints: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Which code points below 0x10000 end and begin with a side of a joint, as `merges.MergeTable` has them."""
    points = np.arange(0x10000, dtype=np.int64)
    two = 0xC080 | points >> 6 << 8 | points & 0x3F
    three = 0xE08080 | points >> 12 << 16 | (points >> 6 & 0x3F) << 8 | points & 0x3F
    spelt = np.where(points < 0x80, points, np.where(points < 0x800, two, three))
    width = _bytes_in(spelt)
    left, right = (joints >> 32).astype(np.int64), (joints & 0xFFFFFFFF).astype(np.int64)
    ends, starts = np.zeros(0x10000, np.uint16), np.zeros(0x10000, np.uint16)
    for kind, (before, after) in enumerate(itertools.product((1, 2, 3), repeat=2)):
        own = (_bytes_in(left) == before) & (_bytes_in(right) == after)
        is_end = (width >= before) & np.isin(spelt & (1 << 8 * before) - 1, left[own])
        is_start = (width >= after) & np.isin(spelt >> 8 * np.maximum(width - after, 0), right[own])
        ends[is_end] |= 1 << kind
        starts[is_start] |= 1 << kind
    return ends, starts


def _bytes_in(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many bytes each number has, up to four."""
    return np.searchsorted([1 << 8, 1 << 16, 1 << 24], numbers, side="right") + 1
