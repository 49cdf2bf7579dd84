"""All kept rows of a build as arrays: the side columns of its chunks, one after the other, in canonical order.

Canonical order is: sources by name, files by path, rows by place in the file. It does not depend on how many workers
there were, on which chunk came back first, or on the order in which files were listed.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.curate.order import I64, U64
from didact.curate.threads import in_threads
from didact.errors import StoreError
from didact.records.table import in_one_piece
from didact.remote.folder import Folder
from didact.text.views import Segments

Made = TypeVar("Made")


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
        with pa.memory_map(str(self.file(part))) as source:
            return pa.ipc.open_file(source).read_all()

    def mapped(self, part: str) -> Mapped:
        """The same, to be kept open for many small reads."""
        return Mapped(self.file(part))

    def file(self, part: str) -> Path:
        """The file of a table, on this disk."""
        name = f"{self.key}.{part}.arrow"
        return self.folder.file(name, self.marker["files"][name])

    def texts(self) -> Segments:
        """The texts of the chunk's rows, opened for kernels."""
        return Segments.from_arrow(self._segments())

    def texts_of(self, inside: I64) -> Segments:
        """Those of some rows."""
        return Segments.from_arrow(self._segments().take(pa.array(inside)))

    def _segments(self) -> pa.ListArray:
        return in_one_piece(self.table("records")["segments"])


class Mapped:
    """A table mapped from disk that can give back the memory of its pages without being closed."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.table: pa.Table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._map))).read_all()

    def let_go(self) -> None:
        """Give the pages back; what is asked for again is mapped again."""
        self._map.madvise(mmap.MADV_DONTNEED)


class _Place(NamedTuple):
    """Where a column of a side table lies in its file, in which it stands as in memory: one batch, no nulls."""

    start: int
    kind: np.dtype[Any]
    width: int
    """Values in each row."""


@dataclass(frozen=True)
class Rows:
    """The kept rows of a build. Every array has one entry per row, in canonical order."""

    chunks: tuple[ChunkResult, ...]
    sources: tuple[str, ...]
    _places: dict[str, dict[str, _Place]] = field(default_factory=dict, repr=False, compare=False)
    """Side columns of each chunk whose side table was opened, by its key. Arrow takes 0.4 ms to open one, as long as
    reading ten of its columns takes, and a build asks for columns two dozen times.
    """

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
        return Rows(tuple(chunk for chunk in self.chunks if chunk.source == source), self.sources, self._places)

    def column(self, name: str) -> NDArray[Any]:
        """A numeric side column of all rows; not a number where a chunk did not measure it, since only some sources
        need it.
        """
        return self.columns([name])[0]

    def columns(self, names: Sequence[str]) -> list[NDArray[Any]]:
        """Several numeric side columns."""
        # Read, not mapped: what stays mapped counts as this process's memory.
        found = [np.empty(len(self), self._kind(name)) for name in names]
        for chunk, part in self._parts():
            places = self._places_of(chunk)
            with FileIO(chunk.file("side")) as file:
                for name, column in zip(names, found, strict=True):
                    column[part] = _read(file, places[name], chunk.rows)[:, 0] if name in places else np.nan
        return found

    def width(self, name: str) -> int:
        """Size of the lists in a side column of fixed-size lists; 0 without chunks."""
        return next((self._places_of(chunk)[name].width for chunk in self.chunks), 0)

    def at(self, name: str, places: slice) -> U64:
        """The values at some places of a side column of fixed-size lists of 64-bit words, (places, rows)."""
        found = np.empty((len(range(self.width(name))[places]), len(self)), np.uint64)
        for chunk, part in self._parts():
            found[:, part] = self._whole(chunk, name)[:, places].T
        return found

    def keys(self, name: str) -> U64:
        """A 16-byte side column as (rows, 2) 64-bit words."""
        found = np.empty((len(self), 2), np.uint64)
        for chunk, part in self._parts():
            found[part] = self._whole(chunk, name)
        return found

    def _parts(self) -> Iterator[tuple[ChunkResult, slice]]:
        """The chunks, and which rows are theirs."""
        bounds = pairwise(self.offsets.tolist())
        return ((chunk, slice(start, end)) for chunk, (start, end) in zip(self.chunks, bounds, strict=True))

    def _places_of(self, chunk: ChunkResult) -> dict[str, _Place]:
        if chunk.key not in self._places:
            self._places[chunk.key] = _places(chunk.file("side"))
        return self._places[chunk.key]

    def _kind(self, name: str) -> np.dtype[Any]:
        """What holds the numbers of all chunks, and what stands for those that a chunk did not measure."""
        places = [self._places_of(chunk).get(name) for chunk in self.chunks]
        kinds = {np.dtype(np.float32) if place is None else place.kind for place in places}
        return np.result_type(*kinds) if kinds else np.dtype(np.float64)

    def _whole(self, chunk: ChunkResult, name: str) -> NDArray[Any]:
        with FileIO(chunk.file("side")) as file:
            return _read(file, self._places_of(chunk)[name], chunk.rows)

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

    def over_texts(self, rows: I64, make: Callable[[Segments, I64], Made], threads: int = 1) -> Iterator[Made]:
        """What is made of each chunk that holds some of the rows, in order: of its texts, and which rows of it they
        are.
        """
        parts = ((chunk, inside) for chunk, _, inside in self.by_chunk(rows))
        return in_threads(lambda part: make(part[0].texts(), part[1]), parts, threads)


def _places(path: Path) -> dict[str, _Place]:
    """Where each column of a side table is in its file, all in whole bytes and one batch, as they were written."""
    with pa.memory_map(str(path)) as source:
        first = source.read_buffer(1).address
        table = pa.ipc.open_file(source).read_all()
    return {name: _place(column, first) for name, column in zip(table.schema.names, table.columns, strict=True)}


def _place(column: pa.ChunkedArray, first: int) -> _Place:
    """first: address at which the file begins."""
    start = column.chunk(0).buffers()[-1].address - first if len(column) else 0
    if pa.types.is_fixed_size_binary(column.type):
        return _Place(start, np.dtype("<u8"), column.type.byte_width // 8)
    if pa.types.is_fixed_size_list(column.type):
        return _Place(start, np.dtype(column.type.value_type.to_pandas_dtype()), column.type.list_size)
    return _Place(start, np.dtype(column.type.to_pandas_dtype()), 1)


def _read(file: FileIO, place: _Place, rows: int) -> NDArray[Any]:
    """A side column, (rows, width)."""
    found = np.empty((rows, place.width), place.kind)
    if found.size:
        file.seek(place.start)
        if file.readinto(found.data.cast("B")) != found.nbytes:
            raise StoreError(f"{file.name!s}: the file ends inside a column; remove it and build again")
    return found


def in_order(results: Sequence[ChunkResult]) -> tuple[ChunkResult, ...]:
    """Chunk results in canonical order."""
    return tuple(sorted(results, key=lambda result: (result.source, result.ordinal)))
