"""What stands in a store, as `collect` sees it: names, sizes and small files, on this disk or below a prefix."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from didact.durable import ASIDE, remove
from didact.engine.chunks import MARKER
from didact.remote.folder import Folder
from didact.remote.uploads import abort_upload, unfinished_uploads
from didact.store.layout import MANIFEST, Store

LEFT = "half-written when a process was killed"


class Ground(Protocol):
    """Names are relative to the store, with slashes."""

    def children(self, name: str) -> list[str]:
        """Names directly below a folder, sorted."""

    def files(self, name: str) -> dict[str, int]:
        """Files directly in a folder, and their bytes."""

    def size(self, name: str) -> int:
        """Bytes of a file, or of all files in a folder."""

    def matching(self, pattern: str) -> list[str]:
        """Names of files that fit a pattern, in which a star stands for one part."""

    def json(self, name: str) -> Any:
        """A small file's value; None when it is not there."""

    def leftovers(self) -> Iterator[tuple[str, int]]:
        """What killed processes left and nobody reads, outside of versions and runs: name and bytes."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files and folders, what declares others whole before them."""


def ground_of(store: Store) -> Ground:
    """The ground of a store as it is now."""
    return Disk(store.root) if store.prefix is None else Objects(store.folder())


class Disk:
    """A store on this disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def children(self, name: str) -> list[str]:
        """Names directly below a folder, sorted."""
        return [f"{name}/{path.name}" for path in sorted((self.root / name).glob("*"))]

    def files(self, name: str) -> dict[str, int]:
        """Files directly in a folder, and their bytes."""
        there = (path for path in sorted((self.root / name).glob("*")) if path.is_file())
        return {f"{name}/{path.name}": path.stat().st_size for path in there}

    def size(self, name: str) -> int:
        """Bytes of a file, or of all files in a folder; links are not followed."""
        path = self.root / name
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())

    def matching(self, pattern: str) -> list[str]:
        """Names of files that fit a pattern."""
        return [str(path.relative_to(self.root)) for path in sorted(self.root.glob(pattern))]

    def json(self, name: str) -> Any:
        """A small file's value; None when it is not there."""
        return Folder(self.root).read_json(name)

    def leftovers(self) -> Iterator[tuple[str, int]]:
        """What was written aside and never got its name."""
        for part in ("data", "builds", "tokens"):
            for folder, folders, files in os.walk(self.root / part):
                here = Path(folder).relative_to(self.root)
                found = [str(here / name) for name in sorted([*folders, *files]) if name.startswith(ASIDE)]
                yield from ((name, self.size(name)) for name in found)
                folders[:] = [name for name in sorted(folders) if not name.startswith(ASIDE)]
                if (here / MANIFEST).parts[0] == "data" and len(here.parts) == 2:
                    # Versions are never written into.
                    folders[:] = [name for name in folders if name == "refs"]

    def delete(self, names: Iterable[str]) -> None:
        """Delete files and folders; a folder loses its name in one step, so only files need an order."""
        for name in sorted(names, key=_order):
            remove(self.root / name)


class Objects:
    """A store below a prefix, listed once; nobody else changes it while a collector holds it alone."""

    def __init__(self, folder: Folder) -> None:
        assert folder.prefix is not None
        self.folder, self.prefix = folder, folder.prefix
        self.sizes = self.prefix.files()
        self.names = sorted(self.sizes)
        self.uploads = unfinished_uploads(self.prefix)

    def children(self, name: str) -> list[str]:
        """Names directly below a prefix, sorted."""
        start = f"{name}/"
        below = (one[len(start) :].partition("/")[0] for one in self._below(name) if one != name)
        return [f"{start}{one}" for one in sorted(set(below))]

    def files(self, name: str) -> dict[str, int]:
        """Objects directly below a prefix, and their bytes."""
        return {one: self.sizes[one] for one in self.children(name) if one in self.sizes}

    def size(self, name: str) -> int:
        """Bytes of all objects of a name or below it."""
        return sum(self.sizes[one] for one in self._below(name))

    def matching(self, pattern: str) -> list[str]:
        """Names of objects that fit a pattern."""
        parts = pattern.split("/")
        split = ((one, one.split("/")) for one in self.sizes)
        fits = (one for one, own in split if len(own) == len(parts) and all(map(fnmatchcase, own, parts)))
        return sorted(fits)

    def json(self, name: str) -> Any:
        """A small object's value; None when it is not there."""
        return self.folder.read_json(name) if name in self.sizes else None

    def leftovers(self) -> Iterator[tuple[str, int]]:
        """Uploads in parts that were never finished; what is in them the store does not tell."""
        yield from ((name, 0) for name in self.uploads)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, and what the working folder has of them."""
        for name in names:
            if name in self.uploads:
                abort_upload(self.prefix, name, self.uploads[name])
            self.prefix.delete(sorted(self._below(name), key=_order))
            remove(self.folder.path / name)

    def _below(self, name: str) -> list[str]:
        first, end = bisect_left(self.names, f"{name}/"), bisect_left(self.names, f"{name}0")
        return [*([name] if name in self.sizes else []), *self.names[first:end]]


def _order(name: str) -> tuple[bool, str]:
    """What declares others whole comes first."""
    return not name.endswith((MARKER, MANIFEST)), name
