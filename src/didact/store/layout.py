"""Where things stand in a store, and how NAME, NAME@REF and NAME@HEX find a version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from didact.durable import write_atomic
from didact.errors import CallError, UnknownName

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

    @property
    def chunks(self) -> Path:
        """Results of chunks, shared by all builds: named by everything they depend on, so a changed setting elsewhere
        reuses them.
        """
        return self.root / "builds" / "chunks"

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

    def ref(self, name: str, ref: str) -> str | None:
        """The version a ref names, or None."""
        path = self.data(name) / "refs" / ref
        return path.read_text(encoding="utf-8").strip() if path.is_file() else None

    def set_ref(self, name: str, ref: str, version: str) -> None:
        """Let a ref name a version, in one step."""
        write_atomic(self.data(name) / "refs" / ref, f"{version}\n".encode())

    def versions(self, name: str) -> list[str]:
        """Complete versions of a data set."""
        return sorted(path.parent.name for path in self.data(name).glob("*/manifest.json"))

    def find(self, written: str) -> Path:
        """The folder of a version written NAME, NAME@REF, NAME@HEX or as a path.

        Raises UnknownName or CallError when there is none.
        """
        if (Path(written) / "manifest.json").is_file():
            return Path(written)
        match = _WRITTEN.match(written)
        if match is None:
            raise CallError(f"'{written}': neither a version's folder nor NAME, NAME@REF or NAME@HEX")
        name, ref = match["name"], match["ref"] or "latest"
        version = self.ref(name, ref) or next(
            (v for v in self.versions(name) if len(ref) >= 4 and v.startswith(ref)), None
        )
        if version is None:
            names = (
                [path.name for path in (self.root / "data").glob("*")]
                if not self.versions(name)
                else [f"{name}@{v}" for v in self.versions(name)]
            )
            raise UnknownName("version", written, names, where=str(self.root))
        return self.version(name, version)
