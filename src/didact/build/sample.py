"""What a sample of the rows says of a build: the per-record stages run on it for real, in a folder that is removed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from didact.build.assemble import usable
from didact.build.count import CountTask, count_chunk, make_tokenizer
from didact.build.decide import takes_part
from didact.build.inputs import Inputs
from didact.build.per_record import curate_chunk, source_task
from didact.build.rows import ChunkResult, Rows, in_order
from didact.canonical import keyed_hash
from didact.curate.dedup import exact_duplicates
from didact.curate.filters import bounds_of, decide, signals_of
from didact.curate.order import I64, U64, mixed
from didact.engine.chunks import Chunk
from didact.intervals import bootstrap, wilson
from didact.recipe.load import Recipe
from didact.recipe.mixes import Purpose
from didact.records import Header
from didact.remote.folder import Folder
from didact.report.plan_json import BoundOutcome, Estimate, SampledSource
from didact.sources.blocks import Block

_WARM = 8
"""Rows that run first, so that loading code and kernels is not counted into the time of a row."""


class Sampler:
    """Keeps, of every source, the rows with the smallest keyed hashes of their places: a uniform sample without
    replacement, the same each time, in memory for so many rows.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.seen: Counter[str] = Counter()
        self._kept: dict[str, list[tuple[int, str, int, Block]]] = {}

    def look(self, chunk: Chunk) -> None:
        """Take what belongs to the sample from a chunk."""
        for block in chunk.blocks:
            self.seen[chunk.source] += len(block)
            kept = self._kept.setdefault(chunk.source, [])
            most = kept[-1][0] if len(kept) == self.rows else None
            indices = np.arange(block.first, block.first + len(block)).astype(np.uint64)
            hashes = mixed(indices, keyed_hash("sample", chunk.source, block.path))
            for place in _smallest(hashes, self.rows, most).tolist():
                kept.append((int(hashes[place]), block.path, place, _row(block, place)))
            kept.sort(key=lambda one: one[:2])
            del kept[self.rows :]

    def chunk(self, source: str) -> Chunk:
        """The sample of a source, in the order of its files."""
        blocks = (block for *_, block in self._kept.get(source, []))
        return Chunk(source, 0, tuple(sorted(blocks, key=lambda block: (block.path, block.first))))


def _smallest(hashes: U64, count: int, below: int | None) -> I64:
    """Places of the smallest hashes, at most so many, all below a bound."""
    places = np.arange(len(hashes)) if below is None else np.flatnonzero(hashes < np.uint64(below))
    return places[np.argsort(hashes[places], kind="stable")[:count]].astype(np.int64)


def _row(block: Block, place: int) -> Block:
    """One row of a block as a block of its own, with its bytes alone."""
    one = slice(place, place + 1)
    if block.file:
        cut = (block.starts[one], block.ends[one], block.lines[one])
        return replace(block, first=block.first + place, starts=cut[0], ends=cut[1], lines=cut[2])
    start, data = int(block.starts[place]), block.row(place)
    bounds = np.array([0, len(data)])
    return replace(
        block, first=block.first + place, data=data, starts=bounds[:1], ends=bounds[1:], lines=block.lines[one],
        offset=block.offset + start,
    )  # fmt: skip


@dataclass
class Tried:
    """What running the sample showed."""

    sources: list[SampledSource]
    row_seconds: dict[str, float]
    """Seconds that the per-record stages took for a row, by source."""
    count_seconds: float
    """Seconds that counting took for a row."""
    row_bytes: dict[str, float]
    """Bytes of the results of a row, by source."""


def try_sample(sampler: Sampler, inputs: Inputs, recipe: Recipe, base: Path) -> Tried:
    """Run the per-record stages, filters, exact duplicates and counts on a sample, and estimate."""
    with TemporaryDirectory(prefix="didact-sample-") as temporary:
        folder = Folder(Path(temporary))
        results, seconds, sizes = {}, {}, {}
        for name in inputs.files:
            chunk, task = sampler.chunk(name), source_task(inputs, recipe, folder, name)
            if not chunk.blocks:
                continue
            curate_chunk(task(replace(chunk, blocks=chunk.blocks[:_WARM])))
            began = time.process_time()
            made = task(chunk)
            marker = curate_chunk(made)
            seconds[name] = (time.process_time() - began) / len(chunk.blocks)
            sizes[name] = sum(marker["files"].values()) / len(chunk.blocks)
            results[name] = ChunkResult(name, 0, made.key, folder, marker)
        rows = Rows(in_order(list(results.values())), tuple(sorted(recipe.sources)))
        outcome = _Outcome(rows, recipe, sampler, results)
        count_seconds = outcome.count(base, folder) if recipe.tokenizer is not None and len(rows) else 0.0
        return Tried(outcome.sources(), seconds, count_seconds, sizes)


class _Outcome:
    """The decisions on the sample's rows, and what they mean for each source."""

    def __init__(self, rows: Rows, recipe: Recipe, sampler: Sampler, results: Mapping[str, ChunkResult]) -> None:
        self.rows, self.recipe, self.sampler, self.results = rows, recipe, sampler, results
        self.tokens: dict[Purpose, tuple[NDArray[np.bool_], I64]] = {}
        self.passed = np.zeros(len(rows), np.bool_)
        self.bounds: dict[str, list[tuple[str, str, int, int]]] = {}
        for code, name in enumerate(rows.sources):
            own = np.flatnonzero(rows.source == code)
            bounds = bounds_of(recipe.filters, name)
            signals = signals_of(bounds)
            values = dict(zip(signals, rows.of(name).columns(signals), strict=True))
            reasons = decide(values, bounds, len(own))
            self.passed[own] = reasons < 0
            self.bounds[name] = [
                (
                    bound.reason,
                    bound.origin,
                    int(bound.drops(values[bound.signal]).sum()),
                    int((reasons == place).sum()),
                )
                for place, bound in enumerate(bounds)
            ]

    def count(self, base: Path, folder: Folder) -> float:
        """Count the tokens of the rows that pass, for every purpose they can serve; seconds for a row."""
        settings = self.recipe.tokenizer
        living = np.flatnonzero(self.passed)
        if settings is None or not len(living):
            return 0.0
        make_tokenizer(self.rows, living, self.recipe, settings, base, folder.path / "tokenizer")
        headers = {
            one: Header.model_validate(content)
            for result in self.results.values()
            for one, content in result.marker["headers"].items()
        }
        seconds, counted = 0.0, 0
        for purpose in get_args(Purpose):
            fits = self.passed & self._wanted(purpose)
            if not fits.any():
                continue
            found = np.zeros(len(self.rows), np.int64)
            for chunk, places, inside in self.rows.by_chunk(np.flatnonzero(fits)):
                task = CountTask(chunk, inside, np.flatnonzero(fits)[places], purpose, headers, folder / "tokenizer")
                if not counted:
                    count_chunk(replace(task, inside=inside[:_WARM], places=places[:_WARM]))
                began = time.process_time()
                found[task.places], _ = count_chunk(task)
                seconds, counted = seconds + time.process_time() - began, counted + len(places)
            self.tokens[purpose] = fits, found
        return seconds / max(counted, 1)

    def _wanted(self, purpose: Purpose) -> NDArray[np.bool_]:
        """Rows that mixes of a purpose draw from; without mixes plain text is for pre-training, the rest for tuning."""
        recipe, fits = self.recipe, usable(self.rows, purpose)
        if recipe.mixes:
            mixes = [mix for name, mix in recipe.mixes.items() if recipe.purpose(name) == purpose]
            return fits & takes_part(self.rows, [source for mix in mixes for source in mix.taking_part])
        plain = ~usable(self.rows, "finetune")
        return fits & (plain if purpose == "pretrain" else ~plain if purpose == "finetune" else False)

    def sources(self) -> list[SampledSource]:
        """What the sample says of each source."""
        return [self._source(code, name) for code, name in enumerate(self.rows.sources)]

    def _source(self, code: int, name: str) -> SampledSource:
        empty: dict[str, Any] = {"rows": 0, "rejected": {}, "unselected": 0}
        marker = self.results[name].marker if name in self.results else empty
        looked, units = int(marker["rows"]), len(self.sampler.chunk(name).blocks)
        whole = round(self.sampler.seen[name] * looked / units) if units else 0

        def of(count: int) -> Estimate:
            return estimated(count, looked, whole)

        own = self.rows.source == code
        twins, _ = exact_duplicates(self.rows.keys("content")[own])
        return SampledSource(
            source=name,
            sampled=looked,
            of=whole,
            rejected={reason: of(count) for reason, count in marker["rejected"].items()},
            unselected=of(int(marker["unselected"])),
            bounds=[
                BoundOutcome(reason=reason, origin=origin, alone=of(alone), drops=of(drops))
                for reason, origin, alone, drops in self.bounds[name]
            ],
            kept=of(int((own & self.passed).sum())),
            exact_duplicates=len(twins),
            tokens=dict(self._tokens(own, looked, whole)),
        )

    def _tokens(self, own: NDArray[np.bool_], looked: int, whole: int) -> Iterator[tuple[str, Estimate]]:
        """Tokens for each purpose: the mean over all rows looked at, those that do not count with 0, times the rows."""
        for purpose, (fits, found) in self.tokens.items():
            if (own & fits).any():
                values = np.zeros(looked)
                values[: int(own.sum())] = np.where(fits, found, 0)[own]
                seen = int(values.sum())
                low, high = (seen / looked, seen / looked) if looked == whole else bootstrap(values, 0)
                yield purpose, Estimate(seen=seen, estimate=seen / looked * whole, low=low * whole, high=high * whole)


def estimated(count: int, looked: int, whole: int) -> Estimate:
    """So many of the rows looked at, as rows of the whole source, with Wilson's 95 % interval.

    What was seen is there; of a sample that is the whole, nothing is left to estimate.
    """
    if looked >= whole:
        return Estimate(seen=count, estimate=count, low=count, high=count)
    low, high = wilson(count, looked)
    unseen = whole - (looked - count)
    return Estimate(
        seen=count, estimate=count / looked * whole, low=max(count, low * whole), high=min(unseen, high * whole)
    )
