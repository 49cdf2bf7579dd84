"""A byte-level BPE vocabulary as arrays, and the encoding of many texts at once over Arrow buffers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.errors import DataError
from didact.render.pretokens import code_point_classes, pre_tokenizer

if TYPE_CHECKING:
    from didact.render.kernels import MergeTable, WordCache

_CACHED_WORDS = 1 << 18
_PART_BYTES = 8 << 20


class Encoded(NamedTuple):
    """Ids of n texts one after another. ids: int32.  bounds: (n + 1,) int64."""

    ids: NDArray[np.int32]
    bounds: NDArray[np.int64]


def byte_alphabet() -> list[str]:
    """Stand-in character of each byte, in byte order: printable Latin-1 stands for itself, the rest from U+0100 on."""
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in itself else chr(next(others)) for byte in range(256)]


def is_supported(description: dict[str, Any]) -> bool:
    """Whether a tokenizer.json says what the kernels do: byte-level BPE over PATTERN, nothing else that changes ids."""
    model = description["model"]
    options = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges", "byte_fallback")
    plain = model.get("type") == "BPE" and not any(model.get(option) for option in options)
    cut = json.loads(pre_tokenizer().__getstate__())
    same_cut = description.get("pre_tokenizer") == cut and not description.get("normalizer")
    return plain and same_cut and set(byte_alphabet()) <= set(model["vocab"])


def text_buffers(texts: Sequence[str] | pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """UTF-8 bytes of all texts, and their (n + 1,) byte bounds; an Arrow array is read in place.

    Raises DataError for a text that is not Unicode (a lone surrogate) and for a null.
    """
    try:
        array = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    except UnicodeEncodeError as error:
        raise DataError(f"a text holds the lone surrogate U+{ord(error.object[error.start]):04X}; remove it") from error
    if array.null_count:
        raise DataError(f"{array.null_count} of {len(array)} texts are null; give '' where there is no text")
    array = array.cast(pa.large_string())
    _, offsets, data = array.buffers()
    if len(array) == 0 or data is None:
        return np.empty(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data, np.uint8), bounds


class BytePairs:
    """The merges of one vocabulary, ready to encode buffers; safe to share between threads."""

    def __init__(self, model: dict[str, Any]) -> None:
        """`model` is the part of that name in a tokenizer.json."""
        self._model = model
        self._table: MergeTable | None = None
        self._idle: list[WordCache] = []

    def encode(self, texts: Sequence[str] | pa.Array, threads: int = 1) -> Encoded:
        """Encode all texts; the result does not depend on the number of threads."""
        data, offsets = text_buffers(texts)
        if self._table is None:
            self._table = _merge_table(self._model)
        edges = _part_edges(offsets, threads)
        parts = [(data, offsets[a : b + 1]) for a, b in itertools.pairwise(edges)]
        if threads == 1 or len(parts) == 1:
            return _joined([self._encode_part(*part) for part in parts])
        with ThreadPoolExecutor(threads) as pool:
            return _joined(list(pool.map(lambda part: self._encode_part(*part), parts)))

    def _encode_part(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Encoded:
        from didact.render.kernels import encode_texts

        assert self._table is not None  # set by `encode`, the only caller
        out = np.empty(int(offsets[-1] - offsets[0]), np.int32)
        bounds = np.empty(offsets.size, np.int64)
        # list.pop and list.append are atomic, so a cache is never in two threads
        cache = self._idle.pop() if self._idle else _word_cache()
        encode_texts(data, offsets, self._table, cache, out, bounds)
        self._idle.append(cache)
        return Encoded(out[: bounds[-1]].copy(), bounds)


def _part_edges(offsets: NDArray[np.int64], threads: int) -> list[int]:
    """Texts where parts begin and the last ends: parts of about 8 MB, at least one a thread, cut between texts."""
    size = int(offsets[-1] - offsets[0])
    parts = max(threads, -(-size // _PART_BYTES))
    targets = offsets[0] + np.arange(1, parts, dtype=np.int64) * size // parts
    inner = np.searchsorted(offsets, targets)
    return sorted({0, *inner.tolist(), offsets.size - 1}) if offsets.size > 1 else [0, 0]


def _joined(parts: list[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(part.ids.size for part in parts)])
    bounds = [part.bounds[1:] + start for part, start in zip(parts, starts, strict=False)]
    return Encoded(np.concatenate([part.ids for part in parts]), np.concatenate([np.zeros(1, np.int64), *bounds]))


def _merge_table(model: dict[str, Any]) -> MergeTable:
    from didact.render.kernels import MergeTable, fill_pairs

    vocab: dict[str, int] = model["vocab"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    left = np.array([vocab[a] for a, _ in merges], dtype=np.int32)
    right = np.array([vocab[b] for _, b in merges], dtype=np.int32)
    slots = 1 << max(4, (4 * len(merges)).bit_length())
    pairs = np.full(slots, np.iinfo(np.uint64).max, dtype=np.uint64)
    ranks = np.full(slots, -1, dtype=np.int32)
    fill_pairs(pairs, ranks, left, right)
    byte_ids = np.array([vocab[character] for character in byte_alphabet()], dtype=np.int32)
    merged = np.array([vocab[a + b] for a, b in merges], dtype=np.int32)
    distinct = len(np.unique(merged)) == len(merged)
    return MergeTable(code_point_classes(), byte_ids, pairs, ranks, merged, distinct)


def _word_cache() -> WordCache:
    from didact.render.kernels import WordCache

    return WordCache(
        keys=np.zeros(2 * _CACHED_WORDS, dtype=np.uint64),
        found=np.empty(2 * _CACHED_WORDS, dtype=np.int64),
        spelt=np.empty(2 * _CACHED_WORDS, dtype=np.int64),
        text=np.empty(16 * _CACHED_WORDS, dtype=np.uint8),
        ids=np.empty(8 * _CACHED_WORDS, dtype=np.int32),
        used=np.zeros(3, dtype=np.int64),
    )
