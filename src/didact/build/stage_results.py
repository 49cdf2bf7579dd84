"""Results of the stages that need all rows, on file like those of chunks: named by everything they depend on, shared
by all builds of a store, each with a marker written after its files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from didact.durable import atomic_dir, write_atomic, write_with
from didact.engine.chunks import MadeFrom, read_marker, write_marker
from didact.remote.folder import Folder


class Result(NamedTuple):
    """A stage's result: a table, and the small things beside it."""

    table: pa.Table
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StageResults:
    """The folder of stage results."""

    folder: Folder

    def has(self, made: MadeFrom) -> bool:
        """Whether the result is on file, whole."""
        return read_marker(self.folder, made.key) is not None

    def table(self, made: MadeFrom, make: Callable[[], Result]) -> Result:
        """The result on file, or the one that `make` makes, which is put there."""
        name = f"{made.key}.rows.arrow"
        marker = read_marker(self.folder, made.key)
        if marker is not None:
            with pa.memory_map(str(self.folder.file(name, marker["files"][name]))) as mapped:
                return Result(pa.ipc.open_file(mapped).read_all(), marker["facts"])
        result = make()
        write_with(self.folder.path / name, lambda aside: _write(aside, result.table))
        self._vouch(made, [name], result.facts)
        return result

    def copied(self, made: MadeFrom, folder: Path, make: Callable[[Path], None]) -> None:
        """Give `folder` the files of the result: a copy of those on file, or those that `make` writes into it, of
        which a copy is put there. A folder that exists has them.
        """
        if folder.exists():
            return
        marker = read_marker(self.folder, made.key)
        with atomic_dir(folder) as aside:
            if marker is None:
                make(aside)
            else:
                for name, size in marker["files"].items():
                    shutil.copyfile(self.folder.file(name, size), aside / name.removeprefix(f"{made.key}."))
        if marker is None:
            files = {f"{made.key}.{path.name}": path for path in sorted(folder.iterdir())}
            for name, path in files.items():
                write_atomic(self.folder.path / name, path.read_bytes())
            self._vouch(made, list(files), {})

    def _vouch(self, made: MadeFrom, names: list[str], facts: dict[str, Any]) -> None:
        sizes = {name: (self.folder.path / name).stat().st_size for name in names}
        self.folder.send(names)
        write_marker(self.folder, made.key, {"files": sizes, "facts": facts, "made_from": made.as_json()})


def _write(aside: Path, table: pa.Table) -> None:
    with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
