"""A byte-level BPE vocabulary as arrays, and the encoding of many texts at once over Arrow buffers."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.errors import DataError
from didact.render.pretokens import byte_alphabet, pre_tokenizer
from didact.text.views import read_only

if TYPE_CHECKING:
    from didact.render.kernels import WordCache
    from didact.render.merges import MergeTable

_LINES = 1 << 17
"""Of a cache, 8 MB of them: 3 MB of English text have 30,000 different pieces. At least four, see `kernels`."""
_PART_BYTES = 8 << 20
_WORTH_KERNELS = 200_000
"""Bytes of text up to which the `tokenizers` library is done before numba has loaded the kernels."""
_WORTH_TABLE = 20_000
"""Bytes up to which it is done before a vocabulary's merges are laid out for kernels that are loaded."""


class Encoded(NamedTuple):
    """Ids of n texts one after another. ids: int32.  bounds: (n + 1,) int64."""

    ids: NDArray[np.int32]
    bounds: NDArray[np.int64]


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
        return read_only(np.empty(0, np.uint8)), read_only(np.zeros(len(array) + 1, np.int64))
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return read_only(np.frombuffer(data, np.uint8)), read_only(bounds)


Part = TypeVar("Part")
_OverPart = Callable[[NDArray[np.uint8], NDArray[np.int64]], Part]


class BytePairs:
    """The merges of one vocabulary, ready to encode buffers; safe to share between threads."""

    def __init__(self, model: dict[str, Any]) -> None:
        """`model` is the part of that name in a tokenizer.json."""
        self._model = model
        self._table: MergeTable | None = None
        self._idle: list[WordCache] = []

    def worth(self, size: int) -> bool:
        """Whether so many bytes are encoded here sooner than by the library, all that is not yet loaded included."""
        if self._table is not None:
            return size > 0
        return size > (_WORTH_TABLE if "didact.render.kernels" in sys.modules else _WORTH_KERNELS)

    def encode(self, texts: Sequence[str] | pa.Array, threads: int = 1) -> Encoded:
        """Encode all texts; the result does not depend on the number of threads."""
        return _joined(self._over_parts(self._encode_part, texts, threads))

    def count(self, texts: Sequence[str] | pa.Array, threads: int = 1) -> NDArray[np.int64]:
        """Number of ids of each text, (n,)."""
        return np.concatenate(self._over_parts(self._count_part, texts, threads))

    def _over_parts(self, over: _OverPart[Part], texts: Sequence[str] | pa.Array, threads: int) -> list[Part]:
        data, offsets = text_buffers(texts)
        if self._table is None:
            from didact.render.merge_table import merge_table

            self._table = merge_table(self._model)
        edges = _part_edges(offsets, threads)
        parts = [(data, offsets[a : b + 1]) for a, b in itertools.pairwise(edges)]
        if threads == 1 or len(parts) == 1:
            return [over(*part) for part in parts]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda part: over(*part), parts))

    def _encode_part(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Encoded:
        out = np.empty(int(offsets[-1] - offsets[0]), np.int32)
        bounds = self._run(data, offsets, out, keep=True)
        return Encoded(out[: bounds[-1]].copy(), bounds)

    def _count_part(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.diff(self._run(data, offsets, np.empty(_longest(offsets), np.int32), keep=False))

    def _run(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], out: NDArray[np.int32], keep: bool
    ) -> NDArray[np.int64]:
        from didact.render.kernels import encode_texts
        from didact.render.merges import ROOM_ROWS

        assert self._table is not None  # set by `_over_parts`, on the way here
        bounds = np.empty(offsets.size, np.int64)
        room = np.empty((ROOM_ROWS, _longest(offsets) + 1), np.int64)
        # list.pop and list.append are atomic, so a cache is never in two threads
        cache = self._idle.pop() if self._idle else _word_cache()
        encode_texts(data, offsets, self._table, cache, room, out, bounds, keep)
        self._idle.append(cache)
        return bounds


def load_encoder() -> None:
    """Load the kernels that encode, by encoding a text with a vocabulary of bytes."""
    vocabulary = {character: n for n, character in enumerate(byte_alphabet())}
    BytePairs({"vocab": vocabulary, "merges": []}).encode(["Two words."])


def _longest(offsets: NDArray[np.int64]) -> int:
    return int(np.diff(offsets).max(initial=0))


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


def _word_cache() -> WordCache:
    from didact.render.kernels import LINE, WordCache

    lines = np.zeros(_LINES * LINE + LINE, dtype=np.uint64)
    aligned = lines[-lines.ctypes.data % 64 // 8 :][: _LINES * LINE]
    return WordCache(aligned, np.zeros(4 * 0x10000, dtype=np.int32))
