"""Rows that differ only in what their texts say become records that do too: one of them is read for all, and the others
are cast in its mould.

Which texts an adapter puts into the record without looking at them, it says itself (`Adapter.moves`). That they do
arrive there, each at one place and nowhere else, is seen from the record of a row whose texts are marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import xxhash

from didact.canonical import canonical_json
from didact.records import Record
from didact.records.checks import always_checked
from didact.records.columns import Mould, mould_of
from didact.records.forms import unused_mark

Looks = Callable[[str], bool]
"""Whether an adapter looks at a text."""
Read = Callable[[Any], Record | None]
"""Reads a row; None where it is rejected or anything is odd about it."""

_MANY = 16
"""Moulds of rows with the same keys up to which another is made for a row that fits none."""
_SERVED = 4
"""Rows that each must have served for more to be made: where every row has its own value under some key, it is in vain.
"""


def _taker(places: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """What takes the values at some places, as a tuple."""
    if len(places) == 1:
        (only,) = places
        return lambda given: (given[only],)
    return itemgetter(*places) if places else lambda given: ()


class Alike:
    """What all records of some rows are, but for what their texts say."""

    __slots__ = ("_content", "_order", "_own", "_spoken", "mould")

    def __init__(self, mould: Mould, texts: Sequence[int | str], content: list[Any]) -> None:
        """texts: of each text of the record which of the row's texts it is, or what it says in all these records.
        content: what the record's id is a hash of, see `Common.content`.
        """
        self.mould = mould
        self._own = tuple(text for text in texts if isinstance(text, str))
        own = iter(range(-len(self._own), 0))
        self._order = _taker([next(own) if isinstance(text, str) else text for text in texts])
        self._content = content
        self._spoken: list[list[str]] = content[1]

    def filled(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The record's texts, from the row's."""
        return self._order(given + self._own)

    def identity(self, texts: Sequence[str]) -> bytes:
        """The id of the record with these texts."""
        for spoken, text in zip(self._spoken, texts, strict=True):
            spoken[2] = text
        return xxhash.xxh3_128_digest(canonical_json(self._content))


class Cast(NamedTuple):
    """A record: what it has in common with others, and its texts."""

    alike: Alike
    texts: Sequence[str]


class Casting:
    """Casts the rows of a block."""

    def __init__(self, moves: Mapping[str, Looks | None], read: Read, source: str, beside: str = "") -> None:
        """moves: see `Adapter`. source: the source's name. beside: what may get into records besides what is in their
        rows, such as a header, so that no mark occurs in it.
        """
        self._moves, self._read, self._source, self._beside = moves, read, source, beside
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def cast(self, row: Any) -> Cast | None:
        """The record of a row; None where the row itself must be read."""
        if type(row) is not dict:
            return None
        shape = self._shapes.get(keys := tuple(row))
        if shape is None:
            shape = self._shapes[keys] = _Shape(self._moves, keys)
        texts = shape.texts(row)
        if texts is None:
            return None
        key = shape.rest(row), tuple(map(bool, texts))
        alike = shape.known.get(key, _UNKNOWN)
        if alike is _UNKNOWN:
            if not shape.goes_on():
                return None
            alike = shape.known[key] = self._alike(row, shape.moved, texts)
        shape.served += 1
        return None if alike is None else Cast(alike, alike.filled(texts))

    def _alike(self, row: dict[str, Any], moved: Sequence[str], texts: Sequence[str]) -> Alike | None:
        """What rows like this one become, seen from the record of one whose texts are marks; None where not each mark
        arrives at one place, or the record is looked at whatever its texts say.
        """
        try:
            mark = unused_mark(self._beside + orjson.dumps(row).decode())
            marks = [mark.format(at) if text else "" for at, text in enumerate(texts)]
        except orjson.JSONEncodeError:
            return None
        record = self._read(row | dict(zip(moved, marks, strict=True)))
        if record is None or always_checked(record):
            return None
        own = record.texts()
        found = re.compile(mark.format(r"(\d+)"))
        places = [int(match[1]) if (match := found.fullmatch(text.text)) else None for text in own]
        arrived = sorted(place for place in places if place is not None)
        if arrived != [at for at, text in enumerate(texts) if text]:
            return None
        content = record.content(own)
        record.assign(source=self._source)
        mould = mould_of(record, own)
        said = tuple(text.text if place is None else place for text, place in zip(own, places, strict=True))
        rest = (mould.skeleton.decode(), *filter(None, mould.stated), *(text for text in said if isinstance(text, str)))
        elsewhere = (*rest, canonical_json(content[2:]).decode())
        return None if any(map(found.search, elsewhere)) else Alike(mould, said, content)


_UNKNOWN: Any = object()


class _Shape:
    """The rows with some keys, in their order."""

    def __init__(self, moves: Mapping[str, Looks | None], keys: Sequence[str]) -> None:
        self.moved = [key for key in keys if key in moves]
        self.known: dict[tuple[str, tuple[bool, ...]], Alike | None] = {}
        """By what stands under the other keys, and by which texts are empty."""
        self.served = 0
        self._looks = [(at, looks) for at, key in enumerate(self.moved) if (looks := moves[key]) is not None]
        self._take: Callable[[Any], tuple[Any, ...]] = _taker(self.moved)
        self._rest: Callable[[Any], tuple[Any, ...]] = _taker([key for key in keys if key not in moves])
        self._some = len(self.moved) < len(keys)

    def texts(self, row: dict[str, Any]) -> tuple[str, ...] | None:
        """The texts that are moved; None where one of them is none, or is looked at."""
        found = self._take(row)
        for text in found:
            if type(text) is not str:
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
