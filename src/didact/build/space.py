"""How much room on disk a build needs, reckoned from its inputs before anything is written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from didact.build.depends import source_settings
from didact.build.inputs import Inputs
from didact.curate.minhash import choose_bands
from didact.engine.chunks import all_made
from didact.errors import StoreError
from didact.recipe.load import Recipe
from didact.recipe.mixes import Mix
from didact.recipe.selection import MinHashSettings
from didact.sources.blocks import Block, SourceFile
from didact.sources.cutting import read_blocks
from didact.store.layout import Store
from didact.text.shown import told_bytes

_PLENTY = 1000
"""Bytes free for each byte of input, as stored, with which nothing is reckoned: to look into hundreds of files takes as
long as to clean ten thousand rows. Builds of Alpaca and others need 15."""
_HEAD = 1 << 20
"""Bytes of each file, decompressed, from which its rows and its size as text are reckoned."""
_FILES = 64
"""Most files of a source that are looked into; the others are taken to be like them."""

_RECORD, _SIDE = 270, 200
"""Bytes of a row beside its texts, and of its side columns without signature: 217 to 263 and 190 on Alpaca in English
and Chinese, GSM8K and plain text."""
_STAGES = 60
"""Bytes of a row in the results of the stages that need all rows."""
_SHARD = 0.65
"""Bytes of a shard for a byte of text: a row stands in it as messages and as record, compressed to a third."""
_LOST = 0.1
"""Bytes of dropped/, cleaned/ and findings/ for a byte of text."""
_FIXED = 300_000
"""Bytes of a version that do not grow with the data: tokenizer, manifest, card, and the ends of its files."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Rows of a source, and its bytes as text: decompressed."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a build writes, about, and what is free where it writes them."""

    results: Mapping[str, int]
    """Chunk results, by source."""
    rows: Mapping[str, int]
    version: int
    on_file: int
    """Of the results, what is there already."""
    free: int

    @property
    def bytes(self) -> int:
        """Bytes yet to be written."""
        return sum(self.results.values()) - self.on_file + self.version

    def as_json(self) -> dict[str, int]:
        """The need as plain values."""
        return {
            "results": sum(self.results.values()), "on_file": self.on_file, "version": self.version,
            "needed": self.bytes, "free": self.free,
        }  # fmt: skip


def free_bytes(folder: Path) -> int:
    """Bytes free on the file system that a folder, perhaps one that is yet to be made, stands on."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def reckon(recipe: Recipe, inputs: Inputs, store: Store, on_file: int = 0) -> Need:
    """What a build needs, when so many bytes of its results are on file."""
    amounts = {name: amount_of(files, recipe.sources[name].limit) for name, files in inputs.files.items()}
    signature = _signature_bytes(recipe.dedup.minhash)
    results = {
        name: amount.bytes + amount.rows * (_RECORD + _SIDE + signature) + 20_000 for name, amount in amounts.items()
    }
    taken = sum(amount.bytes * (_SHARD * _times(recipe.mixes, name) + _LOST) for name, amount in amounts.items())
    rows = {name: amount.rows for name, amount in amounts.items()}
    version = int(taken) + sum(rows.values()) * (_STAGES + signature) + _FIXED
    return Need(results, rows, version, on_file, free_bytes(store.root))


def require_space(recipe: Recipe, inputs: Inputs, store: Store) -> None:
    """Raise StoreError when the store's file system has no room for what a build writes."""
    if free_bytes(store.root) > _PLENTY * inputs.total_bytes + _FIXED:
        return
    need = reckon(recipe, inputs, store)
    if need.bytes > need.free:
        # Only now: on a store of many builds it takes time to find what is there.
        need = reckon(recipe, inputs, store, _on_file(recipe, inputs, store, need))
    if need.bytes > need.free:
        raise StoreError(
            f"{store.root}: the build needs about {told_bytes(need.bytes)} there "
            f"({told_bytes(sum(need.results.values()) - need.on_file)} of results, {told_bytes(need.version)} of the "
            f"version), {told_bytes(need.free)} are free; free space (`didact gc` deletes what no version needs), "
            "choose another place with --store, or read less with 'limit'"
        )


def _on_file(recipe: Recipe, inputs: Inputs, store: Store, need: Need) -> int:
    """Bytes of the reckoned chunk results for which rows are on this disk that were made under the same settings."""
    settings = {name: source_settings(recipe, name) for name in inputs.files}
    rows = dict.fromkeys(settings, 0)
    for made, marker in all_made(store.chunks):
        own = settings.get(made.of)
        here = all(store.chunks.here(name, size) for name, size in marker["files"].items())
        if here and own is not None and all(made.settings.get(path) == value for path, value in own.items()):
            rows[made.of] += marker["rows"]
    shares = {name: min(1.0, rows[name] / max(1, need.rows[name])) for name in settings}
    return int(sum(need.results[name] * share for name, share in shares.items()))


def _signature_bytes(settings: MinHashSettings | None) -> int:
    if settings is None:
        return 0
    return 4 * settings.permutations + 8 * choose_bands(settings.threshold, settings.permutations).count


def _times(mixes: Mapping[str, Mix], source: str) -> float:
    """How often a source may be written to shards; a recipe without mixes writes each once."""
    return sum(mix.most_epochs(source) for mix in mixes.values()) if mixes else 1.0


def amount_of(files: Sequence[SourceFile], limit: int | None = None) -> Amount:
    """Rows and bytes of a source, reckoned from the beginnings of its files."""
    step = -(-len(files) // _FILES)
    parts = [_amount(file) for file in files[::step]]
    scale = len(files) / len(parts)
    rows, size = (sum(values) * scale for values in zip(*parts, strict=True))
    if limit is not None and rows > limit:
        rows, size = limit, size * limit / rows
    return Amount(round(rows), round(size))


def _amount(file: SourceFile) -> tuple[float, float]:
    """Rows and bytes of one file."""
    if file.container == "parquet":
        return _parquet(file.path)
    stored = file.path.stat().st_size
    if file.container == "arrow":
        return stored / 400, float(stored)
    rows = size = taken = 0
    for block in read_blocks(file, _HEAD, most_bytes=_HEAD):
        if isinstance(block, Block):
            rows, size, taken = rows + len(block), size + len(block.data), block.stored
    if not taken:
        return 0.0, float(stored)
    scale = max(1.0, stored / taken)
    return rows * scale, size * scale


def _parquet(path: Path) -> tuple[float, float]:
    import pyarrow.parquet as pq

    from didact.sources.columnar import ARROW_ERRORS

    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
            return float(file.metadata.num_rows), float(sum(group.total_byte_size for group in groups))
    except ARROW_ERRORS:
        return 0.0, float(path.stat().st_size)
