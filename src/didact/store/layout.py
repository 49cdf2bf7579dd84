"""Where things stand in a store, and how NAME, NAME@REF and NAME@HEX find a version."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from didact.durable import (
    ASIDE,
    locked,
    locked_if_free,
    read_json,
    remove,
    remove_asides,
    require_writable,
    write_atomic,
)
from didact.errors import CallError, UnknownName

CHUNKS = "chunks.json"
"""In a build's work folder: keys of the results, of chunks and of stages, that the build reads."""
BUILD = "build.json"
"""In a build's work folder, written last: the version it made, and what its stages cost."""
TRAINED_ON = "version.json"
"""In a run's folder: the version it was trained on, which is kept as long as the run is."""

_VERSION = re.compile(r"[0-9a-f]{12}")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WRITTEN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)(@(?P<ref>[A-Za-z0-9._-]+))?$")


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of all results."""

    root: Path

    def data(self, name: str) -> Path:
        """Folder of a data set's versions and refs."""
        return self.root / "data" / name

    def version(self, name: str, version: str) -> Path:
        """Folder of one version."""
        return self.data(name) / version

    def build(self, plan: str) -> Path:
        """Work folder of a build."""
        return self.root / "builds" / plan[:12]

    def built(self, name: str, plan: str) -> Path | None:
        """Folder of the version that a build of this plan made, if it is whole."""
        record = self.build(plan) / BUILD
        if not record.is_file():
            return None
        path = self.version(name, read_json(record)["version"])
        return path if (path / "manifest.json").is_file() else None

    @property
    def chunks(self) -> Path:
        """Results of chunks, shared by all builds: named by everything they depend on, so a changed setting elsewhere
        reuses them.
        """
        return self.root / "builds" / "chunks"

    @property
    def stages(self) -> Path:
        """Results of the stages that need all rows, shared and named in the same way."""
        return self.root / "builds" / "stages"

    @property
    def spools(self) -> Path:
        """Where rows that have no file of their own stand while a build reads them."""
        return self.root / "builds"

    def tokens(self, version: str, tokenizer: str) -> Path:
        """Folder of a version's token shards under one tokenizer."""
        return self.root / "tokens" / f"{version}-{tokenizer[:12]}"

    def run(self, name: str, run: str) -> Path:
        """Folder of one training run."""
        return self.root / "runs" / name / run

    def in_use(self, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
        """Hold what is in the store for the length of a block: `collect` deletes nothing meanwhile.

        Whoever makes a version, token shards or a ref does it in here; `waiting` is called when `collect` is at work.
        """
        return locked(self.root / "builds" / "lock", waiting, shared=True)

    def alone(self) -> AbstractContextManager[bool]:
        """Have the store alone for the length of a block; False when somebody makes something in it."""
        return locked_if_free(self.root / "builds" / "lock")

    def require_writable(self) -> None:
        """Raise StoreError when nothing can be made in the store; asked before work begins that would be in vain."""
        require_writable(self.root)

    def sweep(self) -> None:
        """Delete results that killed builds left half-written, unless somebody makes something in the store now: those
        may be theirs.
        """
        folders = (self.chunks, self.stages)
        if any(any(folder.glob(f"{ASIDE}*")) for folder in folders):
            with self.alone() as alone:
                for folder in folders if alone else ():
                    remove_asides(folder)

    @property
    def names(self) -> list[str]:
        """Data sets that have a version or a ref."""
        return sorted(path.name for path in (self.root / "data").glob("*") if path.is_dir())

    def ref(self, name: str, ref: str) -> str | None:
        """The version a ref names, or None."""
        path = self.data(name) / "refs" / ref
        return path.read_text(encoding="utf-8").strip() if path.is_file() else None

    def refs(self, name: str) -> dict[str, str]:
        """The version that each ref of a data set names."""
        files = (path for path in (self.data(name) / "refs").glob("*") if _REF.fullmatch(path.name))
        return {path.name: path.read_text(encoding="utf-8").strip() for path in sorted(files)}

    def set_ref(self, name: str, ref: str, version: str) -> None:
        """Let a ref name a version, in one step. Raises CallError for a ref that could be taken for a version."""
        if not _REF.fullmatch(ref) or _VERSION.fullmatch(ref):
            raise CallError(
                f"ref '{ref}': a ref is up to 64 letters, digits, dots, dashes and underscores, begins with a letter "
                "or digit, and is not 12 hex digits as a version's own name is"
            )
        write_atomic(self.data(name) / "refs" / ref, f"{version}\n".encode())

    def delete_ref(self, name: str, ref: str) -> None:
        """Forget a ref; the version it named stays until `collect`. Raises UnknownName when there is none, CallError
        for `latest`, which belongs to the builds.
        """
        if ref == "latest":
            raise CallError(f"{name}: `latest` names the version that was built last; it cannot be deleted")
        if ref not in self.refs(name):
            raise UnknownName("ref", ref, self.refs(name), where=name)
        remove(self.data(name) / "refs" / ref)

    def versions(self, name: str) -> list[str]:
        """Complete versions of a data set."""
        folders = (path.parent.name for path in self.data(name).glob("*/manifest.json"))
        return sorted(folder for folder in folders if _VERSION.fullmatch(folder))

    def find(self, written: str) -> Path:
        """The folder of a version written NAME, NAME@REF, NAME@HEX (how it begins is enough) or as a path.

        Raises UnknownName when there is none, CallError when it cannot be meant or several begin so.
        """
        if (Path(written) / "manifest.json").is_file():
            return Path(written)
        match = _WRITTEN.match(written)
        if match is None:
            raise CallError(f"'{written}': neither a version's folder nor NAME, NAME@REF or NAME@HEX")
        name, ref = match["name"], match["ref"] or "latest"
        return self.version(name, self.ref(name, ref) or self._begun(name, ref, written))

    def _begun(self, name: str, start: str, written: str) -> str:
        """The one version whose name begins so."""
        there = self.versions(name)
        found = [version for version in there if len(start) >= 4 and version.startswith(start)]
        if len(found) > 1:
            raise CallError(f"'{written}' can mean {', '.join(found)}; give more digits")
        if not found:
            known = [f"{name}@{one}" for one in (*self.refs(name), *there)] if there else self.names
            raise UnknownName("version", written, known, where=str(self.root))
        return found[0]
