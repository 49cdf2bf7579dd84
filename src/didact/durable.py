"""Files that never lie: everything is written aside, synced and renamed, so a name on disk means a whole file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import Any

import orjson

from didact.errors import StoreError

ASIDE = ".aside-"
"""Prefix of everything half-written; readers ignore such names and `remove_asides` deletes them."""
_ASIDE_NAME = re.compile(rf"^{re.escape(ASIDE)}[0-9a-f]{{12}}-")


_LOCK = "lock"
"""In a folder of one process: held as long as the process lives."""


def aside_name(path: Path) -> Path:
    """A fresh name beside `path` for writing it aside."""
    return path.with_name(f"{ASIDE}{uuid.uuid4().hex[:12]}-{path.name}")


def sync_file(path: Path) -> None:
    """Force a closed file's bytes to the disk."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def store_errors(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn what the disk refuses (full, read-only, a file where a folder belongs) into a StoreError naming `path`, what
    was needed where that is known (bytes), what is free, and what to do.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(_refusal(path, error, needed)) from error


def _refusal(path: Path, error: OSError, needed: int | None) -> str:
    """One line for a refusal. What was half-written is gone by now, so what is free is what it did not fit into."""
    # Libraries wrap the system's words in their own; the number is the system's.
    words = os.strerror(error.errno) if error.errno else str(error)
    told = f"{_final(path)}: cannot be written ({words})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        room = _room(_there(path), needed)
        return f"{told}; {room}: make room or choose another place, then run again; what is complete is kept"
    if error.errno == errno.EROFS:
        return f"{told}; mount it for writing or choose another place"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{told}; get the right to write there or choose another place"
    return f"{told}; free space or choose another place"


def _room(there: Path, needed: int | None) -> str:
    """What was needed, and what is free."""
    disk = os.statvfs(there)
    if disk.f_files and not disk.f_favail:
        return "it needs a file of its own, and the file system has no place for one more"
    free = f"{disk.f_bavail * disk.f_frsize / 1e6:,.2f} MB are free"
    return f"it needs more than the {free}" if needed is None else f"it needs {needed / 1e6:,.2f} MB, {free}"


def _final(path: Path) -> Path:
    """The name that a file half-written will have, in a folder half-written too."""
    return Path(*(_ASIDE_NAME.sub("", part) for part in path.parts))


def _there(path: Path) -> Path:
    """The path itself or the nearest folder around it that exists."""
    whole = path.absolute()
    return next(one for one in (whole, *whole.parents) if one.exists())


def require_writable(folder: Path) -> None:
    """Raise StoreError when nothing can be made in a folder, which may itself be still to be made.

    Writes nothing, so that a call that fails for another reason leaves no trace.
    """
    with store_errors(folder):
        there = _there(folder)
        if os.statvfs(there).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not os.access(there, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def locked(path: Path, waiting: Callable[[], None], shared: bool = False) -> Iterator[None]:
    """Hold a lock between processes for the length of the block; `waiting` is called when another one has it first.

    Any number of processes can hold it `shared`, none of them while one holds it alone. The lock goes with the process
    that holds it, so a killed one leaves none behind.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with _lock_file(path) as handle:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, kind)
        yield


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock alone for the length of the block, or learn that another process holds it: False, without waiting."""
    with _lock_file(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _lock_file(path: Path) -> BufferedWriter:
    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")


@contextmanager
def own_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A fresh folder of this process, gone at the end of the block; what killed processes left is removed first."""
    with store_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent, prefix)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        handle = _lock_file(folder / _LOCK)
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the folders whose process is gone: its lock went with it."""
    for folder in parent.glob(f"{prefix}*"):
        try:
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        shutil.rmtree(folder, ignore_errors=True)


def write_with(path: Path, write: Callable[[Path], None], needed: int | None = None) -> None:
    """Let `write` make a file aside, then sync it and give it its name in one step. needed: its bytes, where known.

    Raises StoreError when the disk refuses (full, read-only); nothing is left behind then.
    """
    write_together({path: write}, needed)


def write_together(writes: Mapping[Path, Callable[[Path], None]], needed: int | None = None) -> None:
    """Let each file of one folder be made aside, then sync all and give all their names.

    Each is whole or not there; after a kill some may be there without the others, until this has returned. A disk that
    is asked to sync several files at once writes them in fewer turns. Raises what `write_with` raises.
    """
    asides = {path: aside_name(path) for path in writes}
    try:
        for path, write in writes.items():
            with store_errors(path, needed):
                path.parent.mkdir(parents=True, exist_ok=True)
                write(asides[path])
        for path, aside in asides.items():
            with store_errors(path, needed):
                sync_file(aside)
        for path, aside in asides.items():
            with store_errors(path, needed):
                aside.replace(path)
        for folder in {path.parent for path in writes}:
            with store_errors(folder, needed):
                sync_folder(folder)
    except BaseException:
        for aside in filter(Path.exists, asides.values()):
            aside.unlink()
        raise


def write_atomic(path: Path, content: bytes) -> None:
    """Write a whole file or none of it."""
    write_with(path, lambda aside: _write_bytes(aside, content), len(content))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON, whole or not at all."""
    write_atomic(path, readable_json(value))


def readable_json(value: Any) -> bytes:
    """A value as indented JSON with sorted keys."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def read_json(path: Path) -> Any:
    """Read a JSON file of the store. Raises StoreError when it is absent or broken."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(f"{path}: is not there; the result it belongs to is incomplete") from error
    except orjson.JSONDecodeError as error:
        raise StoreError(f"{path}: is not valid JSON ({error}); delete it and run again") from error


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Fill a folder aside; on leaving the block every file in it is synced and the folder gets its name in one step.

    An existing folder of that name is replaced only then. Raises StoreError when the disk refuses.
    """
    aside = aside_name(path)
    with store_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.mkdir()
            yield aside
            for file in sorted(aside.rglob("*")):
                (sync_folder if file.is_dir() else sync_file)(file)
            sync_folder(aside)
            _put_in_place(aside, path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def _put_in_place(aside: Path, path: Path) -> None:
    """Rename a finished folder to its name; an older one steps aside first and is removed last."""
    older = aside_name(path) if path.exists() else None
    if older is not None:
        path.rename(older)
    aside.rename(path)
    sync_folder(path.parent)
    if older is not None:
        shutil.rmtree(older, ignore_errors=True)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with all it holds. A folder loses its name in one step, so that a kill in the
    middle leaves what readers ignore. Raises StoreError when the disk refuses.
    """
    with store_errors(path):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return
        aside = path if path.name.startswith(ASIDE) else path.rename(aside_name(path))
        sync_folder(path.parent)
        shutil.rmtree(aside)


def remove_asides(folder: Path) -> None:
    """Delete what killed processes left half-written directly under a folder that nobody else writes to now."""
    for leftover in sorted(folder.glob(f"{ASIDE}*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
