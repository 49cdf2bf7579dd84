"""The one training loop: gradient accumulation, validation, best and last checkpoints, early stop, exact resume.

What happens at a step depends only on the state saved after the step before, so a run that was interrupted ends with
the same bytes as one that was not (on one device type with the same number of threads and processes). Which rows a step
takes does not depend on the number of processes either: each process takes a share of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from didact.canonical import content_hash
from didact.durable import ASIDE, remove
from didact.errors import CheckpointError, Interrupted, NonFiniteLoss
from didact.model import checkpoint
from didact.model.average import WeightAverage
from didact.model.batches import Batch, BatchPlan
from didact.model.flops import flops_per_token
from didact.model.freed_memory import give_back
from didact.model.metrics_log import MetricsLog
from didact.model.objective import NEXT_TOKEN, Objective
from didact.model.optim import Optimizer, rate_at
from didact.model.precision import autocast
from didact.model.sharding import evened, own_part, whole_model
from didact.model.signals import stop_requests
from didact.model.sinks import Watch, opened
from didact.model.spikes import Usual
from didact.model.transformer import Decoder
from didact.model.validation import Labels
from didact.model.world import World
from didact.recipe.training import TrainingSettings
from didact.report.run_lines import events


@dataclass(frozen=True)
class Progress:
    """What a step reports; losses are nats per trained token. `validation_loss` is set after a validation.

    peak_share: operations per second as a share of what the device can do, where that is known.
    """

    phase: str
    step: int
    steps: int
    loss: float
    rate: float
    tokens: int
    tokens_per_second: float
    seconds: float
    gradient_norm: float
    peak_share: float | None
    validation_loss: float | None = None


OnProgress = Callable[[Progress], None]


@dataclass
class TrainState:
    """Where a run stands, as `state.json` keeps it. `plan` is the digest of the epoch it is in."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    gradient_norm: float = math.nan
    usual: Usual = field(default_factory=Usual)
    validation_loss: float | None = None
    best_loss: float | None = None
    best_step: int | None = None
    waited: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    plan: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class Phase:
    """One training phase: what to fit, on what, for how long, and where its checkpoints go.

    `fingerprint` names everything the result depends on; a folder that holds another one is not resumed.
    `extra` goes into every checkpoint's state.json.
    """

    name: str
    model: Decoder
    optimizer: Optimizer
    train: BatchPlan
    validation: list[Batch]
    steps: int
    settings: TrainingSettings
    folder: Path
    fingerprint: str
    save_tokenizer: Callable[[Path], None] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    world: World = field(default_factory=World)
    average: WeightAverage | None = None
    labels: Labels | None = None
    watch: Watch = field(default_factory=Watch)
    objective: Objective = NEXT_TOKEN


@dataclass(frozen=True)
class FitResult:
    """Where a phase ended. Losses are nats per trained token; `tokens` were fed in, over `seconds` of training."""

    best: Path
    last: Path
    steps: int
    planned_steps: int
    train_loss: float
    validation_loss: float | None
    tokens: int
    seconds: float
    skipped_steps: int
    data: dict[str, Any]
    validations: list[dict[str, Any]]
    """Each validation's step and loss, and its losses by source; known to the first process."""


def fit(phase: Phase, on_progress: OnProgress | None = None) -> FitResult:
    """Train until the planned steps are done or patience ends, from the newest checkpoint if there is one.

    Raises Interrupted after saving when SIGTERM or SIGINT asked to stop, NonFiniteLoss when steps keep failing,
    CheckpointError when the folder holds another run's checkpoints.
    """
    state = _resume(phase)
    saved = state.step if state.step else -1
    sinks = phase.watch.sinks if phase.world.leads and not _finished(phase, state) else ()
    with stop_requests() as stopping, opened(sinks, phase.folder, phase.name, state.step) as others:
        log = MetricsLog(phase.folder / "metrics.jsonl", state.step, others) if phase.world.leads else None
        _tell_data(phase, state, log)
        while not _finished(phase, state):
            _train_step(phase, state, log)
            if _due(state.step, phase.settings.log_every, phase.steps):
                give_back()
                if log is not None:
                    log.write(_line(phase, state))
            if _validation_due(phase, state):
                if _validate(phase, state, log):
                    saved = _save(phase, state)
                _report(phase, state, on_progress, state.validation_loss)
            elif _due(state.step, phase.settings.log_every, phase.steps):
                _report(phase, state, on_progress, None)
            asked = phase.world.any(stopping.is_set())
            if saved != state.step and (_checkpoint_due(phase, state) or asked):
                saved = _save(phase, state)
            if asked and not _finished(phase, state):
                raise Interrupted(
                    f"{phase.name} stopped at step {state.step} of {phase.steps} and saved; run the same "
                    "command to go on"
                )
    return _result(phase, state)


def _tell_data(phase: Phase, state: TrainState, log: MetricsLog | None) -> None:
    """Say what packing made of the data, and let the log of a new run begin with it."""
    if log is None or _finished(phase, state):
        return
    told = phase.train.report() | {"planned_epochs": phase.steps / phase.train.steps_per_epoch}
    told |= {"derived": phase.extra["derived"]} if "derived" in phase.extra else {}
    if state.step == 0:
        log.write({"event": "data", "step": 0} | told)
    if phase.watch.on_data is not None:
        phase.watch.on_data(phase.name, told)


def _resume(phase: Phase) -> TrainState:
    """Load the newest checkpoint into model and optimiser, or start at step 0."""
    newest = _newest(phase)
    if newest is None:
        return TrainState(fingerprint=phase.fingerprint)
    saved = checkpoint.read_state(newest)
    state = TrainState(**{name: saved[name] for name in TrainState.__dataclass_fields__ if name in saved})
    state.loss = math.nan if state.loss is None else state.loss  # JSON has no NaN: no step was finite yet
    state.usual = Usual(**saved["usual"])
    if state.fingerprint != phase.fingerprint:
        raise CheckpointError(
            f"{newest}: was trained with other settings or data; choose another folder or delete this one"
        )
    if state.plan != phase.train.plan_of(state.step - 1).digest:
        raise CheckpointError(f"{newest}: its packing plan cannot be made again from this data; choose another folder")
    checkpoint.restore(phase.model, newest)
    tensors = checkpoint.load_optimizer(newest, phase.optimizer.place)
    phase.optimizer.load(phase.average.take_over(tensors) if phase.average else tensors)
    if phase.world.leads:
        _point(phase, state)
    phase.world.wait()
    return state


def _newest(phase: Phase) -> Path | None:
    """The checkpoint to go on from; the first process tidies the folder before the others look into it."""
    with phase.world.in_turn():
        return checkpoint.newest(phase.folder, tidy=phase.world.leads)


def _point(phase: Phase, state: TrainState) -> None:
    """Let `last` name this step's checkpoint, and `best` too when none was better or nothing was measured."""
    path = phase.folder / f"step-{state.step}"
    checkpoint.point(phase.folder, "last", path)
    if state.best_step in (None, state.step):
        checkpoint.point(phase.folder, "best", path)


def _finished(phase: Phase, state: TrainState) -> bool:
    patience = phase.settings.patience
    return state.step >= phase.steps or (patience is not None and state.waited >= patience)


def _due(step: int, every: int, steps: int) -> bool:
    return step % every == 0 or step == steps


def validation_interval(settings: TrainingSettings, steps: int) -> int:
    """Steps between validations: as set, else a tenth of the run."""
    return settings.eval_every or max(1, -(-steps // 10))


def _validation_due(phase: Phase, state: TrainState) -> bool:
    return bool(phase.validation) and _due(state.step, validation_interval(phase.settings, phase.steps), phase.steps)


def _checkpoint_due(phase: Phase, state: TrainState) -> bool:
    every = phase.settings.checkpoint_every or validation_interval(phase.settings, phase.steps)
    return _due(state.step, every, phase.steps) or _finished(phase, state)


def _train_step(phase: Phase, state: TrainState, log: MetricsLog | None) -> None:
    """One optimiser step: the loss is the weighted sum over all its batches, of all processes, divided by the sum of
    all their weights.

    A step whose loss or gradient is not finite changes nothing but the counts, and names its documents in the log.
    """
    started = time.perf_counter()
    batches = phase.train.step(state.step, phase.world.share)
    weight, tokens = phase.world.sums(sum(batch.weight for batch in batches), sum(len(batch.ids) for batch in batches))
    with _drawing(phase, state.step):
        evened_out = evened(batches, phase.world, batches[0] if batches else phase.train.step(state.step)[0])
        (loss,) = phase.world.sums(accumulate(phase.model, evened_out, weight, phase.objective))
    phase.world.add_gradients(phase.optimizer.parameters)
    norm = phase.optimizer.clip_gradients()
    state.gradient_norm = norm
    if math.isfinite(loss) and math.isfinite(norm):
        phase.optimizer.step(_share(phase, state.step))
        if phase.average is not None:
            phase.average.update(state.step + 1)
        state.loss, state.skipped_in_row = loss, 0
        _note_spike(phase, state, batches, log)
    else:
        phase.optimizer.clear()
        _count_skip(phase, state, batches, log)
    state.step += 1
    state.tokens += int(tokens)
    state.seconds += time.perf_counter() - started


@contextmanager
def _drawing(phase: Phase, step: int) -> Iterator[None]:
    """Dropout draws from seed, step and process alone, so that nothing about it has to be saved."""
    if phase.model.adapted is None or not phase.model.adapted.settings.dropout:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(int(content_hash([phase.fingerprint, step, phase.world.rank])[:15], 16))
        yield


def _share(phase: Phase, step: int) -> float:
    """Share of the peak learning rate at a step."""
    settings = phase.settings
    return rate_at(step, phase.steps, settings.warmup, settings.decay, settings.schedule)


def accumulate(model: Decoder, batches: list[Batch], weight: float, objective: Objective = NEXT_TOKEN) -> float:
    """Add the gradients of the step's loss, batch by batch; returns the loss in nats per unit of weight."""
    total = 0.0
    for batch in batches:
        with autocast(model.lm_head.weight.device):
            loss = objective.loss(model, batch) / weight
        torch.autograd.backward(loss)
        total += float(loss.detach())
    return total


def _note_spike(phase: Phase, state: TrainState, batches: list[Batch], log: MetricsLog | None) -> None:
    """Log a loss far above the usual with the documents of its step, and count it."""
    if log is not None and state.usual.is_spike(state.loss, phase.settings.spike):
        found = {"loss": state.loss, "usual": state.usual.mean, "documents": _documents(phase, state, batches)}
        log.write({"event": "spike", "step": state.step + 1} | found)
    state.usual.take_in(state.loss)


def _documents(phase: Phase, state: TrainState, batches: list[Batch]) -> list[int]:
    """Documents of a step, those of other processes too."""
    batches = phase.train.step(state.step) if phase.world.size > 1 else batches
    return [int(document) for batch in batches for document in batch.documents]


def _count_skip(phase: Phase, state: TrainState, batches: list[Batch], log: MetricsLog | None) -> None:
    state.skipped += 1
    state.skipped_in_row += 1
    if log is not None:
        found = {"reason": "loss or gradient not finite", "documents": _documents(phase, state, batches)}
        log.write({"event": "skipped", "step": state.step + 1} | found)
    if state.skipped_in_row >= phase.settings.non_finite_limit:
        raise NonFiniteLoss(
            f"{phase.name}: {state.skipped_in_row} steps in a row up to step {state.step + 1} had no finite "
            f"loss; lower learning_rate, or look at the documents named in {phase.folder / 'metrics.jsonl'}"
        )


def _validate(phase: Phase, state: TrainState, log: MetricsLog | None) -> bool:
    """Measure the validation loss; whether it is the best so far."""
    with _averaged(phase):
        loss, by_source, measures = phase.objective.measure(phase.model, phase.validation, phase.labels, phase.world)
    state.validation_loss = loss
    better = math.isfinite(loss) and (state.best_loss is None or loss < state.best_loss)
    state.waited = 0 if better else state.waited + 1
    if better:
        state.best_loss, state.best_step = loss, state.step
    if log is not None:
        line = {"event": "validation", "step": state.step, "loss": loss, "best": better}
        log.write(line | ({"sources": by_source} if by_source else {}) | ({"measures": measures} if measures else {}))
    return better


def _averaged(phase: Phase) -> AbstractContextManager[None]:
    """The weights that are validated and kept: the average, where one is wanted."""
    return phase.average.in_place() if phase.average is not None else nullcontext()


def _save(phase: Phase, state: TrainState) -> int:
    """Write a checkpoint of this step and forget those no longer wanted; the first process does, the others wait.

    Of a sharded model each process writes its part of the optimiser's state, which the first moves into the checkpoint.
    """
    model, parts = phase.model, []
    if phase.world.sharded:
        model = whole_model(phase.model, phase.world)
        parts = _write_parts(phase, state)
    if phase.world.leads:
        _write(phase, state, model, parts)
    phase.world.wait()
    return state.step


def _write_parts(phase: Phase, state: TrainState) -> list[Path]:
    """The files of all processes, this one's written; they lie aside until the checkpoint is whole."""
    held = {name: own_part(tensor) for name, tensor in phase.optimizer.tensors().items()}
    aside = phase.folder / f"{ASIDE}parts-of-{state.step}"
    checkpoint.write_part(aside, phase.world.rank, phase.world.size, held)
    phase.world.wait()
    size = phase.world.size
    return [aside / f"state-{rank}-of-{size}.safetensors" for rank in range(size)]


def _write(phase: Phase, state: TrainState, model: Decoder, parts: list[Path]) -> None:
    plan = phase.train.plan_of(state.step - 1)
    state.plan = plan.digest
    plan.save(phase.folder / "plan.npy")
    content = asdict(state) | phase.extra
    tensors = phase.optimizer.tensors() | (phase.average.tensors() if phase.average is not None else {})
    with _averaged(phase):
        checkpoint.save_checkpoint(
            phase.folder, state.step, model, content, None if parts else tensors, phase.save_tokenizer, parts
        )
    for part in parts[:1]:
        remove(part.parent)
    _point(phase, state)
    checkpoint.prune(phase.folder, phase.settings.keep_last)


def _line(phase: Phase, state: TrainState) -> dict[str, Any]:
    speed = round(state.tokens / max(state.seconds, 1e-9))
    rate = _share(phase, state.step - 1) * phase.optimizer.rate
    return {
        "event": "step",
        "step": state.step,
        "loss": state.loss,
        "rate": rate,
        "gradient_norm": state.gradient_norm,
        "tokens": state.tokens,
        "tokens_per_second": speed,
        "flops_per_second": speed * flops_per_token(phase.model, phase.train.trained_share),
    }


def _report(phase: Phase, state: TrainState, on_progress: OnProgress | None, validation_loss: float | None) -> None:
    if on_progress is not None and phase.world.leads:
        line = _line(phase, state)
        peak = phase.watch.peak_flops
        on_progress(
            Progress(
                phase.name,
                state.step,
                phase.steps,
                state.loss,
                line["rate"],
                state.tokens,
                line["tokens_per_second"],
                state.seconds,
                state.gradient_norm,
                line["flops_per_second"] / peak if peak else None,
                validation_loss,
            )
        )


def _result(phase: Phase, state: TrainState) -> FitResult:
    last = phase.folder / f"step-{state.step}"
    return FitResult(
        best=checkpoint.follow(phase.folder, "best") or last,
        last=last,
        steps=state.step,
        planned_steps=phase.steps,
        train_loss=state.loss,
        validation_loss=state.best_loss,
        tokens=state.tokens,
        seconds=state.seconds,
        skipped_steps=state.skipped,
        data=phase.train.report(),
        validations=events(phase.folder / "metrics.jsonl", "validation") if phase.world.leads else [],
    )
