"""Repairs files: each is copied byte by byte but for what is fixed, in its own container, with a log of the changes."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import zstandard

from didact.durable import atomic_dir, write_with
from didact.errors import CallError, StoreError
from didact.recipe.sources import Source
from didact.records.findings import CODES, Finding
from didact.repair.fixes import DROP_MARK, FIXES, Fix
from didact.repair.rows import Change, fixable, repaired_row
from didact.report.progress import Listener, Silent
from didact.sources.arrays import COMMA_BEFORE_CLOSE, COMMA_WITHOUT_ELEMENT
from didact.sources.blocks import Block, SourceFile
from didact.sources.containers import BOM
from didact.sources.endings import COMPRESSED
from didact.sources.files import ByteStream, open_stream
from didact.sources.given import given_source
from didact.sources.read import plan_source, read_block, source_blocks
from didact.text.shown import spelt_path, visible

_BLOCK_BYTES = 4 << 20
_PIECE = 1 << 20


@dataclass(slots=True)
class Repaired:
    """What a repair did."""

    out: Path
    log: Path
    """One JSON line for each change: path, line, index, pointer, code, fix, before, after."""
    changes: Counter[str] = field(default_factory=Counter)
    """By code."""
    files: int = 0
    """Files that changed; the others are copied as they are."""

    def told(self) -> str:
        """What was done, in one line."""
        if not self.changes:
            return f"Fixed nothing; {visible(str(self.out))} is a copy."
        counts = ", ".join(f"{code} {count:,}" for code, count in sorted(self.changes.items()))
        files = f"{self.files:,} file{'' if self.files == 1 else 's'}"
        return f"Fixed in {files}: {counts}. Written to {visible(str(self.out))}; the changes: {visible(str(self.log))}"


class _Damaged(Exception):
    """The file's compression is damaged."""


class _Edit(NamedTuple):
    """Bytes `start` to `end` of the decompressed file become `text`."""

    start: int
    end: int
    text: bytes
    place: tuple[int, int | None]
    """Line and row index, for the log; what stands between rows has no index."""
    changes: list[Change]
    drop_comma: bool = False
    """The last comma before `start` goes instead."""


def repair(
    paths: str | Path | Sequence[str | Path],
    out: Path,
    format: str = "auto",
    *,
    columns: dict[str, str] | None = None,
    limit: int | None = None,
    where: dict[str, Any] | None = None,
    names: Sequence[str] = (),
    fixes: Mapping[str, Fix] = FIXES,
    tell: Listener | None = None,
) -> Repaired:
    """Copy files with their findings fixed where a safe fix is known, and log every change in `OUT.patch.jsonl`.

    One file becomes the file `out`, several become files of the same relative paths in the folder `out`, whole or not
    at all. Rows that are rejected are copied as they are unless a fix makes them valid. A file whose compression is
    damaged is copied as it is, since what cannot be read cannot be copied otherwise.
    Raises CallError when `out` or its log is there already, for files that are no texts of rows, and as
    `validate` does.
    """
    source = given_source(paths, format=format, columns=columns, limit=limit, where=where, names=list(names))
    files = plan_source("fix", source, Path.cwd())
    done = Repaired(out, require_free(out))
    for file in files:
        if file.container in ("parquet", "arrow", "html", "warc"):
            raise CallError(f"{file.relative}: {file.container} files are not repaired; make JSON lines of them")
    work = _Work(done, source, fixes, tell if tell is not None else Silent())
    work.tell.stage("fix")
    if is_one_file(paths):
        write_with(out, lambda aside: work.all([(files[0], aside, out)]))
        return done
    with atomic_dir(out) as folder:
        work.all([(file, folder / file.relative, out / file.relative) for file in files])
    return done


def is_one_file(paths: str | Path | Sequence[str | Path]) -> bool:
    """Whether a call names one file, as opposed to a folder, a glob or several."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    return len(given) == 1 and Path(given[0]).is_file()


def require_free(out: Path) -> Path:
    """The log that belongs to `out`. Raises CallError when either exists: nothing is overwritten."""
    log = out.with_name(f"{out.name}.patch.jsonl")
    for path in (out, log):
        if path.exists() or path.is_symlink():
            raise CallError(f"{path}: is there already; nothing is overwritten, name another place")
    if not out.absolute().parent.is_dir():
        raise CallError(f"{out}: the folder {out.parent} is not there; create it first")
    return log


@dataclass(slots=True)
class _Work:
    """A repair under way."""

    done: Repaired
    source: Source
    fixes: Mapping[str, Fix]
    tell: Listener

    def all(self, targets: Sequence[tuple[SourceFile, Path, Path]]) -> None:
        """Repair files: each with where to write it, and the name it will have. The log is whole before they are."""
        write_with(self.done.log, lambda aside: self._logged(targets, aside))

    def _logged(self, targets: Sequence[tuple[SourceFile, Path, Path]], aside: Path) -> None:
        left, seen = self.source.limit, 0
        with aside.open("wb") as log:
            for file, target, name in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
                taken = self._file(file, target, name, self.source.model_copy(update={"limit": left}), log)
                left = None if left is None else left - taken
                seen += taken
                self.tell.advance(seen, None, "rows")

    def _file(self, file: SourceFile, target: Path, name: Path, source: Source, log: IO[bytes]) -> int:
        """Repair one file; how many of its rows were looked at."""
        before, start = self.done.changes.copy(), log.tell()
        rows = _Rows(file, source, self.fixes)
        try:
            with open_stream(file.path) as stream, _compressed(target, name) as sink:
                copier = _Copier(stream, sink)
                for edit in rows.edits() if source.limit != 0 else ():
                    if copier.apply(edit):
                        self._note(file, edit, log)
                copier.rest()
                compressed = stream.compressed
        except _Damaged:
            log.seek(start)
            log.truncate()
            self.done.changes, compressed = before, True
        changed = self.done.changes != before
        self.done.files += changed
        if not changed and compressed == (name.suffix.lower() in COMPRESSED):
            shutil.copyfile(file.path, target)
        return rows.taken

    def _note(self, file: SourceFile, edit: _Edit, log: IO[bytes]) -> None:
        line, index = edit.place
        for change in edit.changes:
            entry = {"path": spelt_path(file.relative), "line": line, "index": index, **change._asdict()}
            # orjson writes no whole number beyond 64 bits.
            log.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            self.done.changes[change.code] += 1


@dataclass(slots=True)
class _Rows:
    """What is to be changed in one file."""

    file: SourceFile
    source: Source
    fixes: Mapping[str, Fix]
    taken: int = 0
    """Rows looked at."""

    def edits(self) -> Iterator[_Edit]:
        """Every change in the file's order. Raises _Damaged when the file cannot be read to its end."""
        pending: list[_Edit] = []
        for _, found in source_blocks([self.file], self.source, _BLOCK_BYTES):
            if isinstance(found, Finding):
                self.taken += CODES[found.code].row
                if found.code == "IO004":
                    raise _Damaged
                pending += self._around(found)
                continue
            self.taken += len(found)
            yield from sorted([*pending, *self._inside(found)], key=lambda edit: edit.start)
            pending = []
        yield from pending

    def _around(self, found: Finding) -> Iterator[_Edit]:
        """What a finding about the file asks for."""
        fix = self.fixes.get(found.code)
        if fix is None or fix.scope != "file":
            return
        at, place = found.offset, (found.line, None)
        if fix.name == DROP_MARK:
            yield _Edit(at, at + len(BOM), b"", place, [Change("", found.code, fix.name, BOM.decode(), "")])
        elif found.message in (COMMA_WITHOUT_ELEMENT, COMMA_BEFORE_CLOSE):
            before = found.message == COMMA_BEFORE_CLOSE
            change = Change("", found.code, fix.name, ",", "")
            yield _Edit(at, at if before else at + 1, b"", place, [change], drop_comma=before)

    def _inside(self, block: Block) -> Iterator[_Edit]:
        """What the findings of a block's rows ask for."""
        for index, found in fixable(read_block(block, self.file, self.source).findings, self.fixes):
            at = index - block.first
            fixed, changes = repaired_row(block, at, found, self.file, self.source, self.fixes)
            if changes:
                start, end = (block.offset + int(bounds[at]) for bounds in (block.starts, block.ends))
                yield _Edit(start, end, fixed, (int(block.lines[at]), index), changes)


class _Copier:
    """Copies a stream with edits in their order, a piece in memory at a time."""

    def __init__(self, stream: ByteStream, sink: IO[bytes]) -> None:
        self._stream, self._sink = stream, sink
        self._place = 0
        self._held = b""
        """The commas and white space last read, not written yet: a comma among them may have to go."""

    def apply(self, edit: _Edit) -> bool:
        """Copy up to an edit and make it; whether there was something to do."""
        self._copy(edit.start - self._place)
        if edit.drop_comma:
            before, comma, after = self._held.rpartition(b",")
            self._held = before + after
            return bool(comma)
        self._skip(edit.end - edit.start)
        self._put(edit.text)
        return True

    def rest(self) -> None:
        """Copy what is left."""
        while piece := self._stream.read(_PIECE):
            self._put(piece)
        self._sink.write(self._held)

    def _copy(self, size: int) -> None:
        while size > 0:
            piece = self._read(min(size, _PIECE))
            size -= len(piece)
            self._put(piece)

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._read(min(size, _PIECE)))

    def _read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        if not piece:
            raise StoreError("a file became shorter while it was read; run again when nobody writes to it")
        self._place += len(piece)
        return piece

    def _put(self, data: bytes) -> None:
        data = self._held + data
        settled = max(len(data.rstrip(b" \t\r\n,")), len(data) - _PIECE)
        self._sink.write(data[:settled])
        self._held = data[settled:]


@contextmanager
def _compressed(target: Path, name: Path) -> Iterator[IO[bytes]]:
    """A file to write to, compressed as its name's ending says; the same bytes give the same file."""
    suffix = name.suffix.lower()
    with target.open("wb") as raw:
        if suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as sink:
                yield cast("IO[bytes]", sink)
        elif suffix == ".zst":
            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as sink:
                yield cast("IO[bytes]", sink)
        elif suffix in (".bz2", ".xz"):
            with (bz2.BZ2File if suffix == ".bz2" else lzma.LZMAFile)(raw, "wb") as sink:
                yield cast("IO[bytes]", sink)
        else:
            yield raw
