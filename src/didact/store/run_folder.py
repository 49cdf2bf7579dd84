"""A run's folder in its store. Training writes on this disk alone; an object store gets what is complete: which version
the run holds on to at its start, each phase when it has ended, and the results.

So a run that was interrupted goes on from its last step on the same machine, and after its last complete phase on
another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from didact.durable import readable_json, write_json
from didact.remote.folder import Folder
from didact.store.layout import TRAINED_ON

_SENT = ".sent.json"
"""Ending of the list of a part's files in the store, written after them."""
_POINTERS = ("best", "last")


def begin(folder: Folder, version: str, parts: Sequence[str]) -> None:
    """Let a run hold on to its version, and bring the parts that are complete in the store to this disk."""
    write_json(folder.path / TRAINED_ON, {"version": version})
    if folder.prefix is None:
        return
    folder.send([TRAINED_ON])
    for part in parts:
        # A phase whose newest step is known on this disk goes on from there.
        known = (folder.path / part / "last").is_file() or (folder.path / part).is_file()
        sent = None if known else folder.read_json(f"{part}{_SENT}")
        for name, size in sorted((sent or {}).items(), key=lambda item: _order(item[0])):
            folder.file(name, size)


def keep(folder: Folder, part: str) -> None:
    """Put a complete part of a run, a folder or a file, into the store; where it is there already nothing is sent."""
    if folder.prefix is None:
        return
    here = folder.path / part
    paths = sorted(path for path in here.rglob("*") if path.is_file()) if here.is_dir() else [here]
    files = {str(path.relative_to(folder.path)): path.stat().st_size for path in paths}
    if folder.read_json(f"{part}{_SENT}") == files and here.is_dir():
        return
    folder.send(sorted(files, key=_order))
    folder.write(f"{part}{_SENT}", readable_json(files))


def _order(name: str) -> tuple[bool, str]:
    """Files that name others come last."""
    return Path(name).name in _POINTERS, name
