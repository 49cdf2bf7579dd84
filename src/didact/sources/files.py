"""Files of a source, and their bytes: listed in one order, decompressed by content, a piece in memory at a time."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import zstandard

from didact.errors import InputMissing
from didact.sources.saved import data_files

_GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP = re.compile(re.escape(_GZIP_MAGIC))
_SEARCHED = 1 << 20
"""Bytes in which the next member is looked for at a time."""

_PIECE = 4096
"""Compressed bytes decoded at a time: zstd can grow them 32,768-fold, so a hostile file costs at most 128 MiB."""


class _Decoder(Protocol):
    """What the decompressors of zlib, bz2, lzma and zstandard have in common."""

    @property
    def eof(self) -> bool:
        """Whether the compressed member has ended."""

    @property
    def unused_data(self) -> bytes:
        """What follows the member."""

    def decompress(self, data: bytes, /) -> bytes:
        """The bytes that can be known so far."""


_MAGIC: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lzma.LZMADecompressor),
)


def _decoder_for(start: bytes) -> _Decoder | None:
    return next((make() for magic, make in _MAGIC if start.startswith(magic)), None)


class ByteStream:
    """A file's bytes, decompressed when its first bytes say so.

    A damaged or truncated stream ends early instead of raising: what could be decoded is read, and `damage` says what
    is wrong. With a `limit` it ends after that many bytes, as if the file did.
    """

    def __init__(self, raw: BinaryIO, limit: int | None = None) -> None:
        self.damage: str | None = None
        self._left = limit
        self._raw = raw
        self._member = 0
        self._pending = raw.read(_PIECE)
        self._decoder = _decoder_for(self._pending)
        self._decoded = bytearray()
        self.compressed = self._decoder is not None

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end."""
        if self._left is not None:
            size = min(size, self._left)
            self._left -= size
        if self._decoder is None and not self.compressed:
            start, self._pending = self._pending[:size], self._pending[size:]
            return start + self._raw.read(size - len(start)) if len(start) < size else start
        while len(self._decoded) < size and self._decoder is not None:
            self._decode_piece(self._decoder)
        found = bytes(self._decoded[:size])
        del self._decoded[:size]
        return found

    def unread(self, start: bytes) -> None:
        """Put bytes back in front of what is read next."""
        if self._left is not None:
            self._left += len(start)
        if self.compressed:
            self._decoded[:0] = start
        else:
            self._pending = start + self._pending

    @property
    def position(self) -> int:
        """How many bytes of the file, as stored, are taken."""
        return self._raw.tell()

    def _decode_piece(self, decoder: _Decoder) -> None:
        """Decode the pending bytes and fetch the next; at a member's end go on with the next member."""
        try:
            self._decoded += decoder.decompress(self._pending)
        except (zlib.error, OSError, EOFError, lzma.LZMAError, zstandard.ZstdError) as error:
            self._stop(str(error) or type(error).__name__)
            return
        if decoder.eof:
            self._next_member(decoder.unused_data)
            return
        self._pending = self._raw.read(_PIECE)
        if not self._pending:
            self._stop("the compressed stream ends before its last block")

    def _next_member(self, rest: bytes) -> None:
        """Members may follow each other, with zero bytes between them; other bytes are damage."""
        while not rest.strip(b"\0") and (more := self._raw.read(_PIECE)):
            rest = more
        rest = rest.lstrip(b"\0")
        rest += self._raw.read(8) if 0 < len(rest) < 8 else b""
        self._member = self._raw.tell() - len(rest)
        self._pending, self._decoder = rest, _decoder_for(rest)
        if rest and self._decoder is None:
            self._stop("bytes that are no compressed stream follow the last one")

    def _stop(self, damage: str) -> None:
        self.damage, self._decoder = damage, None

    def resume(self, start: bytes) -> bool:
        """After damage, go on at the next gzip member whose content begins with `start`; whether there is one.

        What was decoded of the damaged member stays lost. `damage` is left to the caller to clear.
        """
        self._raw.seek(self._member + 1)
        self._decoded.clear()
        window, place = b"", self._member + 1
        while piece := self._raw.read(_SEARCHED):
            window += piece
            for found in _GZIP.finditer(window):
                if self._begins_with(place + found.start(), start):
                    return True
            kept = min(len(window), len(_GZIP_MAGIC) - 1)
            place += len(window) - kept
            window = window[len(window) - kept :]
            self._raw.seek(place + kept)
        return False

    def _begins_with(self, member: int, start: bytes) -> bool:
        """Whether a member at a place of the file begins with some bytes; if so, it is read next."""
        self._raw.seek(member)
        head = self._raw.read(_PIECE)
        try:
            found = zlib.decompressobj(wbits=31).decompress(head, len(start))
        except zlib.error:
            return False
        if found != start:
            return False
        self._member, self._pending, self._decoder = member, head, _decoder_for(head)
        return True


@contextmanager
def open_stream(path: Path, limit: int | None = None) -> Iterator[ByteStream]:
    """Open a plain, gzip, zstd, bzip2 or xz file, told apart by its first bytes; at most `limit` bytes are given.

    Raises InputMissing when the file is not there or may not be read.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputMissing(path, "readable file", error.strerror or "") from error
    with raw:
        yield ByteStream(raw, limit)


_COMPRESSORS: dict[str, Callable[[BinaryIO], Any]] = {
    # Neither its name nor the time stands in a gzip file: the same content gives the same bytes.
    ".gz": lambda raw: gzip.GzipFile("", "wb", 6, raw, mtime=0),
    ".zst": lambda raw: zstandard.ZstdCompressor().stream_writer(raw, closefd=False),
    ".bz2": lambda raw: bz2.BZ2File(raw, "wb"),
    ".xz": lambda raw: lzma.LZMAFile(raw, "wb"),  # noqa: SIM115 (closed by the caller)
}


@contextmanager
def write_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, compressed as the ending of its name says. Raises OSError when the disk refuses."""
    with path.open("wb") as raw, _COMPRESSORS.get(path.suffix.lower(), nullcontext)(raw) as out:
        yield out


def bytes_stream(content: bytes) -> ByteStream:
    """A stream over bytes at hand."""
    return ByteStream(io.BytesIO(content))


def list_files(paths: Iterable[str], folder: Path) -> list[tuple[Path, str]]:
    """The files that paths stand for, each with its path relative to the source's root, in the order of those.

    A folder stands for all files in and below it but hidden ones and those that `saved.data_files` leaves out; a glob
    for the files it matches. Relative paths are taken from `folder`. The root is the folder that all of them have in
    common. A file named twice is read once.
    Raises InputMissing when a path stands for nothing.
    """
    found: dict[Path, None] = {}
    roots: list[Path] = []
    for given in paths:
        root, files = _files_of(folder / given)
        if not files:
            raise InputMissing(
                folder / given,
                "file, folder or match",
                "paths are relative to the recipe, or to where the command is started",
            )
        roots.append(root)
        found.update(dict.fromkeys(files))
    root = Path(os.path.commonpath(roots))
    return sorted(((path, path.relative_to(root).as_posix()) for path in found), key=lambda pair: pair[1])


def _files_of(path: Path) -> tuple[Path, list[Path]]:
    """The root of one given path, and its files."""
    path = Path(os.path.normpath(path.absolute()))
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        return path, data_files(
            file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path))
        )
    if not glob.has_magic(str(path)):
        return path, []
    fixed = _without_magic(path)
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (absolute patterns)
    return fixed, [match for match in matches if match.is_file()]


def _without_magic(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard."""
    plain: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        plain.append(part)
    return Path(*plain)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
