"""Recipe to version: the only place where the stages meet. Its body reads as the data path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from didact.build.ahead import PRELOAD
from didact.build.assemble import logical_digest, mix_rows, shard_tasks, usable, wanted_mixes
from didact.build.compression import compression
from didact.build.count import Counts, count_rows, make_tokenizer
from didact.build.decide import (
    Fates,
    drop_duplicates,
    duplicates_from,
    duplicates_table,
    filter_rows,
    find_duplicates,
    refuse_nothing,
    takes_part,
)
from didact.build.depends import StageKeys, stage_keys
from didact.build.hold_out import HeldOut, hold_out
from didact.build.inputs import Inputs, resolve_inputs
from didact.build.losses import account_unused, loss_tasks, side_tasks
from didact.build.measures import MeasuredEngine, Measures
from didact.build.per_record import curate_sources, on_file
from didact.build.publish import Made, claimed, publish
from didact.build.ready import ReadyMeanwhile
from didact.build.rows import Rows, in_order
from didact.build.shard_files import Context, FileTask, write_file
from didact.build.space import require_space
from didact.build.stage_results import Result, StageResults
from didact.canonical import content_hash
from didact.durable import locked, remove_asides
from didact.engine.base import Engine
from didact.engine.choice import EngineChoice, EngineName
from didact.engine.local import available_cores, without_cycle_collector
from didact.errors import TooManyRejected
from didact.recipe.load import Recipe, load_recipe
from didact.recipe.mixes import Mix, Purpose
from didact.records import Header
from didact.remote.folder import Folder
from didact.render.tokenizer import Tokenizer
from didact.report.progress import Listener, Silent
from didact.report.version_files import write_version_report
from didact.sources.spool import Spool
from didact.store.layout import BUILD, CHUNKS, Store, StoreAt, elsewhere, store_of
from didact.store.manifest import Account
from didact.store.version import Version
from didact.text.compiled import told_of_compiling


@dataclass(frozen=True)
class _Job:
    """What every stage of one build needs."""

    recipe: Recipe
    inputs: Inputs
    store: Store
    engine: Engine
    tell: Listener
    measures: Measures

    @property
    def folder(self) -> Folder:
        """The build's work folder."""
        return self.store.build(self.inputs.plan)

    @property
    def threads(self) -> int:
        """Threads this process may use while the workers have nothing to do."""
        return min(self.engine.workers, available_cores())

    def stage(self, name: str, rows: int = 0) -> None:
        """Say that a stage begins, and measure it. rows: those it works on; 0 when its result is on file."""
        self.tell.stage(name)
        self.measures.stage(name)
        self.measures.rows = rows


def build(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    *,
    store: str | Path | StoreAt | None = None,
    workers: int | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    max_rejected: int | None = None,
    tell: Listener | None = None,
) -> Version:
    """Build the version a recipe describes, or find it when it is built already.

    engine: `local` runs on this machine; `ray` on the Ray cluster at `address`, or on a Ray started here for the build.
    The result does not depend on them, on `workers` or on having been killed and started again.
    Raises CallError for a recipe or an engine that cannot be meant, DataError when the data cannot do what is asked,
    StoreError when the disk refuses or has no room for what would be written, EngineError when workers die again and
    again.
    """
    choice = EngineChoice(engine, workers, address)
    loaded, base = load_recipe(recipe)
    place = store_of(store, loaded, base)
    if choice.distributed:
        # Relative paths would mean another place on every node.
        base, place = base.absolute(), place.absolute()
    listener = tell if tell is not None else Silent()
    place.require_writable()
    listener.stage("inputs")
    with told_of_compiling(listener.note), Spool(place.spools, elsewhere(loaded, store)) as spool:
        inputs = resolve_inputs(loaded, base, spool)
        if place.built(loaded.name, inputs.plan) is None:
            require_space(loaded, inputs, place)
        return _build(loaded, base, inputs, place, choice, max_rejected, listener)


def _build(
    loaded: Recipe,
    base: Path,
    inputs: Inputs,
    place: Store,
    choice: EngineChoice,
    max_rejected: int | None,
    listener: Listener,
) -> Version:
    # Two builds of one plan would write, and give away, the same folder.
    own, other = place.build(inputs.plan).path / "lock", "waiting for another build of the same plan"
    place.sweep(loaded.name, inputs.plan)
    with place.in_use(lambda: listener.note("waiting for gc")), locked(own, lambda: listener.note(other)):
        done = _built(place, loaded, inputs)
        if done is not None:
            listener.note(f"{loaded.name}@{done.manifest.version}: already built from these inputs and settings")
            _refuse_rejected(done.manifest.accounting, max_rejected)
            return done
        folder = place.build(inputs.plan)
        with choice.open(inputs.total_bytes, folder, PRELOAD, listener.note) as engine, without_cycle_collector():
            measures = Measures()
            job = _Job(loaded, inputs, place, MeasuredEngine(engine, measures), listener, measures)
            with _telling_repeats(job) as repeats:
                version = _run(job, base, max_rejected)
            cost = {"version": version.manifest.version, "workers": engine.workers, **measures.report()}
        job.folder.write_json(BUILD, cost | ({"repeated_calls": repeats} if repeats else {}))
        write_version_report(version, place)
    return version


@contextmanager
def _telling_repeats(job: _Job) -> Iterator[dict[str, int]]:
    """Tell at the end how many calls to an object store failed and were made again; the dict holds them then, by call.

    Counted are those of this machine.
    """
    before, found = job.store.repeated(), dict[str, int]()
    try:
        yield found
    finally:
        found |= job.store.repeated() - before
        if found:
            told = ", ".join(f"{call} {count}" for call, count in sorted(found.items()))
            job.tell.note(f"calls to {job.store} that failed and were made again: {told}")


def _refuse_rejected(accounts: Sequence[Account], most: int | None) -> None:
    rejected = sum(sum(account.rejected.values()) for account in accounts)
    if most is not None and rejected > most:
        raise TooManyRejected(f"{rejected} rows were rejected, --max-rejected allows {most}; see `didact validate`")


def _built(store: Store, recipe: Recipe, inputs: Inputs) -> Version | None:
    """The version an earlier build made of the same plan; `latest` names it again."""
    folder = store.built(recipe.name, inputs.plan)
    if folder is None:
        return None
    version = Version.open(folder)
    store.set_ref(recipe.name, "latest", version.manifest.version)
    return version


def _run(job: _Job, base: Path, max_rejected: int | None) -> Version:
    recipe = job.recipe
    remove_asides(job.folder.path)

    job.stage("read, clean, measure")
    curated = curate_sources(job.inputs, recipe, ReadyMeanwhile(job.engine, on_file), job.store.chunks, job.tell)
    job.measures.rows, job.measures.bytes = curated.ran_rows, curated.ran_bytes
    job.measures.chunks(curated.made, len(curated.chunks) - curated.made)
    _refuse_rejected(curated.accounts, max_rejected)
    rows = Rows(in_order(curated.chunks), tuple(sorted(recipe.sources)))
    keys = stage_keys(recipe, base, [chunk.key for chunk in rows.chunks])
    results = StageResults(job.store.stages)
    job.folder.write_json(CHUNKS, sorted([chunk.key for chunk in rows.chunks] + [made.key for made in keys.all()]))
    fates = Fates(rows, np.ones(len(rows), np.bool_), accounts=list(curated.accounts))

    job.stage("filter", len(rows))
    filter_rows(fates, recipe.filters)

    job.stage("deduplicate", 0 if results.has(keys.duplicates) else int(fates.alive.sum()))
    found = results.table(
        keys.duplicates, lambda: Result(duplicates_table(find_duplicates(fates, recipe.dedup, job.threads)), {})
    )
    drop_duplicates(fates, duplicates_from(found.table))
    refuse_nothing(fates)

    job.stage("split", 0 if results.has(keys.split) else int(fates.alive.sum()))
    held = HeldOut.of(results.table(keys.split, lambda: hold_out(rows, fates.alive, recipe, job.threads).as_result()))

    job.stage("tokenizer and counts", 0 if results.has(keys.tokenizer) else int((held.split == 0).sum()))
    wanted = wanted_mixes(recipe, rows, held.split == 0)
    train = held.split == 0
    tokenizer = _tokenizer(job, base, rows, train, results, keys)
    counts = _counted(job, rows, train, list(wanted.values()), curated.headers, results, keys)
    made_of = job.folder / "tokenizer"
    fit = compression(job.engine, rows, np.flatnonzero(train), made_of, recipe.seed) if tokenizer else []

    job.stage("mix", int((held.split == 0).sum()))
    mixes = [
        mix_rows(name, purpose, mix, rows, held, counts.get(purpose), recipe.seed)
        for name, (purpose, mix) in wanted.items()
    ]
    account_unused(fates, held.split, mixes)

    job.stage("shards")
    digest = logical_digest(mixes, rows)
    version = content_hash([job.inputs.plan, digest])[:12]
    folder = replace(job.store.version(recipe.name, version), path=job.folder.path / version)
    if claimed(folder, job.folder) is not None:
        job.store.set_ref(recipe.name, "latest", version)
        return Version.open(job.store.version(recipe.name, version))
    context = Context(
        curated.headers, {name: source.license for name, source in recipe.sources.items()}, job.inputs.digests
    )
    # Signatures of all rows are one file, which takes longest: begun last, it would leave the other workers idle.
    tasks: Iterator[FileTask] = chain(
        side_tasks(folder, fates),
        shard_tasks(folder, mixes, rows, context),
        loss_tasks(folder, fates, curated, context),
    )
    files = [entry for _, entry in job.engine.map(write_file, tasks)]
    job.measures.rows, job.measures.bytes = sum(file.rows for file in files), sum(file.bytes for file in files)
    made = Made(fates, held, mixes, files, curated, tokenizer, made_of, fit)
    return publish(job.store, folder, recipe, job.inputs, version, digest, made)


def _tokenizer(
    job: _Job, base: Path, rows: Rows, train: NDArray[np.bool_], results: StageResults, keys: StageKeys
) -> Tokenizer | None:
    """The recipe's tokenizer; nothing when the recipe says `tokenizer: null`."""
    settings, folder = job.recipe.tokenizer, job.folder / "tokenizer"
    if settings is None:
        return None
    made: list[Tokenizer] = []

    def make(aside: Path) -> None:
        made.append(make_tokenizer(rows, np.flatnonzero(train), job.recipe, settings, base, aside))

    results.copied(keys.tokenizer, folder.path, make)
    folder.send(path.name for path in sorted(folder.path.iterdir()))
    return made[0] if made else Tokenizer.load(folder.path)


def _counted(
    job: _Job,
    rows: Rows,
    train: NDArray[np.bool_],
    mixes: Sequence[tuple[Purpose, Mix]],
    headers: dict[str, Header],
    results: StageResults,
    keys: StageKeys,
) -> dict[Purpose, Counts]:
    """The tokens of the training rows that mixes draw from; nothing without a tokenizer."""
    if job.recipe.tokenizer is None:
        return {}
    wanted = {
        (purpose, source): np.flatnonzero(train & usable(rows, purpose) & takes_part(rows, [source]))
        for purpose, mix in mixes
        for source in mix.taking_part
    }
    return count_rows(job.engine, rows, wanted, headers, job.folder / "tokenizer", results, keys.counts)
