"""What a build would run, and why, found out without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from didact.build.depends import StageKeys, stage_keys
from didact.build.inputs import Inputs, resolve_inputs
from didact.build.per_record import ChunkTask, chunk_tasks
from didact.build.reasons import reasons
from didact.build.sample import Sampler, try_sample
from didact.build.sample_times import sampled
from didact.build.space import free_bytes, reckon
from didact.engine.chunks import MadeFrom, all_made
from didact.engine.local import fitting_workers
from didact.recipe.load import Recipe, load_recipe
from didact.recipe.mixes import Purpose
from didact.report.plan_json import Because, BuildPlan, Reason, SourcePlan, Space, StagePlan
from didact.report.progress import Listener, Silent
from didact.sources.spool import Spool
from didact.store.layout import Store, StoreAt, elsewhere, store_of


@dataclass(frozen=True, slots=True)
class _Found:
    """A chunk of the inputs, and why it runs: no reason when its result is on file."""

    source: str
    rows: int
    key: str
    because: tuple[Reason, ...]
    on_file: int
    """Bytes of its result in the store."""
    here: int
    """Of these, bytes that this disk has: all of them but for a store that is elsewhere."""


def plan(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    *,
    store: str | Path | StoreAt | None = None,
    sample: int | None = None,
    workers: int | None = None,
    tell: Listener | None = None,
) -> BuildPlan:
    """What a build of the recipe would run, and why; nothing is written, and the store need not exist.

    Every input is read and cut into chunks, since only their content tells which results still hold.
    sample: run the per-record stages on so many rows of each source, in a temporary folder that is removed, and
    estimate times for so many workers, and what filters would drop.
    Raises what `build` raises for a recipe and inputs that cannot be meant.
    """
    loaded, base = load_recipe(recipe)
    place = store_of(store, loaded, base)
    listener = tell if tell is not None else Silent()
    listener.stage("inputs")
    with Spool(elsewhere=elsewhere(loaded, store)) as spool:
        inputs = resolve_inputs(loaded, base, spool)
        built = place.built(loaded.name, inputs.plan)
        sampler = None if sample is None else Sampler(sample)
        listener.stage("chunks")
        found = list(_chunks(inputs, loaded, place, listener, sampler)) if not built or sampler else []
        keys = stage_keys(loaded, base, [one.key for one in found])
        made = BuildPlan(
            name=loaded.name,
            plan=inputs.plan,
            store=str(place),
            version=built.path.name if built else None,
            sources=[_source(name, inputs, found) for name in inputs.files],
            stages=[] if built else _stages(loaded, place, keys),
            space=_space(loaded, inputs, place, found, built is not None),
        )
        if sampler is None:
            return made
        listener.stage("sample")
        tried = try_sample(sampler, inputs, loaded, base)
        many = workers or fitting_workers(inputs.total_bytes)
        return made.model_copy(update={"sample": sampled(made, tried, sampler, loaded, place, many)})


def _chunks(inputs: Inputs, recipe: Recipe, store: Store, tell: Listener, sampler: Sampler | None) -> Iterator[_Found]:
    """Every chunk in canonical order, and why it runs."""
    on_file = list(all_made(store.chunks))
    stored = {made.key: marker["files"] for made, marker in on_file}
    known: dict[str, list[MadeFrom]] = {}
    for made, _ in on_file:
        known.setdefault(made.of, []).append(made)
    rows = 0
    for task in chunk_tasks(inputs, recipe, store.chunks, []):
        if sampler is not None:
            sampler.look(task.chunk)
        rows += _rows(task)
        tell.advance(rows, None, "rows")
        because = () if task.key in stored else reasons(task.made_from, known.get(task.chunk.source, []))
        files = stored.get(task.key, {})
        here = sum(size for name, size in files.items() if store.chunks.here(name, size))
        yield _Found(task.chunk.source, _rows(task), task.key, because, sum(files.values()), here)


def _rows(task: ChunkTask) -> int:
    return sum(len(block) for block in task.chunk.blocks)


def _source(name: str, inputs: Inputs, found: Sequence[_Found]) -> SourcePlan:
    own = [one for one in found if one.source == name]
    because = Counter(reason for one in own for reason in one.because)
    return SourcePlan(
        source=name,
        files=len(inputs.files[name]),
        rows=sum(one.rows for one in own),
        chunks=len(own),
        reused=sum(not one.because for one in own),
        run_rows=sum(one.rows for one in own if one.because),
        because=[Because(reason=reason, chunks=chunks) for reason, chunks in because.most_common()],
    )


def _stages(recipe: Recipe, store: Store, keys: StageKeys) -> list[StagePlan]:
    on_file = [made for made, _ in all_made(store.stages)]
    tokenizer = [] if recipe.tokenizer is None else [_stage(keys.tokenizer, on_file)]
    counts = [] if recipe.tokenizer is None else list(_counts(recipe, keys, on_file))
    return [
        StagePlan(stage="filter", state="always runs"),
        _stage(keys.duplicates, on_file),
        _stage(keys.split, on_file),
        *tokenizer,
        *counts,
        StagePlan(stage="mix", state="always runs"),
        StagePlan(stage="shards", state="always runs"),
    ]


def _stage(made: MadeFrom, on_file: Sequence[MadeFrom]) -> StagePlan:
    if any(one.key == made.key for one in on_file):
        return StagePlan(stage=made.of, state="reused")
    return StagePlan(stage=made.of, state="runs", because=list(reasons(made, on_file)))


def _counts(recipe: Recipe, keys: StageKeys, on_file: Sequence[MadeFrom]) -> Iterator[StagePlan]:
    """The counts of each source for each purpose. Without mixes in the recipe the kinds of the kept records decide
    which are needed: told are those on file, or that there are some to make.
    """
    if recipe.mixes:
        pairs = {(recipe.purpose(name), source) for name, mix in recipe.mixes.items() for source in mix.taking_part}
        yield from (_stage(keys.counts(*pair), on_file) for pair in sorted(pairs))
        return
    there = {one.key for one in on_file}
    for source in sorted(recipe.sources):
        made = [keys.counts(purpose, source) for purpose in get_args(Purpose)]
        known = [one for one in made if one.key in there]
        yield from (_stage(one, on_file) for one in known or made[:1])


def _space(recipe: Recipe, inputs: Inputs, store: Store, found: Sequence[_Found], built: bool) -> Space:
    if built:
        return Space(results=0, on_file=0, version=0, needed=0, free=free_bytes(store.root))
    need = reckon(recipe, inputs, store, sum(one.here for one in found))
    results = sum(one.on_file for one in found)
    # What is on file is known to the byte, so that the rest is reckoned from the chunks that run.
    run = {name: sum(one.rows for one in found if one.source == name and one.because) for name in inputs.files}
    rows = {name: sum(one.rows for one in found if one.source == name) for name in inputs.files}
    results += sum(need.results[name] * run[name] // max(rows[name], 1) for name in inputs.files)
    return Space(
        results=results,
        on_file=need.on_file,
        version=need.version,
        needed=results - need.on_file + need.version,
        free=need.free,
    )
