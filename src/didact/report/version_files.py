"""Where the page of a version is written: beside the work of the build that made it, or wherever one asks for it."""

from __future__ import annotations

from pathlib import Path

from didact.durable import write_atomic
from didact.errors import CallError
from didact.report.version_page import version_page
from didact.store.layout import BUILD, Store
from didact.store.version import Version

REPORT = "report.html"
"""In a build's work folder, and in a run's."""


def write_version_report(version: Version, store: Store, out: Path | None = None) -> str:
    """Write the page of a version to `out`, or to the work folder of its build; where it was written.

    Time and memory are on it where the store has the build's `build.json`. Raises CallError for a version that stands
    in no store when `out` is not given.
    """
    home = _home(version, store)
    cost = None if home is None else home.build(version.manifest.plan).read_json(BUILD)
    content = version_page(version, cost).encode()
    if out is not None:
        write_atomic(out, content)
        return str(out)
    if home is None:
        raise CallError(f"{version.folder}: stands in no store; say with --out where to write the page")
    folder = home.build(version.manifest.plan)
    with home.in_use():
        folder.write(REPORT, content)
    return f"{folder}/{REPORT}"


def _home(version: Version, store: Store) -> Store | None:
    """The store that a version stands in: the given one, or the one its folder's place says."""
    manifest = version.manifest
    if str(store.version(manifest.name, manifest.version)) == str(version.folder):
        return store
    if version.folder.prefix is not None:
        return None
    path = version.folder.path.resolve()
    at = Store(path.parents[2]) if len(path.parents) > 2 else None
    return at if at is not None and at.version(manifest.name, manifest.version).path == path else None
