"""Cuts web archives (WARC, WET) at the bounds of their records, and web pages: one page is one row.

Only headers are looked at here; what a page says is read by the worker. Bounds are found by hand and not by a WARC
library, because one that meets a broken record gives up the stream, and because blocks must lie where the file has
them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from didact.sources.blocks import Cursor, Cut, lines_at
from didact.sources.files import ByteStream

PAGE_LIMIT = 4 << 20
"""Bytes of the longest page that is read, decoded: its tree takes up to eighty times as much memory."""

HTML = frozenset({"text/html", "application/xhtml+xml"})
MEMBER = b"WARC/"
"""How the decompressed member of an archive begins."""

_HEAD_LIMIT = 64 << 10
_PIECE = 1 << 20
_CARRIED = 4 << 10
"""Bytes of a record without text that is carried along in a block rather than ending it."""
_BOUNDARY = re.compile(rb"(?=WARC/\d\.\d\r?\n[A-Za-z][A-Za-z-]{0,60}:)")
_BOUNDARY_BYTES = 80
_NEWLINES = re.compile(rb"[\r\n]*")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_END = re.compile(rb"[\r\n]*(?:\Z|(?=WARC/))")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})")
_LISTED = 5


def cut_page(stream: ByteStream, cursor: Cursor, block_bytes: int, row_limit: int) -> Cut:
    """The whole file as one row."""
    del block_bytes
    limit = min(row_limit, PAGE_LIMIT)
    data = stream.read(limit + 1)
    if len(data) > limit:
        yield cursor.lost_row("JS007", f"the page is longer than {limit} bytes")
    elif data.strip():
        yield cursor.block(data, np.zeros(1, np.int64), np.array([len(data)]), np.ones(1, np.int64))
    if stream.damage:
        yield cursor.lost_row("IO004", f"{stream.damage}; what follows is lost")


def field_of(head: bytes, name: bytes) -> bytes:
    """The value of a header field, empty when there is none."""
    found = re.search(rb"^" + name + rb":[ \t]*([^\r\n]*)", head, re.IGNORECASE | re.MULTILINE)
    return found[1].strip() if found else b""


def media_type(value: bytes) -> str:
    """A media type without its parameters, in lower case."""
    return value.partition(b";")[0].strip().lower().decode("latin-1")[:60]


class Bounds(NamedTuple):
    """Where a record's head and body end, in the bytes at hand."""

    head: int
    body: int


@dataclass(slots=True)
class _Archive:
    """An archive's bytes from the first row that is not handed over yet; `place` is where the next record begins."""

    stream: ByteStream
    cursor: Cursor
    data: bytes = b""
    place: int = 0
    last: bool = False
    spans: list[tuple[int, int]] = field(default_factory=list)
    textless: Counter[str] = field(default_factory=Counter)

    def have(self, size: int) -> bool:
        """Read until `size` bytes are at hand; whether they are."""
        while len(self.data) < size and not self.last:
            asked = max(_PIECE, size - len(self.data))
            piece = self.stream.read(asked)
            self.last = len(piece) < asked
            self.data += piece
        return len(self.data) >= size

    def flush(self) -> Cut:
        """Hand over the rows found so far, and forget the bytes up to `place`."""
        done, self.data, self.place = self.data[: self.place], self.data[self.place :], 0
        if not self.spans:
            self.cursor.skip(done)
            return
        bounds = np.array(self.spans, np.int64)
        starts, ends = np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1])
        self.spans = []
        yield self.cursor.block(done, starts, ends, lines_at(done, starts, self.cursor.line))

    def take(self, bounds: Bounds) -> Cut:
        """Move past a record, which is a row if it may hold a text."""
        if self.holds_text(bounds):
            self.spans.append((self.place, bounds.body))
        elif bounds.body - self.place > _CARRIED:
            yield from self.flush_around(bounds.body)
            return
        self.place = bounds.body

    def holds_text(self, bounds: Bounds) -> bool:
        """Whether a record may hold a text; one that was meant to, but does not, is counted."""
        reason = _textless(self.data[self.place : bounds.head], self.data[bounds.head : bounds.body])
        if reason:
            self.textless[reason] += 1
        return reason is None

    def flush_around(self, end: int) -> Cut:
        """Hand over the rows found so far, and drop the bytes up to `end`, which need not be at hand yet."""
        size = end - self.place
        yield from self.flush()
        while size > 0 and self.have(min(size, _PIECE)):
            part = min(size, len(self.data))
            self.cursor.skip(self.data[:part])
            self.data, size = self.data[part:], size - part
        if size > 0:
            self.cursor.skip(self.data)
            self.data = b""


def cut_archive(stream: ByteStream, cursor: Cursor, block_bytes: int, row_limit: int) -> Cut:
    """Blocks of the records that may hold text; a record whose bounds are broken costs one row, and the next is found.

    Records of other kinds are no rows; those that were expected to hold text but do not are counted in one finding.
    """
    archive = _Archive(stream, cursor)
    while True:
        yield from _cut_whole_records(archive, block_bytes, row_limit)
        yield from archive.flush()
        if not stream.damage:
            break
        resumed = stream.resume(MEMBER)
        went_on = "reading goes on at the next record that begins a compressed member"
        yield cursor.lost_row("IO004", f"{stream.damage}; {went_on if resumed else 'what follows is lost'}")
        cursor.skip(archive.data)
        if not resumed:
            break
        archive.data, archive.last, stream.damage = b"", False, None
    if archive.textless:
        yield cursor.finding("WB002", _told(archive.textless))


def _cut_whole_records(archive: _Archive, block_bytes: int, row_limit: int) -> Cut:
    """Rows up to the end of the stream, or to its damage."""
    while _skip_newlines(archive):
        bounds, problem = _bounds(archive, row_limit)
        if bounds is not None and not problem:
            yield from archive.take(bounds)
        elif archive.last and archive.stream.damage and not _next_boundary(archive, 1):
            yield from archive.flush()
            return
        elif bounds is not None:
            yield from _pass_over(archive, bounds, problem)
        else:
            yield from archive.flush_around(archive.place)
            yield archive.cursor.lost_row("WB003", problem)
            yield from _resync(archive)
        if archive.place >= block_bytes:
            yield from archive.flush()


def _pass_over(archive: _Archive, bounds: Bounds, problem: str) -> Cut:
    """Move past a record that is too long to be held: a lost row, unless it holds no text anyway."""
    lost, size = archive.holds_text(bounds), bounds.body - archive.place
    yield from archive.flush_around(archive.place)
    if lost:
        yield archive.cursor.lost_row("JS007", problem)
    yield from archive.flush_around(size)


def _skip_newlines(archive: _Archive) -> bool:
    """Move to the next byte that is no line end; False at the end of the stream."""
    while archive.have(archive.place + 1):
        archive.place = _NEWLINES.match(archive.data, archive.place).end()  # type: ignore[union-attr]
        if archive.place < len(archive.data):
            return True
    return False


def _bounds(archive: _Archive, row_limit: int) -> tuple[Bounds | None, str]:
    """The bounds of the record at hand, or what is wrong with it; both when it is only too long."""
    archive.have(archive.place + _HEAD_LIMIT)
    start = archive.place
    if not archive.data.startswith(MEMBER, start):
        return None, "no record begins where one should"
    end = _HEAD_END.search(archive.data, start, start + _HEAD_LIMIT)
    if end is None:
        return None, f"the record's header does not end within {_HEAD_LIMIT} bytes"
    length = field_of(archive.data[start : end.start()], rb"Content-Length")
    if not length.isdigit() or len(length) > 18:
        return None, "the record's header does not say how long it is"
    bounds = Bounds(end.end(), end.end() + int(length))
    if bounds.body - start > row_limit:
        return bounds, f"the record is longer than {row_limit} bytes"
    return _checked(archive, bounds)


def _checked(archive: _Archive, bounds: Bounds) -> tuple[Bounds | None, str]:
    """The bounds, if the stream agrees with them: after the body comes another record, or nothing, or at least the
    end of a record that holds no other.
    """
    size = bounds.body - bounds.head
    if not archive.have(bounds.body):
        return None, f"the record breaks off after {len(archive.data) - bounds.head} of its {size} bytes"
    archive.have(bounds.body + len(MEMBER) + 4)
    ended = _END.match(archive.data, bounds.body) or (
        _HEAD_END.match(archive.data, bounds.body) and not _BOUNDARY.search(archive.data, bounds.head, bounds.body)
    )
    if ended:
        return bounds, ""
    return None, f"the record does not end after the {size} bytes that its header states"


def _next_boundary(archive: _Archive, start: int) -> int | None:
    """Where, in the bytes at hand, a record begins after `place`."""
    found = _BOUNDARY.search(archive.data, archive.place + start)
    return found.end() if found else None


def _resync(archive: _Archive) -> Cut:
    """Drop bytes until a record begins."""
    begin = 1
    while (found := _next_boundary(archive, begin)) is None:
        if archive.last:
            yield from archive.flush_around(len(archive.data))
            return
        yield from archive.flush_around(max(0, len(archive.data) - _BOUNDARY_BYTES))
        begin = 0
        archive.have(len(archive.data) + _PIECE)
    yield from archive.flush_around(found)


def _textless(head: bytes, body: bytes) -> str | None:
    """Why a record holds no text, as it is counted; None when it may hold one. Empty: it was never meant to."""
    kind = field_of(head, rb"WARC-Type").lower()
    if kind == b"response":
        return _textless_response(head, body)
    uri = field_of(head, rb"WARC-Target-URI").strip(b"<>").lower()
    if kind not in (b"conversion", b"resource") or uri.startswith(b"metadata:"):
        return ""
    return _unread_type(field_of(head, rb"Content-Type"))


def _textless_response(head: bytes, body: bytes) -> str | None:
    status = _STATUS.match(body)
    if status is None:
        return f"not HTTP ({media_type(field_of(head, rb'Content-Type')) or 'no type'})"
    if not status[1].startswith(b"2"):
        return f"HTTP status {status[1].decode()}"
    end = _HEAD_END.search(body, 0, _HEAD_LIMIT)
    stated = field_of(body[: end.start()] if end else body[:_HEAD_LIMIT], rb"Content-Type")
    return _unread_type(field_of(head, rb"WARC-Identified-Payload-Type") or stated)


def _unread_type(stated: bytes) -> str | None:
    """A media type that is neither text nor a page; None for one that is, or that nobody states."""
    kind = media_type(stated)
    return None if not kind or kind in HTML or kind == "text/plain" else kind


def _told(textless: Counter[str]) -> str:
    """How many records hold no text, by reason, the most frequent first."""
    ordered = sorted(textless.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{count} {reason}" for reason, count in ordered[:_LISTED]]
    if others := sum(count for _, count in ordered[_LISTED:]):
        shown.append(f"{others} others")
    return f"records without text: {', '.join(shown)}"
