"""Inputs: the files behind every source, and the plan: the hash of all that a version depends on."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from didact.canonical import content_hash
from didact.curate.filters import bounds_of, signals_of
from didact.curate.signals import lookup
from didact.formats.registry import register_plugin
from didact.plugins import Plugin, plugin_at
from didact.recipe.load import Recipe
from didact.sources.blocks import SourceFile
from didact.sources.read import plan_source
from didact.sources.spool import Spool

ALGORITHMS = {
    "read": 2,
    "clean": 2,
    "signals": 1,
    "shingles": 1,
    "minhash": 1,
    "dedup": 2,
    "split": 1,
    "mix": 3,
    "tokenizer": 1,
    "layout": 5,
}
"""Version of each algorithm; raised when a change of code changes what it yields, so that old results are not
reused.
"""

_DATA_SECTIONS = ("name", "seed", "sources", "clean", "filters", "dedup", "split", "tokenizer", "mixes")
_LIBRARIES = ("ftfy", "phonenumbers", "python-stdnum")
"""Libraries whose tables decide what cleaning does."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of every source, and the plan they and the recipe make."""

    files: dict[str, list[SourceFile]]
    plan: str
    plugins: tuple[Plugin, ...] = ()
    """The user's files that something in the data depends on."""

    @property
    def digests(self) -> dict[str, dict[str, str]]:
        """SHA-256 of every file, by source and relative path."""
        return {source: {file.relative: file.sha256 for file in files} for source, files in self.files.items()}

    @property
    def total_bytes(self) -> int:
        """Size of all inputs as stored."""
        return sum(map(self.bytes_of, self.files))

    def bytes_of(self, source: str) -> int:
        """Size of a source's files as stored."""
        return sum(file.path.stat().st_size for file in self.files[source])

    def formats(self, source: str) -> list[str]:
        """Adapters that read a source."""
        return sorted({file.format for file in self.files[source]})


def resolve_inputs(recipe: Recipe, base: Path, spool: Spool | None = None) -> Inputs:
    """Find and hash every input file, sources by name and files by path; the rows of queries are put into `spool`.

    The recipe's plug-ins are run first. Raises InputMissing for a path that is not there, CallError for a file whose
    format cannot be told or a plug-in that cannot be run.
    """
    for path in recipe.plugins:
        register_plugin(plugin_at(base / path))
    files = {name: plan_source(name, recipe.sources[name], base, spool) for name in sorted(recipe.sources)}
    digests = {
        name: [[file.relative, file.format, file.split, file.sha256] for file in own] for name, own in files.items()
    }
    plugins = _plugins_used(recipe, files)
    used = [plugin.sha256 for plugin in plugins]
    plan = content_hash([digests, data_sections(recipe), ALGORITHMS, tables(), own_tokenizer_file(recipe, base), used])
    return Inputs(files, plan, plugins)


def _plugins_used(recipe: Recipe, files: dict[str, list[SourceFile]]) -> tuple[Plugin, ...]:
    """The plug-ins whose adapters read a file or whose signals a filter bounds, in the order of their contents."""
    found = {file.plugin for own in files.values() for file in own}
    for name in files:
        found |= {lookup(signal).plugin for signal in signals_of(bounds_of(recipe.filters, name))}
    return tuple(sorted((plugin for plugin in found if plugin is not None), key=lambda plugin: plugin.sha256))


def tables() -> dict[str, str]:
    """Versions of the tables that decide what cleaning and tokenising do."""
    return {name: installed(name) for name in _LIBRARIES} | {"unicode": unicodedata.unidata_version}


def own_tokenizer_file(recipe: Recipe, base: Path) -> str | None:
    """Content of a tokenizer file that the recipe names and of the template beside it; its path does not matter."""
    if recipe.tokenizer is None or recipe.tokenizer.file is None:
        return None
    path = base / recipe.tokenizer.file
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        return None
    beside = [file.with_name(name) for name in ("template.json", "chat_template.jinja", "tokenizer_config.json")]
    return content_hash([part.read_text(encoding="utf-8") for part in (file, *beside) if part.is_file()])


def data_sections(recipe: Recipe) -> dict[str, Any]:
    """The recipe's data sections with defaults filled in and without paths: what a version depends on, and no more."""
    sections = recipe.model_dump(mode="json", include=set(_DATA_SECTIONS))
    for source in sections["sources"].values():
        del source["path"]
        source["format"] = source["format"].rpartition("/")[2]
    if sections["clean"]["pii_salt"]:
        # The salt protects the hashes and must not be published with them; its own hash still tells versions apart.
        sections["clean"]["pii_salt"] = hashlib.sha256(sections["clean"]["pii_salt"].encode()).hexdigest()
    if sections["tokenizer"]:
        sections["tokenizer"].pop("file", None)
    return sections
