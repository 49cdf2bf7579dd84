"""What a result depends on, written down by the recipe's own paths, so that one look tells why it is made again.

The key of a chunk or of a stage's result is the hash of what stands here and of nothing else: a reason read off it
cannot be untrue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from didact.build.inputs import ALGORITHMS, Inputs, own_tokenizer_file, tables
from didact.canonical import content_hash
from didact.curate.filters import FILTER_SETS, bounds_of, signals_of
from didact.curate.signals import lookup
from didact.engine.chunks import Chunk, MadeFrom
from didact.plugins import Plugin
from didact.recipe.load import Recipe
from didact.recipe.mixes import Purpose
from didact.recipe.selection import MinHashSettings
from didact.sources.blocks import SourceFile

SIGNALS = (
    "prompt.chars", "prompt.words", "response.chars", "response.words", "response.lines", "response.echo",
    "response.distinct_word_share", "response.duplicate_line_share", "response.longest_run", "response.refusal",
    "response.unended", "response.unclosed_fence", "response.placeholder",
    "response.alpha_share", "response.cjk_share",
)  # fmt: skip
"""Signals measured on every record; the recipe's filters may add others."""

_OF_CHUNKS = ("read", "clean", "signals", "shingles", "minhash")
_NOT_READ = {"path", "query", "format", "limit"}
"""Settings of a source that shape no row: where it is; its format, which stands with each file; how far it is read."""
_SIGNED = ("ngram", "permutations", "threshold", "views")
"""Settings of near-duplicates that a signature and its bands depend on; what is kept is decided later."""


def flat(path: str, value: Any) -> dict[str, Any]:
    """A setting and all inside it, each leaf by its path: `dedup.minhash.ngram`, `filters[0].signal`."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping) and value:
        return {key: leaf for name, inner in value.items() for key, leaf in flat(f"{path}.{name}", inner).items()}
    if isinstance(value, list) and value and isinstance(value[0], Mapping | BaseModel):
        inside = (flat(f"{path}[{place}]", inner) for place, inner in enumerate(value))
        return {key: leaf for found in inside for key, leaf in found.items()}
    return {path: value}


def measured_signals(recipe: Recipe, source: str) -> tuple[str, ...]:
    """The signals that a source's records are measured by."""
    return tuple(dict.fromkeys((*SIGNALS, *signals_of(bounds_of(recipe.filters, source)))))


def chunk_maker(recipe: Recipe, name: str, inputs: Inputs) -> Callable[[Chunk], MadeFrom]:
    """What tells, for each chunk of a source, what its result is made from."""
    shared = source_settings(recipe, name)
    by_path = {file.relative: file for file in inputs.files[name]}
    digests, cut = inputs.digests[name], {f"sources.{name}.limit": recipe.sources[name].limit}

    def made_from(chunk: Chunk) -> MadeFrom:
        paths = dict.fromkeys(block.path for block in chunk.blocks)
        settings = shared | {f"file {path}": _reading(by_path[path]) for path in paths}
        return MadeFrom(name, chunk.digest(digests), settings, {path: digests[path] for path in paths}, cut)

    return made_from


def source_settings(recipe: Recipe, name: str) -> dict[str, Any]:
    """The settings that all chunks of a source depend on."""
    source = recipe.sources[name].model_dump(mode="json", exclude=_NOT_READ)
    clean = recipe.clean.model_dump(mode="json")
    if clean["pii_salt"]:
        clean["pii_salt"] = hashlib.sha256(clean["pii_salt"].encode()).hexdigest()
    signals = {f"signal {signal}": _content_of(lookup(signal).plugin) for signal in measured_signals(recipe, name)}
    return (
        flat(f"sources.{name}", source)
        | flat("clean", clean)
        | _signed(recipe.dedup.minhash)
        | signals
        | _algorithms(_OF_CHUNKS)
        | {f"table {table}": number for table, number in tables().items()}
    )


def _reading(file: SourceFile) -> list[str | None]:
    return [file.format, file.container, file.split, _content_of(file.plugin)]


def _content_of(plugin: Plugin | None) -> str | None:
    """What tells a signal or format of the user's own from others: the content of its file."""
    return None if plugin is None else plugin.sha256


def _signed(settings: MinHashSettings | None) -> dict[str, Any]:
    if settings is None:
        return {"dedup.minhash": None}
    named = settings.model_dump(mode="json", include=set(_SIGNED))
    return flat("dedup.minhash", named | {"views": sorted(settings.views)})


def _algorithms(names: Iterable[str]) -> dict[str, Any]:
    return {f"algorithm {name}": ALGORITHMS[name] for name in names}


AFTER = "after "
"""Begins the setting that stands for the result of an earlier stage."""


class StageKeys:
    """What the results of the stages that need all rows are made from, each from the stage before it.

    Known before anything runs: a stage's key hangs on the chunks and the settings, not on what became of them.
    """

    def __init__(self, recipe: Recipe, chunks: Sequence[str], tokenizer_file: str | None) -> None:
        """chunks: the keys of all chunk results in canonical order."""
        self.recipe, self.tokenizer_file = recipe, tokenizer_file
        self.rows = content_hash(list(chunks))

    @property
    def duplicates(self) -> MadeFrom:
        """Duplicates among the rows that the filters keep."""
        recipe = self.recipe
        rules = [rule.model_dump(mode="json", exclude_none=True) for rule in recipe.filters]
        sets = {rule.set for rule in recipe.filters if rule.set is not None}
        named = {f"filter set {name}": content_hash([repr(bound) for bound in FILTER_SETS[name]]) for name in sets}
        settings = flat("filters", rules) | named | flat("dedup", recipe.dedup) | _algorithms(("dedup",))
        return MadeFrom("deduplicate", self.rows, settings)

    @property
    def split(self) -> MadeFrom:
        """The split of the rows that are left."""
        ngram = self.recipe.dedup.minhash.ngram if self.recipe.dedup.minhash else None
        settings = flat("split", self.recipe.split) | {"seed": self.recipe.seed, "dedup.minhash.ngram": ngram}
        return _after("split", self.duplicates, settings | _algorithms(("split",)))

    @property
    def tokenizer(self) -> MadeFrom:
        """The tokenizer; one that the recipe names depends on no row."""
        settings = self.recipe.tokenizer
        if settings is None:
            return MadeFrom("tokenizer", "", {"tokenizer": None})
        own = flat("tokenizer", settings.model_dump(mode="json", exclude={"file"}))
        own |= _algorithms(("tokenizer",)) | {"table tokenizers": installed("tokenizers")}
        if settings.file is not None:
            return MadeFrom("tokenizer", "", own | {"tokenizer.file": self.tokenizer_file})
        return _after("tokenizer", self.split, own | {"seed": self.recipe.seed})

    def counts(self, purpose: Purpose, source: str) -> MadeFrom:
        """Tokens of one source's training rows for one purpose."""
        settings = {AFTER + "tokenizer": self.tokenizer.key} | _algorithms(("tokenizer",))
        return _after(f"counts of {source}, {purpose}", self.split, settings)

    def all(self) -> list[MadeFrom]:
        """Every result the build may read."""
        counts = [self.counts(purpose, source) for purpose in get_args(Purpose) for source in self.recipe.sources]
        return [self.duplicates, self.split, self.tokenizer, *counts]


def stage_keys(recipe: Recipe, base: Path, chunks: Sequence[str]) -> StageKeys:
    """The keys of a recipe's stages over some chunks; `base` is what the recipe's paths are relative to."""
    return StageKeys(recipe, chunks, own_tokenizer_file(recipe, base))


def _after(stage: str, before: MadeFrom, settings: Mapping[str, Any]) -> MadeFrom:
    return MadeFrom(stage, "", {AFTER + before.of: before.key, **settings})
