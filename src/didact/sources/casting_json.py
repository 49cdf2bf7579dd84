"""Rows of JSON that are alike, found by a kernel: none of them is parsed but one of each kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.sources.containers import ROW_VALUES
from didact.sources.moulds import Alike, CastRows, alike, slots
from didact.sources.row_kernel import Keys, Texts, texts_of
from didact.sources.row_reader import RowReader
from didact.sources.rows import Row, rows

_SHAPES = 16
"""Sets of keys of a block that are looked for."""
FEWEST = 8
"""Rows of a kind that are worth a mould: it takes 0.3 ms to make, and a row that is read for itself 0.04."""


def cast_json(reader: RowReader, row_limit: int) -> Iterator[CastRows]:
    """The rows of a block of JSON that are like others, by their keys.

    A row that holds too many values or bytes is left out, as is one that begins a set of keys and has a fault itself.
    """
    block = reader.block
    sizes = block.ends - block.starts
    left = np.flatnonzero(sizes <= min(row_limit, ROW_VALUES))
    for _ in range(_SHAPES):
        if len(left) < FEWEST:
            return
        rest = np.ones(len(left), np.bool_)
        rest[0] = False
        names = _names(reader, _value(reader, left[0]))
        moved = [name for name in names.values() if name in reader.adapter.moves]
        if moved:
            keys = Keys.of(list(names), [key for key, name in names.items() if name in moved])
            texts = texts_of(block.data, block.starts[left], block.ends[left], keys)
            rest &= ~texts.fits
            yield from _cast(reader, moved, texts, left[texts.fits])
        left = left[rest]


def _value(reader: RowReader, number: int) -> dict[str, Any]:
    """What a row holds; nothing where it is no object or anything is odd about it."""
    (row,) = rows(reader.block, chosen=np.array([number]))
    return row.value if isinstance(row, Row) and not row.notes and type(row.value) is dict else {}


def _names(reader: RowReader, value: dict[str, Any]) -> dict[str, str]:
    """For each key of a row, in their order, the name that the format has for it; nothing where that depends on more
    than the keys.
    """
    if any(key not in value and "/" in key for key in reader.source.columns.values()):
        return {}
    named = reader.named({key: key for key in value})
    names = {key: name for name, key in named.items()}
    return names if list(names) == list(value) else {}


def _cast(reader: RowReader, moved: Sequence[str], texts: Texts, places: NDArray[np.int64]) -> Iterator[CastRows]:
    """Those of some rows that are of a kind with others. places: their numbers in the block."""
    firsts, counts = np.unique(texts.first, return_counts=True)
    number = np.full(len(places), -1, np.int64)
    kinds: list[Alike] = []
    for first in firsts[counts >= FEWEST].tolist():
        # What the kernel does not look at beside the texts, a number's size or a key that stands twice, the first of a
        # kind has, too.
        value = _value(reader, places[first])
        kind = alike(reader.named(value), moved, reader) if value else None
        if kind is not None:
            number[first] = len(kinds)
            kinds.append(kind)
    which = number[texts.first]
    chosen = np.flatnonzero((which >= 0) & ~_looked_at(reader, moved, texts))
    if len(chosen):
        bounds = np.append(chosen * len(moved), len(texts.bounds) - 1).astype(np.int32)
        yield CastRows(places[chosen], kinds, which[chosen], slots(texts.data, texts.bounds.astype(np.int32), bounds))


def _looked_at(reader: RowReader, moved: Sequence[str], texts: Texts) -> NDArray[np.bool_]:
    """Of each row whether the adapter looks at one of its texts."""
    count, sizes = len(texts.first), np.diff(texts.bounds).reshape(-1, len(moved))
    found = np.zeros(count, np.bool_)
    every = pa.LargeStringArray.from_buffers(
        len(texts.bounds) - 1, pa.py_buffer(texts.bounds), pa.py_buffer(texts.data)
    )
    for at, key in enumerate(moved):
        looks = reader.adapter.moves[key]
        if looks is not None:
            some = np.flatnonzero(sizes[:, at])
            said = every.take(pa.array(some * len(moved) + at)).to_pylist()
            found[some] |= np.fromiter(map(looks, said), np.bool_, len(said))
            found[sizes[:, at] == 0] |= looks("")
    return found
