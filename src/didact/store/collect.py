"""Collect: delete what no ref reaches.

A version is kept when a ref names it, or a run was trained on it; being the parent of a kept version does not keep one,
or every version would be kept for ever. With a version go its token shards, the work of the build that made it, and the
results of chunks and stages that no other build needs. Work of a build that did not end is kept, since the next build
goes on from it, unless it is asked for. What killed processes left half-written goes always. Runs are never touched.

Nothing is deleted while anybody makes something in the store: builds, runs that make token shards and commands that
move refs hold it in use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from didact.errors import CallError, StoreError
from didact.store.ground import LEFT, Ground, ground_of
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
    if not store.folder("builds").children():
        raise CallError(f"{store}: no store; a store has a folder 'builds'")
    with store.alone() as alone:
        if not alone:
            raise StoreError(f"{store}: a build or run is making something in it; run gc again when it has ended")
        ground = ground_of(store)
        plan = _Plan(store, ground, unfinished)
        if not dry_run:
            for found in plan.collection.deleted:
                ground.delete(plan.results.get(found.path, [found.path]))
    return plan.collection


class _Plan:
    """What stays and what goes, found out in the order in which one depends on the other."""

    def __init__(self, store: Store, ground: Ground, unfinished: bool) -> None:
        self.store, self.ground, self.unfinished = store, ground, unfinished
        self.collection = Collection()
        self.versions: set[str] = set()
        self.builds: list[str] = []
        """Folders of builds that stay."""
        self.results: dict[str, list[str]] = {}
        """Files of the results that go, by their folder."""
        self._versions()
        self._tokens()
        self._builds()
        self._results()
        for name, size in ground.leftovers():
            self.collection.deleted.append(Found(name, size, LEFT))

    def _decide(self, name: str, keep: str | None, otherwise: str) -> None:
        """Keep something for a reason, or else let it go for another."""
        found = Found(name, self.ground.size(name), keep or otherwise)
        (self.collection.deleted if keep is None else self.collection.kept).append(found)

    def _versions(self) -> None:
        runs = self._trained()
        for name in self.store.names:
            refs, whole = self.store.refs(name), set(self.store.versions(name))
            for path in self.ground.children(f"data/{name}"):
                version = _base(path)
                if version in whole:
                    reasons = [f"ref {ref}" for ref, named in refs.items() if named == version]
                    reasons += [f"run {run}" for run in runs.get(version, [])]
                    self._decide(path, ", ".join(reasons) or None, "no ref names it")
                    self.versions |= {version} if reasons else set()
                elif self.store.prefix is not None and _PLAN.fullmatch(version):
                    # In an object store a version's files stand there before it is one.
                    self._decide(path, *self._unfinished())

    def _trained(self) -> dict[str, list[str]]:
        """Runs by the version they were trained on."""
        found: dict[str, list[str]] = {}
        for name in self.ground.matching(f"runs/*/*/{TRAINED_ON}"):
            run = name.removeprefix("runs/").removesuffix(f"/{TRAINED_ON}")
            found.setdefault(self.ground.json(name)["version"], []).append(run)
        return found

    def _tokens(self) -> None:
        for path in self.ground.children("tokens"):
            match = _TOKENS.fullmatch(_base(path))
            if match is not None:
                kept = "its version is kept" if match["version"] in self.versions else None
                self._decide(path, kept, "its version is not kept")

    def _builds(self) -> None:
        for path in self.ground.children("builds"):
            if _PLAN.fullmatch(_base(path)):
                kept, otherwise = self._fate_of_build(path)
                self._decide(path, kept, otherwise)
                self.builds += [path] if kept is not None else []

    def _fate_of_build(self, path: str) -> tuple[str | None, str]:
        record = self.ground.json(f"{path}/{BUILD}")
        if record is None:
            return self._unfinished()
        return ("its version is kept" if record["version"] in self.versions else None), "its version is not kept"

    def _unfinished(self) -> tuple[str | None, str]:
        reason = "work of a build that did not end"
        return (None if self.unfinished else f"{reason}; --unfinished deletes it"), reason

    def _results(self) -> None:
        """Results of chunks count as one thing, however many there are; those of stages too."""
        needed = self._needed()
        for folder in ("builds/chunks", "builds/stages"):
            files = {path: size for path, size in self.ground.files(folder).items() if _RESULT.fullmatch(_base(path))}
            going = [] if needed is None else [path for path in files if _base(path).partition(".")[0] not in needed]
            staying = sorted({*files} - {*going})
            self.results[folder] = going
            deleted, kept = self.collection.deleted, self.collection.kept
            _count(deleted, folder, [files[path] for path in going], "results that no kept build needs")
            _count(kept, folder, [files[path] for path in staying], "results that a kept build may need")

    def _needed(self) -> set[str] | None:
        """Keys of the results that kept builds name; None when one of them did not come so far."""
        lists = [self.ground.json(f"{path}/{CHUNKS}") for path in self.builds]
        if any(keys is None for keys in lists):
            return None
        return {key for keys in lists for key in keys}


def _count(group: list[Found], folder: str, sizes: list[int], why: str) -> None:
    if sizes:
        group.append(Found(folder, sum(sizes), f"{len(sizes)} files: {why}"))


def _base(path: str) -> str:
    return path.rpartition("/")[2]
