"""Rows that are alike, found one by one as they are read from files that are no JSON, or where only some are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from didact.sources.moulds import Alike, CastRows, alike, slots
from didact.sources.row_reader import RowReader
from didact.sources.rows import Row
from didact.text.views import View

_MANY = 16
"""Kinds of rows with the same keys up to which another is made for a row that fits none."""
_SERVED = 4
"""Rows that each must have served for more to be made: where every row has its own value under some key, it is in vain.
"""
_UNKNOWN: Any = object()


class CastInTurn:
    """Takes those rows of a block that are like others."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._kinds: list[Alike] = []
        self._places: list[int] = []
        self._which: list[int] = []
        self._texts: list[str] = []
        self._counts: list[int] = []

    def takes(self, row: Row) -> bool:
        """Whether a row is taken; else it must be read for itself."""
        value = self._reader.named(row.value)
        if type(value) is not dict or row.notes:
            return False
        shape = self._shapes.get(keys := tuple(value))
        if shape is None:
            shape = self._shapes[keys] = _Shape(self._reader.adapter.moves, keys)
        texts = shape.texts(value)
        if texts is None:
            return False
        key = shape.rest(value), tuple(map(bool, texts))
        number = shape.known.get(key, _UNKNOWN)
        if number is _UNKNOWN:
            if not shape.goes_on():
                return False
            number = shape.known[key] = self._number(alike(value, shape.moved, self._reader))
        shape.served += 1
        if number is None:
            return False
        self._places.append(row.index - self._reader.block.first)
        self._which.append(number)
        self._texts.extend(texts)
        self._counts.append(len(texts))
        return True

    def _number(self, kind: Alike | None) -> int | None:
        if kind is None:
            return None
        self._kinds.append(kind)
        return len(self._kinds) - 1

    def taken(self) -> Iterator[CastRows]:
        """All that were taken, when there are any."""
        if self._places:
            view = View.of_texts(pa.array(self._texts, pa.string()))
            texts = slots(view.data, view.text_offsets, np.cumsum([0, *self._counts]).astype(np.int32))
            yield CastRows(np.array(self._places, np.int64), self._kinds, np.array(self._which, np.int64), texts)


def _taker(places: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What takes the values under some keys, as a tuple."""
    if len(places) == 1:
        (only,) = places
        return lambda given: (given[only],)
    return itemgetter(*places) if places else lambda given: ()


class _Shape:
    """The rows with some keys, in their order."""

    def __init__(self, moves: Mapping[str, Callable[[str], bool] | None], keys: Sequence[str]) -> None:
        self.moved = [key for key in keys if key in moves]
        self.known: dict[tuple[str, tuple[bool, ...]], int | None] = {}
        """By what stands under the other keys, and by which texts are empty."""
        self.served = 0
        self._looks = [(at, looks) for at, key in enumerate(self.moved) if (looks := moves[key]) is not None]
        self._take = _taker(self.moved)
        self._rest = _taker([key for key in keys if key not in moves])
        self._some = len(self.moved) < len(keys)

    def texts(self, row: dict[str, Any]) -> tuple[str, ...] | None:
        """The texts that are moved; None where one of them is none, says nothing but is not empty, or is looked at."""
        found = self._take(row)
        for text in found:
            if type(text) is not str or text.isspace():
                return None
        for at, looks in self._looks:
            if looks(found[at]):
                return None
        return found if found else None

    def rest(self, row: dict[str, Any]) -> str:
        """What stands under the other keys, spelt so that no two values are alike: not 0.0 and -0.0, nor 1 and true."""
        return repr(self._rest(row)) if self._some else ""

    def goes_on(self) -> bool:
        """Whether another mould is worth being made."""
        return len(self.known) < _MANY or len(self.known) * _SERVED < self.served
