"""History: the versions of a data set, which came from which, and what refs name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from didact.errors import StoreError, UnknownName
from didact.store.layout import Store
from didact.store.manifest import Manifest
from didact.store.version import Version


@dataclass(frozen=True, slots=True)
class Entry:
    """One version in the history of its data set."""

    version: str
    refs: list[str]
    manifest: Manifest | None
    """None when it cannot be read."""
    problem: str | None
    parent_is_there: bool

    @property
    def parent(self) -> str | None:
        """The version that `latest` named before this one was built."""
        return self.manifest.parent if self.manifest is not None else None

    def as_json(self) -> dict[str, Any]:
        """The entry as plain values."""
        mixes = self.manifest.mixes if self.manifest is not None else {}
        return {
            "version": self.version,
            "refs": self.refs,
            "latest": "latest" in self.refs,
            "parent": self.parent,
            "parent_is_there": self.parent_is_there,
            "mixes": {name: mix.rows for name, mix in mixes.items()},
            "problem": self.problem,
        }


def history(store: Store, name: str) -> list[Entry]:
    """The versions of a data set: the latest, its parents, then the others by name. Raises UnknownName when there is
    none.
    """
    there = store.versions(name)
    if not there:
        raise UnknownName("data set", name, store.names, where=str(store.root))
    refs = store.refs(name)
    entries = {version: _entry(store, name, version, refs, there) for version in there}
    ordered: dict[str, Entry] = {}
    for version in (refs.get("latest"), *there):
        while version in entries and version not in ordered:
            ordered[version] = entries[version]
            version = entries[version].parent
    return list(ordered.values())


def _entry(store: Store, name: str, version: str, refs: dict[str, str], there: list[str]) -> Entry:
    named = [ref for ref, target in refs.items() if target == version]
    try:
        manifest = Version.open(store.version(name, version)).manifest
    except StoreError as error:
        return Entry(version, named, None, str(error), False)
    return Entry(version, named, manifest, None, manifest.parent in there)
