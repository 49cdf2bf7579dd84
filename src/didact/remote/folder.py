"""A folder of a store: on this disk, or below a prefix of an object store with a working copy on this disk.

Stages write files under `path` and then `send` them, and ask for files by `file`. On this disk both cost nothing:
what is written stands where it belongs. With a prefix, `send` makes the object and `file` fetches what this disk does
not have. Small things that say what is there (markers, refs, manifests) are only read from where the store is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from didact.durable import ASIDE, aside_name, readable_json, remove, sha256_file, write_atomic, write_with
from didact.errors import StoreError
from didact.remote.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a store. Can be pickled and sent to workers on other machines, which have working copies of their
    own at the same path.
    """

    path: Path
    """On this disk: the folder itself, or its working copy."""
    prefix: Prefix | None = None
    """Where the folder is, when it is in an object store."""

    def __str__(self) -> str:
        return str(self.path) if self.prefix is None else self.prefix.url

    def __truediv__(self, name: str) -> Folder:
        """A folder in this one."""
        return replace(self, path=self.path / name, prefix=None if self.prefix is None else self.prefix / name)

    def read(self, name: str) -> bytes | None:
        """A small file's bytes; None when it is not there."""
        if self.prefix is not None:
            return self.prefix.read(name)
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_json(self, name: str) -> Any:
        """A small file's JSON value; None when it is not there. Raises StoreError when it is broken."""
        content = self.read(name)
        try:
            return None if content is None else orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise StoreError(f"{self}/{name}: is not valid JSON ({error}); delete it and run again") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all, in place of an older one."""
        if self.prefix is not None:
            self.prefix.write(name, content)
        else:
            write_atomic(self.path / name, content)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as readable JSON, spelt as `durable.write_json` does."""
        self.write(name, readable_json(value))

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.path / name).is_file() if self.prefix is None else self.prefix.size(name) is not None

    def files(self) -> dict[str, int]:
        """Every file in and below the folder, but what is half-written: relative name and bytes."""
        if self.prefix is not None:
            return self.prefix.files()
        there = (path for path in self.path.rglob("*") if path.is_file())
        named = ((path.relative_to(self.path), path) for path in there)
        return {str(name): path.stat().st_size for name, path in named if not any(map(_half_written, name.parts))}

    def children(self) -> dict[str, bool]:
        """Names directly in the folder, sorted; True for those that are folders."""
        if self.prefix is not None:
            return dict(sorted(self.prefix.children().items()))
        return {path.name: path.is_dir() for path in sorted(self.path.glob("*")) if not _half_written(path.name)}

    def newest_first(self, ending: str) -> list[str]:
        """Names of the files directly in the folder that end so, the one written last first; where the times are the
        same, or the store tells none, in the order of their names.
        """
        if self.prefix is not None:
            written = self.prefix.written()
        else:
            written = {name: _written(self.path / name) for name in self.children() if name.endswith(ending)}
        named = sorted(name for name in written if name.endswith(ending))
        return sorted(named, key=lambda name: written[name], reverse=True)

    def file(self, name: str, size: int | None = None, sha256: str | None = None) -> Path:
        """A file of the folder on this disk; from an object store it is fetched unless the working copy has it.

        size, sha256: what the file must be, compared when it is fetched. Raises StoreError when it is not there, or is
        something else.
        """
        path = self.path / name
        if self.prefix is None or (size is not None and self.here(name, size)):
            return path
        prefix = self.prefix
        write_with(path, lambda aside: _fetched(prefix, name, aside, size, sha256))
        return path

    def here(self, name: str, size: int) -> bool:
        """Whether this disk has a file of that name and size: the file itself, or a copy."""
        path = self.path / name
        return path.is_file() and path.stat().st_size == size

    def whole(self) -> Path:
        """The folder on this disk with every file in it. For folders that nobody writes to any more."""
        if self.prefix is not None:
            for name, size in self.prefix.files().items():
                self.file(name, size)
        return self.path

    def send(self, names: Iterable[str]) -> None:
        """Bring files that are whole in the working copy to where the folder is, in the given order."""
        if self.prefix is not None:
            for name in names:
                self.prefix.send(self.path / name, name)

    def sha256(self, name: str) -> str | None:
        """Hex SHA-256 of a file as it is in the store, whatever the working copy holds; None when it is not there."""
        if self.prefix is not None:
            return self.prefix.sha256(name, aside_name(self.path / name))
        return sha256_file(self.path / name) if (self.path / name).is_file() else None

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, one after the other in the given order, from the store and the working copy."""
        for name in names:
            if self.prefix is not None:
                self.prefix.delete([name])
            remove(self.path / name)

    def forget(self) -> None:
        """Delete the working copy of what is in an object store."""
        if self.prefix is not None:
            shutil.rmtree(self.path, ignore_errors=True)


def _fetched(prefix: Prefix, name: str, file: Path, size: int | None, sha256: str | None) -> None:
    """Fetch an object, and compare it with what it must be."""
    if not prefix.fetch(name, file):
        raise StoreError(f"{prefix.address(name)}: is not there; the result it belongs to is incomplete")
    if size is not None and file.stat().st_size != size:
        raise StoreError(f"{prefix.address(name)}: {file.stat().st_size:,} bytes, expected {size:,}")
    if sha256 is not None and sha256_file(file) != sha256:
        raise StoreError(f"{prefix.address(name)}: content differs from its SHA-256; `didact verify` tells more")


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # gone since it was listed
        return 0


def _half_written(name: str) -> bool:
    return name.startswith(ASIDE)
