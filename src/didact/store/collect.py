"""Collect: delete what no ref reaches.

A version is kept when a ref names it, or a run was trained on it; being the parent of a kept version does not keep one,
or every version would be kept for ever. With a version go its token shards, the work of the build that made it, and the
results of chunks and stages that no other build needs. Work of a build that did not end is kept, since the next build
goes on from it, unless it is asked for. What killed processes left half-written goes always. Runs are never touched.

Nothing is deleted while anybody makes something in the store: builds, runs that make token shards and commands that
move refs hold it in use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from didact.durable import ASIDE, read_json, remove
from didact.engine.chunks import MARKER
from didact.errors import CallError, StoreError
from didact.store.layout import BUILD, CHUNKS, TRAINED_ON, Store

_PLAN = re.compile(r"[0-9a-f]{12}")
_TOKENS = re.compile(r"(?P<version>[0-9a-f]{12})-[0-9a-f]{12}")
_RESULT = re.compile(r"(?P<key>[0-9a-f]{32})\.[a-z._]+")


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the store that is kept or goes: path relative to the store, bytes on disk, and why."""

    path: str
    bytes: int
    why: str


@dataclass
class Collection:
    """What was deleted, or would be, and what stays."""

    deleted: list[Found] = field(default_factory=list)
    kept: list[Found] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes that went."""
        return sum(found.bytes for found in self.deleted)

    def as_json(self) -> dict[str, Any]:
        """The collection as plain values."""
        sides = {"deleted": self.deleted, "kept": self.kept}
        plain = {
            name: [{"path": one.path, "bytes": one.bytes, "why": one.why} for one in found]
            for name, found in sides.items()
        }
        return {**plain, "bytes": self.bytes}


def collect(store: Store, *, dry_run: bool = False, unfinished: bool = False) -> Collection:
    """Delete what no ref reaches; with `dry_run` only tell it, with `unfinished` also work of builds that did not end.

    Raises CallError when there is no store, StoreError when somebody makes something in it or the disk refuses.
    """
    if not (store.root / "builds").is_dir():
        raise CallError(f"{store.root}: no store; a store has a folder 'builds'")
    with store.alone() as alone:
        if not alone:
            raise StoreError(f"{store.root}: a build or run is making something in it; run gc again when it has ended")
        plan = _Plan(store, unfinished)
        if not dry_run:
            for found in plan.collection.deleted:
                _delete(store.root / found.path, plan.results)
    return plan.collection


class _Plan:
    """What stays and what goes, found out in the order in which one depends on the other."""

    def __init__(self, store: Store, unfinished: bool) -> None:
        self.store, self.unfinished = store, unfinished
        self.collection = Collection()
        self.versions: set[str] = set()
        self.plans: list[Path] = []
        self.results: dict[Path, list[Path]] = {}
        """Files of the results that go, by their folder."""
        self._versions()
        self._tokens()
        self._builds()
        self._results()
        for path in _asides(store.root):
            self._decide(path, None, "half-written when a process was killed")

    def _decide(self, path: Path, keep: str | None, otherwise: str) -> None:
        """Keep a path for a reason, or else let it go for another."""
        found = Found(str(path.relative_to(self.store.root)), _size(path), keep or otherwise)
        (self.collection.deleted if keep is None else self.collection.kept).append(found)

    def _versions(self) -> None:
        runs = _trained(self.store.root)
        for name in self.store.names:
            refs = self.store.refs(name)
            for version in self.store.versions(name):
                reasons = [f"ref {ref}" for ref, named in refs.items() if named == version]
                reasons += [f"run {run}" for run in runs.get(version, [])]
                self._decide(self.store.version(name, version).path, ", ".join(reasons) or None, "no ref names it")
                self.versions |= {version} if reasons else set()

    def _tokens(self) -> None:
        for path in sorted((self.store.root / "tokens").glob("*")):
            match = _TOKENS.fullmatch(path.name)
            if match is not None:
                kept = "its version is kept" if match["version"] in self.versions else None
                self._decide(path, kept, "its version is not kept")

    def _builds(self) -> None:
        for path in sorted((self.store.root / "builds").glob("*")):
            if _PLAN.fullmatch(path.name):
                kept, otherwise = self._fate_of_build(path)
                self._decide(path, kept, otherwise)
                self.plans += [path] if kept is not None else []

    def _fate_of_build(self, path: Path) -> tuple[str | None, str]:
        if not (path / BUILD).is_file():
            reason = "work of a build that did not end"
            return (None if self.unfinished else f"{reason}; --unfinished deletes it"), reason
        kept = read_json(path / BUILD)["version"] in self.versions
        return ("its version is kept" if kept else None), "its version is not kept"

    def _results(self) -> None:
        """Results of chunks count as one thing, however many there are; those of stages too."""
        needed = self._needed()
        for folder in (self.store.chunks.path, self.store.stages.path):
            files = [path for path in folder.glob("*") if _RESULT.fullmatch(path.name)]
            going = [] if needed is None else [path for path in files if path.name.partition(".")[0] not in needed]
            staying = sorted({*files} - {*going})
            self.results[folder] = going
            self._count(self.collection.deleted, folder, going, "results that no kept build needs")
            self._count(self.collection.kept, folder, staying, "results that a kept build may need")

    def _count(self, group: list[Found], folder: Path, paths: list[Path], why: str) -> None:
        if paths:
            name = str(folder.relative_to(self.store.root))
            group.append(Found(name, sum(path.stat().st_size for path in paths), f"{len(paths)} files: {why}"))

    def _needed(self) -> set[str] | None:
        """Keys of the results that kept builds name; None when one of them did not come so far."""
        lists = [path / CHUNKS for path in self.plans]
        if not all(path.is_file() for path in lists):
            return None
        return {key for path in lists for key in read_json(path)}


def _trained(root: Path) -> dict[str, list[str]]:
    """Runs by the version they were trained on."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "runs").glob(f"*/*/{TRAINED_ON}")):
        run = str(path.parent.relative_to(root / "runs"))
        found.setdefault(read_json(path)["version"], []).append(run)
    return found


def _asides(root: Path) -> Iterator[Path]:
    """What was left half-written outside of versions and runs."""
    for part in ("data", "builds", "tokens"):
        for folder, folders, files in os.walk(root / part):
            here = Path(folder)
            yield from (here / name for name in sorted([*folders, *files]) if name.startswith(ASIDE))
            folders[:] = [
                name
                for name in sorted(folders)
                if not name.startswith(ASIDE) and not (part == "data" and _PLAN.fullmatch(name))
            ]


def _delete(path: Path, results: dict[Path, list[Path]]) -> None:
    """Delete something; of a folder of results the files that go, each marker before the files it vouches for."""
    if path not in results:
        remove(path)
        return
    for file in sorted(results[path], key=lambda file: (not file.name.endswith(MARKER), file.name)):
        remove(file)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
