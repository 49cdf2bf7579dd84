"""Recipe to version: the only place where the stages meet. Its body reads as the data path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from didact.build.assemble import logical_digest, mix_rows, shard_tasks, usable, wanted_mixes
from didact.build.compare import Comparison
from didact.build.count import Counts, count_rows, load_kernels, ready_tokenizer
from didact.build.decide import Fates, drop_duplicates, filter_rows, refuse_nothing, takes_part
from didact.build.hold_out import hold_out
from didact.build.inputs import Inputs, resolve_inputs
from didact.build.losses import account_unused, loss_tasks
from didact.build.measures import Measures
from didact.build.per_record import curate_sources
from didact.build.publish import Made, publish
from didact.build.rows import Rows, in_order
from didact.build.shard_files import Context, FileTask, write_file
from didact.canonical import content_hash
from didact.durable import locked, read_json, remove_asides, write_json
from didact.engine.base import Engine
from didact.engine.local import LocalEngine, fitting_workers, without_cycle_collector
from didact.errors import TooManyRejected
from didact.recipe.load import Recipe, load_recipe
from didact.recipe.mixes import Mix, Purpose
from didact.render.tokenizer import Tokenizer
from didact.report.progress import Listener, Silent
from didact.sources.spool import Spool
from didact.store.layout import CHUNKS, Store
from didact.store.manifest import Account
from didact.store.version import Version


@dataclass(frozen=True)
class _Job:
    """What every stage of one build needs."""

    recipe: Recipe
    inputs: Inputs
    store: Store
    engine: Engine
    tell: Listener
    measures: Measures = field(default_factory=Measures)

    @property
    def folder(self) -> Path:
        """The build's work folder."""
        return self.store.build(self.inputs.plan)

    def stage(self, name: str) -> None:
        """Say that a stage begins, and measure it."""
        self.tell.stage(name)
        self.measures.stage(name)


def build(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    *,
    store: str | Path | None = None,
    workers: int | None = None,
    max_rejected: int | None = None,
    tell: Listener | None = None,
) -> Version:
    """Build the version a recipe describes, or find it when it is built already.

    The result does not depend on `workers` or on having been killed and started again.
    Raises CallError for a recipe that cannot be meant, DataError when the data cannot do what is asked, StoreError
    when the disk refuses.
    """
    loaded, base = load_recipe(recipe)
    place = Store(Path(store) if store is not None else base / loaded.store)
    listener = tell if tell is not None else Silent()
    place.require_writable()
    listener.stage("inputs")
    with Spool(place.spools) as spool:
        inputs = resolve_inputs(loaded, base, spool)
        return _build(loaded, base, inputs, place, workers, max_rejected, listener)


def _build(
    loaded: Recipe,
    base: Path,
    inputs: Inputs,
    place: Store,
    workers: int | None,
    max_rejected: int | None,
    listener: Listener,
) -> Version:
    # Two builds of one plan would write, and give away, the same folder.
    own, other = place.build(inputs.plan) / "lock", "waiting for another build of the same plan"
    place.sweep()
    with place.in_use(lambda: listener.note("waiting for gc")), locked(own, lambda: listener.note(other)):
        done = _built(place, loaded, inputs)
        if done is not None:
            listener.note(f"{loaded.name}@{done.manifest.version}: already built from these inputs and settings")
            _refuse_rejected(done.manifest.accounting, max_rejected)
            return done
        with LocalEngine(workers or fitting_workers(inputs.total_bytes)) as engine, without_cycle_collector():
            job = _Job(loaded, inputs, place, engine, listener)
            version = _run(job, base, max_rejected)
        # Written when the workers are gone: only then does the system tell how much memory they needed.
        write_json(job.folder / "build.json", {"version": version.manifest.version, **job.measures.report()})
    return version


def _refuse_rejected(accounts: Sequence[Account], most: int | None) -> None:
    rejected = sum(sum(account.rejected.values()) for account in accounts)
    if most is not None and rejected > most:
        raise TooManyRejected(f"{rejected} rows were rejected, --max-rejected allows {most}; see `didact validate`")


def _built(store: Store, recipe: Recipe, inputs: Inputs) -> Version | None:
    """The version an earlier build made of the same plan."""
    record = store.build(inputs.plan) / "build.json"
    if not record.exists():
        return None
    path = store.version(recipe.name, read_json(record)["version"])
    if not (path / "manifest.json").exists():
        return None
    store.set_ref(recipe.name, "latest", path.name)
    return Version.open(path)


def _run(job: _Job, base: Path, max_rejected: int | None) -> Version:
    recipe = job.recipe
    remove_asides(job.folder)

    job.stage("read, clean, measure")
    curated = curate_sources(job.inputs, recipe, job.engine, job.store.chunks, job.tell)
    _refuse_rejected(curated.accounts, max_rejected)
    write_json(job.folder / CHUNKS, sorted(chunk.key for chunk in curated.chunks))
    rows = Rows(in_order(curated.chunks), tuple(sorted(recipe.sources)))
    fates = Fates(rows, np.ones(len(rows), np.bool_), accounts=list(curated.accounts))

    job.stage("filter")
    filter_rows(fates, recipe.filters)

    job.stage("deduplicate")
    compare = Comparison(rows, recipe.dedup.minhash) if recipe.dedup.minhash else None
    drop_duplicates(fates, recipe.dedup, compare)
    refuse_nothing(fates)

    job.stage("split")
    held = hold_out(rows, fates.alive, recipe)

    job.stage("tokenizer and counts")
    wanted = wanted_mixes(recipe, rows, held.split == 0)
    tokenizer, counts = _counted(job, base, rows, held.split == 0, list(wanted.values()), curated.headers)

    job.stage("mix")
    mixes = [
        mix_rows(name, purpose, mix, rows, held, counts.get(purpose), recipe.seed)
        for name, (purpose, mix) in wanted.items()
    ]
    account_unused(fates, held.split, mixes)

    job.stage("shards")
    digest = logical_digest(mixes, rows)
    version = content_hash([job.inputs.plan, digest])[:12]
    folder = job.folder / version
    context = Context(
        curated.headers, {name: source.license for name, source in recipe.sources.items()}, job.inputs.digests
    )
    tasks: Iterator[FileTask] = chain(
        shard_tasks(folder, mixes, rows, context), loss_tasks(folder, fates, curated, context)
    )
    files = [entry for _, entry in job.engine.map(write_file, tasks)]
    made = Made(fates, held, mixes, files, curated, tokenizer, job.folder / "tokenizer")
    return publish(job.store, folder, recipe, job.inputs, version, digest, made)


def _counted(
    job: _Job,
    base: Path,
    rows: Rows,
    train: np.ndarray[Any, np.dtype[np.bool_]],
    mixes: Sequence[tuple[Purpose, Mix]],
    headers: dict[str, Any],
) -> tuple[Tokenizer | None, dict[Purpose, Counts]]:
    """The tokenizer and the tokens of the training rows; nothing when the recipe says `tokenizer: null`."""
    settings = job.recipe.tokenizer
    if settings is None:
        return None, {}
    folder = job.folder / "tokenizer"
    with ThreadPoolExecutor(1) as beside:
        learning = beside.submit(ready_tokenizer, rows, np.flatnonzero(train), job.recipe, settings, folder, base)
        if job.engine.workers > 1:
            # The workers have nothing else to do meanwhile, and loading the kernels takes each of them a second.
            list(job.engine.map(load_kernels, range(job.engine.workers)))
        tokenizer = learning.result()
    wanted: dict[Purpose, np.ndarray[Any, np.dtype[np.bool_]]] = {}
    for purpose, mix in mixes:
        taken = train & usable(rows, purpose) & takes_part(rows, list(mix.sources))
        wanted[purpose] = wanted[purpose] | taken if purpose in wanted else taken
    return tokenizer, count_rows(job.engine, rows, wanted, headers, folder)
