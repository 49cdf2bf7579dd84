"""Cuts JSON arrays and objects: finds where their elements are without keeping them, and goes on after what is broken.

Bytes are looked at as latin-1 text, so that one character is one byte and the C scanner of the standard library finds
the ends. Whether a row is valid JSON in UTF-8 is judged by the worker; here a span that cannot be parsed is a row
like others.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from didact.sources.blocks import Block, Cursor, Cut, lines_at
from didact.sources.containers import DECODER, OBJECT_LIMIT, OBJECT_VALUES, ROW_VALUES, decode, is_dense
from didact.sources.files import ByteStream

_WORTH_A_KERNEL = 1 << 16
"""Characters of a text below which a kernel is not worth being loaded, even where others have been."""

COMMA_WITHOUT_ELEMENT = "a comma without an element before it"
COMMA_BEFORE_CLOSE = "a comma stands before the closing bracket"

_SPACE = re.compile(r"[ \t\r\n]*")
_OPENING = re.compile(r'\{[ \t\r\n]*"')
_LOOK_BACK = 256
"""Characters of white space that may stand between two elements when the first one is broken."""
_FIRST_KEY = re.compile(r'\{[ \t\r\n]*"((?:[^"\\]|\\.)*)"')
_KEPT_TAIL = 4096
_TRIES = 20_000
"""Objects that are tried as the next element after a broken one, in one stretch of text; what would need more was made
to keep a reader busy."""


@dataclass(slots=True)
class Scan:
    """What a look at a stretch of text found."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    """Places and descriptions of broken syntax between elements, which costs no row."""
    consumed: int = 0
    """How much of the text is settled; the rest must be looked at again with more text."""


class ValueScanner:
    """Finds the elements of an array, or JSON values that follow each other, in stretches of text.

    Elements that do not parse are spans too: up to the next object that shares a key with its neighbours and stands
    where an element can begin. That test keeps objects nested in a broken element from being taken for elements.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self.opened = opened
        self.embedded = opened
        self.finished = False
        """The array that was open from the start has been closed."""
        self.broken = False
        """The text at hand begins with something that is no JSON, as opposed to something long."""
        self.skipping = False
        """The text at hand continues an element that was given up."""
        self._closed = False
        self._after_value = False
        self._comma = -1
        self._keys: set[str] = set()
        self._neighbour: Any = None

    def scan(self, text: str, *, final: bool) -> Scan:
        """Look at a text that begins between elements, or inside one that was given up. `final`: nothing follows it."""
        found = Scan()
        place = 0
        if self.skipping:
            place, settled = self._next_element(text, 0, final)
            if not settled:
                found.consumed = len(text) if final else max(0, min(place, len(text) - _KEPT_TAIL))
                return found
            self.skipping = False
        quick = len(text) >= _WORTH_A_KERNEL and "numba" in sys.modules
        data = np.frombuffer(text.encode("latin-1") if quick else b"", np.uint8)
        while True:
            if quick and self.opened:
                before, place = place, self._pass_over(data, text, place, found)
                quick = place > before
            place = self._between(text, place, found)
            found.consumed = place
            if self.finished or place == len(text):
                break
            end, after, settled = self._element(text, place, final)
            if not settled:
                break
            found.spans.append((place, end))
            place, self._after_value, self._comma = after, not self.broken, -1
        if final and self.opened and not self.finished:
            found.notes.append((len(text), "the array is not closed"))
        return found

    def _pass_over(self, data: npt.NDArray[np.uint8], text: str, place: int, found: Scan) -> int:
        """Move over the elements in which a kernel finds no fault. data: the bytes of the text."""
        from didact.sources.array_kernel import elements

        spans = elements(data, place, self._after_value, self._comma).tolist()
        if not spans:
            return place
        found.spans += map(tuple, spans)
        start, end = spans[-1]
        self._neighbour, self.broken, self._after_value, self._comma = decode(text, start)[0], False, True, -1
        return int(end)

    def _between(self, text: str, place: int, found: Scan) -> int:
        """Move over white space, commas and brackets to where an element begins, and note what should not be there."""
        while True:
            place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
            symbol = text[place : place + 1]
            if symbol == ",":
                self._see_comma(place, found)
            elif symbol == "]":
                self._see_close(place, found)
                if self.finished:
                    return place + 1
            elif symbol == "[" and not self.opened:
                self.opened, self._closed, self._after_value = True, False, False
            else:
                if symbol and (self._closed or (self.opened and self._after_value and self._comma < 0)):
                    found.notes.append(
                        (place, "text after the end of the array" if self._closed else "no comma between two elements")
                    )
                    self._closed = self._after_value = False
                return place
            place += 1

    def _see_comma(self, place: int, found: Scan) -> None:
        if self.opened and (not self._after_value or self._comma >= 0):
            found.notes.append((place, COMMA_WITHOUT_ELEMENT))
        self._comma = place

    def _see_close(self, place: int, found: Scan) -> None:
        if not self.opened:
            found.notes.append((place, "a bracket closes what was never opened"))
        elif self._comma >= 0:
            found.notes.append((place, COMMA_BEFORE_CLOSE))
        self.finished = self.embedded
        self.opened, self._closed, self._comma = False, True, -1

    def _element(self, text: str, place: int, final: bool) -> tuple[int, int, bool]:
        """End of the element, where to go on, and whether both are certain."""
        self.broken = False
        value, end, verdict = decode(text, place)
        if verdict == "whole" or (final and end > place):
            self._neighbour = value
            return end, end, True
        if verdict == "unsure" and not final:
            return place, place, False
        self.broken = True
        after, settled = self._next_element(text, place, final)
        if settled:
            return place + len(text[place:after].rstrip(" \t\r\n,")), after, True
        if not final:
            return place, place, False
        return self._last_broken(text, place)

    def _last_broken(self, text: str, place: int) -> tuple[int, int, bool]:
        """Nothing readable follows: the rest is one span, without the bracket that closes the array."""
        rest = text[place:].rstrip()
        if self.opened and rest.endswith("]") and len(rest) > 1:
            inner = rest[:-1].rstrip(" \t\r\n,")
            return place + len(inner), place + len(rest) - 1, True
        return place + len(rest), len(text), True

    def _next_element(self, text: str, place: int, final: bool) -> tuple[int, bool]:
        """Where the next element begins after something unreadable at `place`, and whether that is certain."""
        keys = self._keys_around(text, place)
        tries = _TRIES
        for start in _candidates(text, place + 1):
            value, _, verdict = decode(text, start)
            if verdict == "whole" and not keys.isdisjoint(value):
                return start, True
            if verdict == "unsure" and not final and _first_key(text, start) in keys:
                return start, False
            # One that is unsure was looked at to the end of the text.
            tries -= 1 if verdict != "unsure" else _TRIES // 20
            if tries <= 0:
                break
        return len(text), False

    def _keys_around(self, text: str, place: int) -> set[str]:
        """Keys of the last readable element, and the first key of the broken one."""
        if isinstance(self._neighbour, dict):
            self._keys = set(self._neighbour)
        first = None if self.skipping else _first_key(text, place)
        if first is not None:
            self._keys.add(first)
        return self._keys


def _candidates(text: str, place: int) -> Iterator[int]:
    """Where an element may begin: an object behind a comma or bracket, or at the beginning of a line."""
    while (place := text.find("{", place)) >= 0:
        before = text[max(0, place - _LOOK_BACK) : place]
        close = before.rstrip(" \t\r\n")
        if (close.endswith((",", "}", "]")) or "\n" in before[len(close) :]) and _OPENING.match(text, place):
            yield place
        place += 1


def _first_key(text: str, place: int) -> str | None:
    match = _FIRST_KEY.match(text, place)
    return match[1] if match else None


def cut_values(stream: ByteStream, cursor: Cursor, block_bytes: int, row_limit: int) -> Cut:
    """Blocks of an array's elements, or of JSON values that follow each other; never the whole file in memory."""
    scanner, text, last = ValueScanner(), "", False
    while not last:
        # Twice as much each time, so that a long element is not looked at over and over; not far past the limit.
        asked = max(block_bytes, min(len(text), row_limit + 1 - len(text)))
        piece = stream.read(asked)
        last = len(piece) < asked
        text += piece.decode("latin-1")
        found = scanner.scan(text, final=last and not stream.damage)
        yield from _blocks_of(text, found, cursor)
        text = text[found.consumed :]
        if not last and (len(text) > row_limit or is_dense(text, ROW_VALUES)):
            yield from _give_up(scanner, cursor, row_limit, len(text))
    if stream.damage:
        yield cursor.lost_row("IO004", f"{stream.damage}; what follows is lost")


def _give_up(scanner: ValueScanner, cursor: Cursor, row_limit: int, held: int) -> Cut:
    """Count an element too large to be held as one lost row, once, and have the scanner look for the next."""
    if not scanner.skipping:
        if scanner.broken:
            yield cursor.lost_row("JS001", f"the row is not valid JSON and goes on for more than {held} bytes")
        elif held > row_limit:
            yield cursor.lost_row("JS007", f"the row is longer than {row_limit} bytes")
        else:
            yield cursor.lost_row("JS007", f"the row holds more than {ROW_VALUES} values")
    scanner.skipping = True


def _blocks_of(text: str, found: Scan, cursor: Cursor, head: bytes = b"") -> Cut:
    """The block of what was found, and a finding for each note."""
    data = text[: found.consumed].encode("latin-1")
    places = np.array([place for place, _ in found.notes], np.int64)
    for (place, message), line in zip(found.notes, lines_at(data, places, cursor.line).tolist(), strict=True):
        before = sum(start < place for start, _ in found.spans)
        yield cursor.finding("JS008", message, line=line, offset=cursor.offset + place, ahead=before)
    if found.spans:
        yield _block(data, found.spans, cursor, head)
    else:
        cursor.skip(data)


def _block(data: bytes, spans: Iterable[tuple[int, int]], cursor: Cursor, head: bytes) -> Block:
    bounds = np.array(list(spans), np.int64).reshape(-1, 2)
    starts, ends = np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1])
    return cursor.block(data, starts, ends, lines_at(data, starts, cursor.line), head=head)


def cut_object(stream: ByteStream, cursor: Cursor, list_key: str) -> Cut:
    """One block with the elements of an object's list; its head is the object without that list.

    The file is read whole, up to `OBJECT_LIMIT` bytes. What is broken inside the list costs the broken elements; what
    is broken before it costs the file, as one row.
    """
    content = stream.read(OBJECT_LIMIT + 1)
    if stream.damage:
        yield cursor.lost_row("IO004", f"{stream.damage}; the file is read whole or not at all")
        return
    if len(content) > OBJECT_LIMIT or is_dense(content, OBJECT_VALUES):
        most = f"{OBJECT_LIMIT} bytes or {OBJECT_VALUES} values"
        yield cursor.lost_row("JS007", f"an object of more than {most}; the file is read whole or not at all")
        return
    text = content.decode("latin-1")
    try:
        head, found = _split_object(text, list_key)
    except (json.JSONDecodeError, RecursionError) as error:
        yield cursor.lost_row("JS001", f"the file's object cannot be read: {error}")
        return
    if found is None:
        yield cursor.lost_row("TK001", f"the file has no list '{list_key}', or an empty one")
        return
    yield from _blocks_of(text, found, cursor, head)


def _split_object(text: str, list_key: str) -> tuple[bytes, Scan | None]:
    """An object's other fields, verbatim as an object, and what its list holds (None: no list, or an empty one)."""
    fields: list[str] = []
    found: Scan | None = None
    place = _past(text, 0, "{")
    while text[place : place + 1] != "}":
        try:
            value, after, is_list = _field(text, place, list_key)
        except json.JSONDecodeError:
            if found is None:
                raise
            found.notes.append((place, "the object is not valid JSON after its list"))
            break
        if is_list:
            found = _list_scan(text, value + 1)
            after = found.consumed
        else:
            fields.append(text[place:after])
        place = _after_field(text, after, found)
    head = "{" + ",".join(fields) + "}"
    return head.encode("latin-1"), _whole(found, len(text)) if found and found.spans else None


def _field(text: str, place: int, list_key: str) -> tuple[int, int, bool]:
    """Where the value of the field at `place` begins and ends, and whether it is the list, which is not looked into."""
    key, end = DECODER.raw_decode(text, place)
    value = _past(text, end, ":")
    if key == list_key and text[value : value + 1] == "[":
        return value, value, True
    return value, DECODER.raw_decode(text, value)[1], False


def _list_scan(text: str, start: int) -> Scan:
    """The elements of the list whose first one begins at `start`, with places in the whole text."""
    scan = ValueScanner(opened=True).scan(text[start:], final=True)
    spans = [(begin + start, end + start) for begin, end in scan.spans]
    return Scan(spans, [(place + start, note) for place, note in scan.notes], scan.consumed + start)


def _after_field(text: str, after: int, found: Scan | None) -> int:
    """Where the next field begins, or the brace that closes the object; its lack is forgiven once the list is read."""
    after = _SPACE.match(text, after).end()  # type: ignore[union-attr]
    if text[after : after + 1] == "}":
        return after
    try:
        return _past(text, after, ",")
    except json.JSONDecodeError:
        if found is None:
            raise
        return after


def _whole(found: Scan, size: int) -> Scan:
    return Scan(found.spans, found.notes, size)


def _past(text: str, place: int, symbol: str) -> int:
    """The place after a symbol that must come next, and after the white space around it."""
    place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
    if text[place : place + 1] != symbol:
        raise json.JSONDecodeError(f"Expecting '{symbol}'", text, place)
    return _SPACE.match(text, place + 1).end()  # type: ignore[union-attr]
