"""What a version holds, as arrays: which records, from which rows, in which split; for comparison with another version.

About 60 bytes a record, whatever its text is: ten million records take 600 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from didact.curate.order import I64, U64, mixed
from didact.errors import CorruptVersion
from didact.store.manifest import FileEntry
from didact.store.version import Version

SPLITS = ("train", "validation", "test")

_COLUMNS = ("id", "content", "key", "row", "source", "epoch")
_BATCH = 1 << 16


@dataclass(frozen=True, slots=True)
class Holdings:
    """One entry per record in the shards of a version; repeats and other mixes count once. All arrays have one order,
    that of the shards.
    """

    ids: U64
    """(n, 2): ids of the contents as read."""
    contents: U64
    """(n, 2): ids of the contents as cleaned."""
    places: U64
    """(n,): hashes of source, path and index. Two of 10^7 places share one with a chance of 3 in 10^6."""
    keys: U64
    """(n,): hashes of source and author's identifier; 0 where the author gave none."""
    splits: NDArray[np.int8]
    """(n,): index into SPLITS."""
    rows: I64
    """(n,): where the record is first met, counted over the shards of `shards_of`."""

    def __len__(self) -> int:
        return len(self.rows)


def shards_of(version: Version) -> list[tuple[str, FileEntry]]:
    """Every shard with its split, in the manifest's order."""
    files = [file for file in version.manifest.files if file.path.startswith("data/")]
    return [(file.path.rsplit("/", 1)[1].rsplit("-", 3)[0], file) for file in files]


def holdings(version: Version) -> Holdings:
    """Read what a version holds from the columns of its shards; texts are not touched.

    Raises CorruptVersion when a shard lacks a column, or holds an id that is none.
    """
    parts: list[Holdings] = []
    first = 0
    for split, file in shards_of(version):
        for batch in batches(version.file(file.path), _COLUMNS):
            parts.append(_part(batch, SPLITS.index(split), first, version.file(file.path)))
            first += batch.num_rows
    return _once(parts)


def batches(path: Path, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Some columns of a Parquet file of a version, piece by piece. Raises CorruptVersion when one is not there."""
    with opened(path, columns) as file:
        yield from file.iter_batches(_BATCH, columns=list(columns))


@contextmanager
def opened(path: Path, columns: tuple[str, ...]) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a version that has some columns. Raises CorruptVersion when one is not there, and inside the
    block for what cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            if missing := [name for name in columns if name not in file.schema_arrow.names]:
                raise CorruptVersion(f"{path}: lacks the columns {', '.join(missing)}; build the version again")
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptVersion(f"{path}: cannot be read as Parquet ({error}); `didact verify` tells more") from error


def chosen_batches(version: Version, rows: I64, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Some columns of some rows, which ascend and are counted over the shards of `shards_of`."""
    first = 0
    for _, file in shards_of(version):
        low, high = np.searchsorted(rows, [first, first + file.rows])
        if low < high:
            yield from taken(batches(version.file(file.path), columns), rows[low:high] - first)
        first += file.rows


def taken(pieces: Iterable[pa.RecordBatch], rows: I64) -> Iterator[pa.RecordBatch]:
    """Some rows, which ascend, of pieces one after the other. Arrow would join the pieces first, which may be too large
    for that.
    """
    first = 0
    for piece in pieces:
        low, high = np.searchsorted(rows, [first, first + len(piece)])
        if low < high:
            yield piece.take(pa.array(rows[low:high] - first))
        first += len(piece)


def _part(batch: pa.RecordBatch, split: int, first: int, path: Path) -> Holdings:
    ids = hex_words(batch.column("id"), path)
    cleaned = hex_words(batch.column("content"), path)
    changed = batch.column("content").is_valid().to_numpy(zero_copy_only=False)
    sources, row = batch.column("source"), batch.column("row")
    fresh = batch.column("epoch").to_numpy(zero_copy_only=False) == 0
    return Holdings(
        ids[fresh],
        np.where(changed[:, None], cleaned, ids)[fresh],
        place_hashes(sources, row.field("path"), row.field("index"))[fresh],
        _key_hashes(sources, batch.column("key"))[fresh],
        np.full(int(fresh.sum()), split, np.int8),
        np.flatnonzero(fresh) + first,
    )


def _once(parts: list[Holdings]) -> Holdings:
    """The parts together, each place once: a mix may repeat a record, and another mix may hold it as well."""
    empty = (np.zeros((0, 2), np.uint64), np.zeros((0, 2), np.uint64), *[np.zeros(0, np.uint64)] * 2)
    columns = [
        np.concatenate([none, *(getattr(part, name) for part in parts)])
        for name, none in zip(
            Holdings.__dataclass_fields__, (*empty, np.zeros(0, np.int8), np.zeros(0, np.int64)), strict=True
        )
    ]
    first = np.sort(np.unique(columns[2], return_index=True)[1])
    return Holdings(*(column[first] for column in columns))


_NIBBLE = np.full(256, 255, np.uint8)
_NIBBLE[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def hex_words(column: pa.Array, path: Path) -> U64:
    """Ids of 32 hex digits as (n, 2) 64-bit words; nulls as zeros. Raises CorruptVersion for anything else."""
    texts = column.fill_null("0" * 32) if column.null_count else column
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if not (np.diff(offsets) == 32).all():
        raise CorruptVersion(f"{path}: an id is not 32 hex digits long; `didact verify` tells more")
    if not len(texts):
        return np.zeros((0, 2), np.uint64)
    digits = _NIBBLE[np.frombuffer(texts.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(-1, 32)]
    if (digits == 255).any():
        raise CorruptVersion(f"{path}: an id holds what is no hex digit; `didact verify` tells more")
    return ((digits[:, 0::2] << 4) | digits[:, 1::2]).view("<u8").astype(np.uint64)


def place_hashes(sources: pa.Array, paths: pa.Array, indexes: pa.Array) -> U64:
    """One 64-bit hash for each source, path and index."""
    source, path = sources.dictionary_encode(), paths.dictionary_encode()
    source_of, path_of = source.indices.to_numpy(), path.indices.to_numpy()
    files = source_of.astype(np.int64) * (len(path.dictionary) + 1) + path_of
    used, inverse = np.unique(files, return_inverse=True)
    names = [
        f"{source.dictionary[code // (len(path.dictionary) + 1)]}\0{path.dictionary[code % (len(path.dictionary) + 1)]}"
        for code in used.tolist()
    ]
    hashes = np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names], np.uint64)
    numbers: NDArray[np.int64] = indexes.to_numpy(zero_copy_only=False)
    return hashes[inverse] ^ mixed(numbers.astype(np.uint64), 1)


def _key_hashes(sources: pa.Array, keys: pa.Array) -> U64:
    if keys.null_count == len(keys):
        return np.zeros(len(keys), np.uint64)
    pairs = zip(sources.to_pylist(), keys.to_pylist(), strict=True)
    hashed = (0 if key is None else xxhash.xxh3_64_intdigest(f"{source}\0{key}".encode()) for source, key in pairs)
    return np.fromiter(hashed, np.uint64, len(keys))
