"""All kept rows of a build as arrays: the side columns of its chunks, one after the other, in canonical order.

Canonical order is: sources by name, files by path, rows by place in the file. It does not depend on how many workers
there were, on which chunk came back first, or on the order in which files were listed.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.curate.order import I64, U64
from didact.curate.threads import in_threads
from didact.records.table import fixed_bytes
from didact.remote.folder import Folder
from didact.text.views import Segments


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """Where one chunk's results are, and what its marker says."""

    source: str
    ordinal: int
    key: str
    folder: Folder
    marker: dict[str, Any]

    @property
    def rows(self) -> int:
        """Rows kept in the chunk."""
        return int(self.marker["kept"])

    def table(self, part: str) -> pa.Table:
        """The chunk's `records`, `side` or `rejected` table, mapped from disk."""
        with pa.memory_map(str(self._file(part))) as source:
            return pa.ipc.open_file(source).read_all()

    def mapped(self, part: str) -> Mapped:
        """The same, to be kept open for many small reads."""
        return Mapped(self._file(part))

    def _file(self, part: str) -> Path:
        name = f"{self.key}.{part}.arrow"
        return self.folder.file(name, self.marker["files"][name])

    def segments(self, inside: I64) -> Segments:
        """The texts of some of the chunk's rows, opened for kernels; those of all rows without copying."""
        column = self.table("records")["segments"].combine_chunks()
        return Segments.from_arrow(column if len(inside) == self.rows else column.take(pa.array(inside)))


class Mapped:
    """A table mapped from disk that can give back the memory of its pages without being closed."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.table: pa.Table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._map))).read_all()

    def let_go(self) -> None:
        """Give the pages back; what is asked for again is mapped again."""
        self._map.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Rows:
    """The kept rows of a build. Every array has one entry per row, in canonical order."""

    chunks: tuple[ChunkResult, ...]
    sources: tuple[str, ...]

    @cached_property
    def offsets(self) -> I64:
        """Row at which each chunk begins, and the number of rows at the end."""
        return np.concatenate([[0], np.cumsum([chunk.rows for chunk in self.chunks])]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @cached_property
    def source(self) -> NDArray[np.int32]:
        """Index of each row's source."""
        place = {name: i for i, name in enumerate(self.sources)}
        return np.repeat(np.array([place[chunk.source] for chunk in self.chunks], np.int32), np.diff(self.offsets))

    def of(self, source: str) -> Rows:
        """The rows of one source alone."""
        return Rows(tuple(chunk for chunk in self.chunks if chunk.source == source), self.sources)

    def column(self, name: str) -> NDArray[Any]:
        """A numeric side column of all rows; not a number where a chunk did not measure it, since only some sources
        need it.
        """
        return self.columns([name])[0]

    def columns(self, names: Sequence[str]) -> list[NDArray[Any]]:
        """Several numeric side columns; opening a table takes longer than reading a column."""
        # Each table is let go at once: what stays mapped counts as this process's memory.
        parts = [[_numbers(side, name) for name in names] for side in (chunk.table("side") for chunk in self.chunks)]
        return [_joined(list(own), np.zeros(0)) for own in zip(*parts, strict=True)] or [np.zeros(0) for _ in names]

    def width(self, name: str) -> int:
        """Size of the lists in a side column of fixed-size lists; 0 without chunks."""
        return next((chunk.table("side").schema.field(name).type.list_size for chunk in self.chunks), 0)

    def at(self, name: str, places: slice) -> U64:
        """The values at some places of a side column of fixed-size lists of 64-bit words, (places, rows)."""
        parts = [_at(chunk.table("side").column(name).combine_chunks(), places) for chunk in self.chunks]
        return np.concatenate(parts, axis=1) if parts else np.zeros((0, 0), np.uint64)

    def keys(self, name: str) -> U64:
        """A 16-byte side column as (rows, 2) 64-bit words."""
        tables = (chunk.table("side") for chunk in self.chunks)
        parts = [fixed_bytes(side.column(name)).view("<u8").copy() for side in tables]
        return _joined(parts, np.zeros((0, 2), np.uint64))

    @cached_property
    def ids(self) -> U64:
        """Low 64 bits of each row's content key, the source of keyed orders."""
        return np.ascontiguousarray(self.keys("content")[:, 0])

    def locate(self, rows: I64) -> tuple[I64, I64]:
        """Chunk and row within the chunk of each row."""
        chunk = np.searchsorted(self.offsets, rows, side="right") - 1
        return chunk.astype(np.int64), rows - self.offsets[chunk]

    def by_chunk(self, rows: I64) -> Iterator[tuple[ChunkResult, I64, I64]]:
        """For each chunk that holds some of the rows: the chunk, the places in `rows`, the rows within the chunk."""
        chunk, inside = self.locate(rows)
        order = np.argsort(chunk, kind="stable").astype(np.int64)
        bounds = np.searchsorted(chunk[order], np.arange(len(self.chunks) + 1))
        for index, (start, end) in enumerate(pairwise(bounds.tolist())):
            if start < end:
                yield self.chunks[index], order[start:end], inside[order[start:end]]

    def sets(self, rows: I64, make: Callable[[Segments], tuple[U64, I64]], threads: int = 1) -> tuple[U64, I64]:
        """Variable-length values of some rows, made chunk by chunk from their texts;
        as values and offsets in the order of `rows`.

        rows must ascend.
        """
        values: list[U64] = []
        lengths: list[I64] = []
        parts = ((chunk, inside) for chunk, _, inside in self.by_chunk(rows))
        for got, offsets in in_threads(lambda part: make(part[0].segments(part[1])), parts, threads):
            values.append(got)
            lengths.append(np.diff(offsets))
        if not values:
            return np.zeros(0, np.uint64), np.zeros(1, np.int64)
        return np.concatenate(values), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)


def _joined(parts: list[NDArray[Any]], none: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else none


def _numbers(side: pa.Table, name: str) -> NDArray[Any]:
    if name not in side.schema.names:
        return np.full(side.num_rows, np.nan, np.float32)
    numbers: NDArray[Any] = side.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return numbers.copy()


def _at(lists: pa.FixedSizeListArray, places: slice) -> U64:
    values: U64 = lists.flatten().to_numpy().reshape(len(lists), lists.type.list_size)
    return np.ascontiguousarray(values[:, places].T)


def in_order(results: Sequence[ChunkResult]) -> tuple[ChunkResult, ...]:
    """Chunk results in canonical order."""
    return tuple(sorted(results, key=lambda result: (result.source, result.ordinal)))
