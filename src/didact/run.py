"""Run: build, token shards, then the phases the recipe asks for, each evaluated when it is done;
started again, it goes on after the last complete step.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from didact.build.pipeline import build
from didact.canonical import content_hash
from didact.durable import locked, read_json, write_json
from didact.engine.local import available_cores
from didact.errors import RecipeError
from didact.evaluate.checkpoint import Evaluation, evaluate_checkpoint
from didact.evaluate.labelled import Labelled, label_set, labelled_split, measure_classifier, tokenised
from didact.evaluate.metrics import plugin_of
from didact.model.checkpoint import is_classifier, resolve
from didact.model.classify import train_classifier
from didact.model.encoder import train_encoder
from didact.model.finetune import finetune
from didact.model.fit import FitResult, Progress
from didact.model.precision import choose_device
from didact.model.preference import tune_preferences
from didact.model.pretrain import initial_checkpoint, pretrain
from didact.model.sinks import WATCHED_BY_NOBODY, Watch
from didact.model.world import World, joined
from didact.recipe.load import Recipe, load_recipe
from didact.recipe.mixes import Purpose
from didact.recipe.training import ClassifierSettings
from didact.render.token_shards import TokenShards
from didact.render.tokenizer import Tokenizer
from didact.render.verify_tokens import require_whole_tokens
from didact.report.progress import Listener, Silent
from didact.report.run_files import write_run_report
from didact.report.training import data_line, derived_line
from didact.store.layout import Store, StoreAt, store_of
from didact.store.run_folder import begin, keep
from didact.store.token_folder import tokenized
from didact.store.version import Version

Phase = Literal["pretrain", "finetune", "run"]

_PHASES = ("pretrain", "finetune", "preference", "encoder", "classifier")
"""Sections that train, in the order of their phases."""
_PARTS = ("initial", *_PHASES, *(f"evaluation-{phase}.json" for phase in _PHASES))
"""What a run that was begun elsewhere may have left in the store."""
_TRAINING_SECTIONS = ("model", *_PHASES)


@dataclass
class RunResult:
    """What a run made: the version, the run's folder, checkpoints of the last phase, and what was measured."""

    version: Version
    folder: Path
    phases: dict[str, FitResult] = field(default_factory=dict)
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the phase they followed, as plain values."""
    stored: str = ""
    """Where the run is in its store; the folder itself when that is on this disk."""
    leads: bool = True
    """Whether this process is the one of several that reports."""

    @property
    def last_phase(self) -> FitResult:
        """Where training ended."""
        return list(self.phases.values())[-1]

    def as_json(self) -> dict[str, Any]:
        """The result as plain values."""
        metrics = {
            "phases": {name: _plain(result) for name, result in self.phases.items()},
            "evaluations": self.evaluations,
        }
        return {
            "run": str(self.folder),
            "stored": self.stored or str(self.folder),
            "version": self.version.manifest.version,
            "best": str(self.last_phase.best),
            "last": str(self.last_phase.last),
            "metrics": metrics,
        }


def run(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    *,
    until: Phase = "run",
    store: str | Path | StoreAt | None = None,
    workers: int | None = None,
    threads: int | None = None,
    tell: Listener | None = None,
    watch: Watch = WATCHED_BY_NOBODY,
    device: str = "auto",
) -> RunResult:
    """Build what the recipe describes, train on it and measure the result.

    until: `pretrain` stops after pre-training, `finetune` after fine-tuning without evaluating.
    device: what trains: `cpu`, `cuda`, or `auto`, a GPU where there is one.
    watch: where metrics go beside `metrics.jsonl`; it changes nothing about the result.
    The run's folder is named by version, training settings and seed:
    the same recipe resumes it, another makes a new one.
    Started by `torchrun` the processes train together; the first builds, writes and evaluates, the others wait.
    Raises what `build`, `fit` and the evaluation raise; RecipeError when there is nothing to train.
    """
    loaded, base = load_recipe(recipe)
    _refuse_nothing_to_train(loaded, until)
    choose_device(device)  # a device that is not there is told before the build
    with joined() as world:
        listener = tell if tell is not None and world.leads else Silent()
        place = store_of(store, loaded, base)
        with world.in_turn(), place.in_use(lambda: listener.note("waiting for gc")):
            # Those that come after the first find the version and its tokens finished.
            version = build(recipe, store=store, workers=workers, tell=listener)
            course = _Course(loaded, base, version, place, threads, listener, world, watch, device)
            course.prepare(workers or available_cores())
        with _alone(course):
            return _follow(course, until)


def _alone(course: _Course) -> AbstractContextManager[None]:
    """One run at a time in a run's folder; the first process asks for all that train together."""
    if not course.world.leads:
        return nullcontext()
    told = "waiting for another process that trains this run"
    return locked(course.result.folder / "lock", lambda: course.tell.note(told))


def _follow(course: _Course, until: Phase) -> RunResult:
    """The phases the recipe asks for, one after the other."""
    loaded = course.recipe
    if loaded.pretrain is not None:
        course.pretrain()
        course.keep("pretrain")
        if until == "run":
            course.evaluate("pretrain")
    if loaded.finetune is not None and until != "pretrain":
        course.finetune()
        course.keep("initial")
        course.keep("finetune")
        if until == "run":
            course.evaluate("finetune")
    if loaded.preference is not None and until == "run":
        course.prefer()
        course.keep("preference")
        course.evaluate("preference")
    if loaded.encoder is not None and until == "run":
        course.encode()
        course.keep("encoder")
    if loaded.classifier is not None and until == "run":
        course.classify()
        course.keep("classifier")
    if course.world.leads:
        write_json(course.result.folder / "run.json", course.result.as_json())
        write_run_report(course.result.folder)
        course.keep("report.html")
    course.keep("run.json")
    return course.result


def evaluate(
    checkpoint: str | Path,
    recipe: Recipe | Mapping[str, Any] | str | Path,
    *,
    store: str | Path | StoreAt | None = None,
    threads: int | None = None,
    tell: Listener | None = None,
) -> Evaluation:
    """Measure any checkpoint on the held-out data and the tasks of a recipe, building the version when it is not there.

    Raises RecipeError when the recipe has no section `evaluate`, and what `build` and the evaluation raise.
    """
    loaded, base = load_recipe(recipe)
    classifier = is_classifier(resolve(Path(checkpoint)))
    if loaded.evaluate is None and not classifier:
        raise RecipeError(f"recipe '{loaded.name}': no section 'evaluate'; add `evaluate: {{tasks: [...]}}`")
    listener = tell if tell is not None else Silent()
    place = store_of(store, loaded, base)
    with place.in_use(lambda: listener.note("waiting for gc")):
        version = build(recipe, store=store, tell=listener)
        if classifier:
            settings = loaded.classifier or ClassifierSettings()
            mix = settings.mix or mix_of(version, "finetune", loaded.name, "classifier")
            listener.stage("evaluate")
            training = labelled_split(version, mix, "train", settings.sources)
            return classifier_evaluation(Path(checkpoint), version, loaded, mix, training, threads)
        assert loaded.evaluate is not None
        tokenizer = Tokenizer.load(resolve(Path(checkpoint)))
        listener.stage("tokenize")
        tokens = tokenized(place, version, tokenizer)
        listener.stage("evaluate")
        return evaluate_checkpoint(Path(checkpoint), version, loaded.evaluate, tokens, base, loaded.seed, threads)


def _refuse_nothing_to_train(recipe: Recipe, until: Phase) -> None:
    sections = {name: getattr(recipe, name) for name in _PHASES}
    wanted = list(sections) if until == "run" else [until]
    if all(sections[name] is None for name in wanted):
        section = until if until != "run" else "pretrain' or 'finetune"
        raise RecipeError(
            f"recipe '{recipe.name}': it has no section '{section}', so there is nothing to train; add one, or use "
            f"`didact build`"
        )


class _Course:
    """The phases of one run, in order, on one version."""

    def __init__(
        self,
        recipe: Recipe,
        base: Path,
        version: Version,
        store: Store,
        threads: int | None,
        tell: Listener,
        world: World,
        watch: Watch,
        device: str,
    ) -> None:
        self.device = device
        self.recipe, self.base, self.version, self.threads, self.tell = recipe, base, version, threads, tell
        self.world, self.watch = world, replace(watch, on_data=self._data)
        sections = recipe.model_dump(mode="json", include=set(_TRAINING_SECTIONS))
        name = content_hash([version.manifest.version, sections, recipe.seed])[:12]
        self.store, self.folder = store, store.run(recipe.name, name)
        self.result = RunResult(version, self.folder.path, leads=world.leads)
        self.result.stored = str(self.folder)
        self.tokenizer = Tokenizer.load(version.fetch() / "tokenizer")
        self.tokens = store.tokens(version.manifest.version, self.tokenizer.digest).path

    def prepare(self, workers: int) -> None:
        """Token shards, and the tokenizer beside the phases; the run says which version it holds on to."""
        if self.world.leads:
            begin(self.folder, self.version.manifest.version, _PARTS)
        self.tell.stage("tokenize")
        tokenized(self.store, self.version, self.tokenizer, workers)
        if self.world.leads:
            # A flipped bit would be trained on; shards of an earlier call may have lain there for months.
            require_whole_tokens(self.tokens)
            self.tokenizer.save(self.result.folder / "tokenizer")
        self.keep("tokenizer")

    def keep(self, part: str) -> None:
        """Put a part of the run that is complete where the store is."""
        if self.world.leads and self.folder.prefix is not None and (self.folder.path / part).exists():
            self.tell.note(f"{part}: to {self.folder}")
            keep(self.folder, part)

    def pretrain(self) -> None:
        """Pre-train, or go on where it stopped."""
        if self.recipe.pretrain is None:
            raise RecipeError(f"recipe '{self.recipe.name}': no section 'pretrain'")
        train, validation = self._shards("pretrain")
        self.tell.stage("pretrain")
        self.result.phases["pretrain"] = pretrain(
            self.recipe.model,
            self.recipe.pretrain,
            train,
            validation,
            self.tokenizer,
            self.result.folder / "pretrain",
            self.recipe.seed,
            self._progress,
            self.threads,
            self.device,
            self.watch,
        )

    def finetune(self) -> None:
        """Fine-tune from the best pre-trained checkpoint or the recipe's base; without either, from fresh weights."""
        if self.recipe.finetune is None:
            raise RecipeError(f"recipe '{self.recipe.name}': no section 'finetune'")
        train, validation = self._shards("finetune")
        self.tell.stage("finetune")
        self.result.phases["finetune"] = finetune(
            self.recipe.finetune,
            self._start(),
            train,
            validation,
            self.tokenizer,
            self.result.folder / "finetune",
            self.recipe.seed,
            self._progress,
            self.threads,
            self.device,
            self.watch,
        )

    def prefer(self) -> None:
        """Tune to preferences from the best checkpoint so far, or the recipe's base."""
        assert self.recipe.preference is not None
        train, validation = self._shards("preference")
        self.tell.stage("preference")
        base = self.recipe.preference.base
        self.result.phases["preference"] = tune_preferences(
            self.recipe.preference,
            self.result.last_phase.best if base is None else self.base / base,
            train,
            validation,
            self.tokenizer,
            self.result.folder / "preference",
            self.recipe.seed,
            self._progress,
            self.threads,
            self.device,
            self.watch,
        )

    def _start(self) -> Path:
        if "pretrain" in self.result.phases:
            return self.result.phases["pretrain"].best
        if self.recipe.finetune is not None and self.recipe.finetune.base is not None:
            return self.base / self.recipe.finetune.base
        with self.world.in_turn():
            return initial_checkpoint(
                self.recipe.model, self.tokenizer, self.result.folder / "initial", self.recipe.seed
            )

    def encode(self) -> None:
        """Train the masked encoder, or go on where it stopped."""
        settings = self.recipe.encoder
        assert settings is not None
        held = self.version.manifest.mixes
        purpose: Purpose = "pretrain" if any(mix.purpose == "pretrain" for mix in held.values()) else "finetune"
        train, validation = self._shards(purpose, "encoder", settings.mix)
        self.tell.stage("encoder")
        self.result.phases["encoder"] = train_encoder(
            self.recipe.model,
            settings,
            train,
            validation,
            self.tokenizer,
            self.result.folder / "encoder",
            self.recipe.seed,
            self._progress,
            self.threads,
            watch=self.watch,
        )

    def classify(self) -> None:
        """Train the classifier on the run's encoder, the recipe's, or fresh weights, and measure it."""
        settings = self.recipe.classifier
        assert settings is not None
        mix = settings.mix or mix_of(self.version, "finetune", self.recipe.name, "classifier")
        training = labelled_split(self.version, mix, "train", settings.sources)
        labels = label_set(training, settings.labels)
        held = self.version.manifest.mixes[mix].rows.get("validation", 0)
        validation = labelled_split(self.version, mix, "validation", settings.sources) if held else None
        encoder = self.result.phases.get("encoder")
        base = None if settings.base is None else self.base / settings.base
        self.tell.stage("classifier")
        self.result.phases["classifier"] = train_classifier(
            settings,
            labels,
            base if base is not None or encoder is None else encoder.best,
            self.recipe.model,
            tokenised(training, labels, self.tokenizer),
            None if validation is None else tokenised(validation, labels, self.tokenizer),
            self.tokenizer,
            self.result.folder / "classifier",
            self.recipe.seed,
            self._progress,
            self.threads,
            watch=self.watch,
        )
        self._evaluate_classifier(training, mix)

    def _evaluate_classifier(self, training: Labelled, mix: str) -> None:
        best = self.result.phases["classifier"].best
        record = self.result.folder / "evaluation-classifier.json"
        key = content_hash([best.name, self.recipe.seed])
        with self.world.in_turn():
            if not record.exists() or read_json(record)["key"] != key:
                self.tell.stage("evaluate after classifier")
                found = classifier_evaluation(best, self.version, self.recipe, mix, training, self.threads)
                write_json(record, {"key": key, "evaluation": found.as_json()})
        self.result.evaluations["classifier"] = read_json(record)["evaluation"]
        self.keep(record.name)

    def evaluate(self, phase: str) -> None:
        """Measure the best checkpoint of a phase; a measurement that is on file for it is not repeated."""
        if self.recipe.evaluate is None:
            return
        best = self.result.phases[phase].best
        record = self.result.folder / f"evaluation-{phase}.json"
        plugins = [plugin_of(task.metric) for task in self.recipe.evaluate.tasks]
        measures = [plugin.sha256 for plugin in plugins if plugin is not None]
        key = content_hash([best.name, self.recipe.evaluate.model_dump(mode="json"), self.recipe.seed, measures])
        with self.world.in_turn():
            self._measure(phase, best, record, key)
        self.result.evaluations[phase] = read_json(record)["evaluation"]
        self.keep(record.name)

    def _measure(self, phase: str, best: Path, record: Path, key: str) -> None:
        assert self.recipe.evaluate is not None
        if not record.exists() or read_json(record)["key"] != key:
            self.tell.stage(f"evaluate after {phase}")
            found: Evaluation = evaluate_checkpoint(
                best, self.version, self.recipe.evaluate, self.tokens, self.base, self.recipe.seed, self.threads
            )
            write_json(record, {"key": key, "evaluation": found.as_json()})

    def _shards(
        self, purpose: Purpose, section: str | None = None, given: str | None = None
    ) -> tuple[TokenShards, TokenShards | None]:
        mix = given or mix_of(self.version, purpose, self.recipe.name, section or purpose)
        held = self.version.manifest.mixes[mix].rows.get("validation", 0)
        return TokenShards.open(self.tokens, mix, "train"), TokenShards.open(
            self.tokens, mix, "validation"
        ) if held else None

    def _data(self, phase: str, told: Mapping[str, Any]) -> None:
        self.tell.note(f"{phase}: {data_line(told)}")
        self.tell.note(f"{phase}: {derived_line(told['derived'])}")

    def _progress(self, progress: Progress) -> None:
        self.tell.advance(progress.step, progress.steps, "steps", _now(progress))
        if progress.validation_loss is not None:
            self.tell.note(
                f"{progress.phase} step {progress.step:,}: loss {progress.loss:.3f}, validation "
                f"{progress.validation_loss:.3f}, {progress.tokens_per_second:,.0f} tokens/s"
            )


def mix_of(version: Version, purpose: Purpose, recipe: str, section: str) -> str:
    """The mix of a purpose that a section reads, the one of that name first. Raises RecipeError when there is none."""
    named = [name for name, mix in sorted(version.manifest.mixes.items()) if mix.purpose == purpose]
    if not named:
        raise RecipeError(
            f"recipe '{recipe}': section '{section}' needs a mix of purpose '{purpose}'; add `mixes: "
            f"{{{purpose}: ...}}`"
        )
    return purpose if purpose in named else named[0]


def classifier_evaluation(
    checkpoint: Path, version: Version, recipe: Recipe, mix: str, training: Labelled, threads: int | None
) -> Evaluation:
    """What a classifier is worth on the test split (the validation split where there is no test)."""
    sources = recipe.classifier.sources if recipe.classifier else None
    rows = version.manifest.mixes[mix].rows
    split = next((split for split in ("test", "validation") if rows.get(split)), "test")
    held_out = labelled_split(version, mix, split, sources)
    results = measure_classifier(checkpoint, training, held_out, recipe.seed, threads)
    return Evaluation(resolve(checkpoint), {}, {}, results)


def _now(progress: Progress) -> str:
    """How training goes at this step, for a line that counts along."""
    peak = "" if progress.peak_share is None else f", {progress.peak_share:.0%} of peak"
    return (
        f"loss {progress.loss:.3f}, gradient {progress.gradient_norm:.2f}, "
        f"{progress.tokens_per_second:,.0f} tokens/s{peak}"
    )


def _plain(result: FitResult) -> dict[str, Any]:
    return asdict(result) | {"best": str(result.best), "last": str(result.last)}
