"""The training loop: exact resume, the right denominator, bad steps, early stop, signals."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_training import VOCABULARY, ToyShards, ToyTokenizer, counting_shards, shards_of, toy_model

from didact.errors import CallError, CheckpointError, Interrupted, NonFiniteLoss, NoTrainedTokens
from didact.model import checkpoint, fit
from didact.model.batches import BatchPlan
from didact.model.checkpoint import load_model
from didact.model.finetune import finetune
from didact.model.fit import FitResult, Progress, accumulate
from didact.model.pretrain import initial_checkpoint, pretrain
from didact.recipe.training import FinetuneSettings, ModelSettings, PretrainSettings
from didact.report.training import derived_line

SHAPE = ModelSettings(depth=2, width=32, heads=2, ffn=64, context=16)


def train(
    folder: Path, seed: int = 1, on_progress: Callable[[Progress], None] | None = None, **changes: Any
) -> FitResult:
    """A short pre-training on documents that count."""
    settings = {
        "batch_tokens": 128,
        "epochs": 1,
        "eval_every": 5,
        "checkpoint_every": 5,
        "log_every": 1,
        "keep_last": 9,
    }
    shards = changes.pop("shards", counting_shards(160))
    return pretrain(
        SHAPE, PretrainSettings.model_validate(settings | changes), shards, counting_shards(20, 9), ToyTokenizer(),
        folder, seed, on_progress, threads=1,
    )  # fmt: skip


def stop_at(step: int) -> Callable[[Progress], None]:
    """Ask the process to end, as a batch system does, at this step."""

    def watch(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


def files_of(path: Path) -> dict[str, bytes]:
    """Bytes of every file of a checkpoint that must not depend on interruptions: all but the clock in state.json."""
    found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    state = json.loads(found["state.json"])
    found["state.json"] = json.dumps({key: value for key, value in state.items() if key != "seconds"}).encode()
    return found


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path: Path, optimizer: str) -> None:
    """Training to the end equals training, being stopped by SIGTERM in mid-epoch, and training on; bit by bit."""
    straight = train(tmp_path / "straight", optimizer=optimizer)
    assert straight.steps == straight.planned_steps >= 10
    with pytest.raises(Interrupted, match="stopped at step 7"):
        train(tmp_path / "resumed", on_progress=stop_at(7), optimizer=optimizer)
    assert checkpoint.steps(tmp_path / "resumed") == [5, 7]
    resumed = train(tmp_path / "resumed", optimizer=optimizer)
    assert resumed.train_loss == straight.train_loss
    assert resumed.best.name == straight.best.name
    assert files_of(resumed.last) == files_of(straight.last)


def test_the_deterministic_switch_changes_nothing_on_a_cpu(tmp_path: Path) -> None:
    """Every operation of training passes it, the bytes are those without it, and it is off again afterwards."""
    seen: list[bool] = []
    plain = train(tmp_path / "plain")
    strict = train(
        tmp_path / "strict",
        deterministic=True,
        on_progress=lambda progress: seen.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert all(seen) and seen
    assert not torch.are_deterministic_algorithms_enabled()
    weights = [(run.last / "model.safetensors").read_bytes() for run in (plain, strict)]
    assert weights[0] == weights[1]


def test_every_derived_value_is_told_and_kept(tmp_path: Path) -> None:
    """What the recipe leaves open stands in the log and in each checkpoint: sizes, batch, rate, steps, device."""
    result = train(tmp_path)
    kept = checkpoint.read_state(result.last)["derived"]
    told = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert told["event"] == "data"
    assert told["derived"] == kept
    model = load_model(result.last)
    assert kept["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (kept["layers"], kept["width"], kept["ffn"]) == (2, 32, 64)
    assert (kept["batch_tokens"], kept["context"], kept["steps"]) == (128, 16, result.planned_steps)
    assert kept["learning_rate"] == pytest.approx(0.004)
    assert (kept["device"], kept["precision"], kept["processes"]) == ("cpu", "fp32", 1)
    line = derived_line(kept)
    assert f"{kept['parameters']:,} parameters: 2 layers of 32" in line
    assert "peak rate 0.004; cpu, fp32, 1 process" in line


def test_metrics_hold_each_step_once(tmp_path: Path) -> None:
    """After a crash between checkpoints the lines of the lost steps are replaced, also a torn last one."""
    with pytest.raises(Interrupted):
        train(tmp_path, on_progress=stop_at(7))
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"event": "step", "step": 8}\n{"event": "st')
    result = train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "step"] == list(range(1, result.steps + 1))
    assert all(line.get("loss") is not None for line in lines if line["event"] != "data")


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    """The second call returns the first one's result and writes nothing."""
    first = train(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.last.rglob("*")}
    assert train(tmp_path) == first
    assert before == {path: path.stat().st_mtime_ns for path in first.last.rglob("*")}


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    """A folder with another run's checkpoints is refused, whatever differs: seed, settings or data."""
    train(tmp_path)
    for change in ({"seed": 2}, {"learning_rate": 0.1}, {"shards": counting_shards(161)}):
        with pytest.raises(CheckpointError, match="other settings or data"):
            train(tmp_path, **change)


def test_training_learns_and_the_best_checkpoint_is_the_best(tmp_path: Path) -> None:
    """The loss falls far below that of guessing, and `best` is the step with the lowest validation loss."""
    result = train(tmp_path, epochs=6, learning_rate=0.01)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["loss"] for line in lines if line["event"] == "validation"}
    assert result.best.name == f"step-{min(scores, key=lambda step: scores[step])}"
    assert result.validation_loss == min(scores.values()) < 0.5 * math.log(VOCABULARY)
    assert result.tokens == 6 * result.data["tokens"]


def test_patience_stops_the_run(tmp_path: Path) -> None:
    """A run that stops improving ends after as many validations as its patience allows, and is saved there."""
    result = train(tmp_path, epochs=50, eval_every=1, patience=2, learning_rate=5.0, decay=0.0)
    assert result.steps < result.planned_steps
    assert result.last.is_dir()
    assert train(tmp_path, epochs=50, eval_every=1, patience=2, learning_rate=5.0, decay=0.0).steps == result.steps


def test_the_loss_is_divided_by_the_weight_of_the_whole_step() -> None:
    """Gradients are the same however a step's rows are cut into batches, with unequal weights in them."""
    shards = shards_of([17, 4, 9, 16, 3, 12], trained_from=3)
    shards.weights[20:30] = 5
    gradients = []
    for micro in (16, 64):
        model = toy_model()
        batches = BatchPlan(shards, 16, 64, micro, "split", 0).step(0)
        loss = accumulate(model, batches, sum(batch.weight for batch in batches))
        gradients.append((loss, [p.grad for p in model.parameters() if p.grad is not None]))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(gradients[0][1], gradients[1][1], strict=True))


def poison(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Let the loss of these steps be infinite."""
    true = fit.accumulate
    count = iter(range(1, 10_000))

    def spoiled(model: Any, batches: Any, weight: float, *rest: Any) -> float:
        loss = true(model, batches, weight, *rest)
        return math.inf if next(count) in steps else loss

    monkeypatch.setattr(fit, "accumulate", spoiled)


def test_a_step_that_is_not_finite_is_skipped_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad steps change no weight, are counted, and their documents are in the log."""
    poison(monkeypatch, {1, 2, 5, 6})
    fresh = load_model(initial_checkpoint(SHAPE, ToyTokenizer(), tmp_path / "initial", seed=1))
    spoiled = load_model(train(tmp_path / "spoiled", tokens=200).last)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), spoiled.parameters(), strict=True))
    result = train(tmp_path)
    assert result.skipped_steps == 2
    assert math.isfinite(result.train_loss)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    skipped = [line for line in lines if line["event"] == "skipped"]
    assert [line["step"] for line in skipped] == [3, 4]
    plan = BatchPlan(counting_shards(160), 16, 128, 2048, "split", 1)
    assert skipped[0]["documents"] == np.concatenate([batch.documents for batch in plan.step(2)]).tolist()


def test_too_many_bad_steps_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad steps in a row beyond the limit stop training with the log named."""
    poison(monkeypatch, set(range(3, 99)))
    with pytest.raises(NonFiniteLoss, match=r"5 steps in a row up to step 7.*metrics\.jsonl"):
        train(tmp_path)


def test_the_horizon_is_the_smallest_limit(tmp_path: Path) -> None:
    """Tokens, epochs and minutes each bound the run; minutes become steps once and stay so."""
    per_epoch = train(tmp_path / "a").planned_steps
    assert train(tmp_path / "b", epochs=2).planned_steps == 2 * per_epoch
    assert train(tmp_path / "c", epochs=2, tokens=600).steps < per_epoch
    timed = train(tmp_path / "d", minutes=0.002, epochs=500)
    horizon = json.loads((tmp_path / "d" / "horizon.json").read_text())
    assert timed.planned_steps == min(horizon["steps"], 500 * per_epoch)
    assert train(tmp_path / "d", minutes=0.002, epochs=500).planned_steps == timed.planned_steps


def test_finetuning_starts_from_the_best_checkpoint(tmp_path: Path) -> None:
    """Fine-tuning learns the trained targets only, from the weights it was given, with the same tokenizer."""
    first = train(tmp_path / "pretrain")
    shards = counting_shards(60, 3)
    places = np.arange(len(shards.ids)) - np.repeat(shards.bounds[:-1], np.diff(shards.bounds))
    answers = ToyShards(shards.ids, (places > 2).astype(np.uint8), shards.bounds)
    settings = FinetuneSettings(epochs=1, batch_tokens=64, context=16)
    result = finetune(settings, tmp_path, answers, None, ToyTokenizer(), tmp_path / "finetune", 1, threads=1)
    assert result.data["trained_tokens"] == int((places > 2).sum())
    assert result.best == result.last
    state = checkpoint.read_state(result.last)
    assert state["phase"] == "finetune"
    assert first.best.is_dir()
    with pytest.raises(CallError, match="token rows"):
        finetune(settings, tmp_path, answers, None, ToyTokenizer(vocab_size=128), tmp_path / "other", 1, threads=1)


def test_finetuning_may_start_from_fresh_weights(tmp_path: Path) -> None:
    """Without pre-training a checkpoint of fresh weights is made once, and fine-tuning starts from it."""
    first = initial_checkpoint(SHAPE, ToyTokenizer(), tmp_path / "initial", seed=3)
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert initial_checkpoint(SHAPE, ToyTokenizer(), tmp_path / "initial", seed=3) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    settings = FinetuneSettings(epochs=1, batch_tokens=64)
    result = finetune(settings, first, counting_shards(9), None, ToyTokenizer(), tmp_path / "finetune", 1, threads=1)
    assert result.steps == result.planned_steps


def test_over_long_conversations_follow_their_policy(tmp_path: Path) -> None:
    """Dropped conversations are counted, also when only a validation conversation is too long under `error`."""
    train(tmp_path / "pretrain")
    shards = shards_of([30, 10, 12, 40], trained_from=2)
    dropped = finetune(
        FinetuneSettings(epochs=1), tmp_path / "pretrain", shards, None, ToyTokenizer(), tmp_path / "a", 1, threads=1
    )
    assert dropped.data["dropped_over_long"] == 2
    short = shards_of([10, 12], trained_from=2)
    settings = FinetuneSettings(epochs=1, over_long="error")
    strict = finetune(settings, tmp_path / "pretrain", short, shards, ToyTokenizer(), tmp_path / "b", 1, threads=1)
    assert strict.validation_loss is not None
    with pytest.raises(NoTrainedTokens, match="validation split"):
        untrained = shards_of([5], trained_from=9)
        finetune(settings, tmp_path / "pretrain", short, untrained, ToyTokenizer(), tmp_path / "c", 1, threads=1)


def test_progress_tells_where_training_is(tmp_path: Path) -> None:
    """Each reported step names its place, and validations carry their loss."""
    seen: list[Progress] = []
    result = train(tmp_path, on_progress=seen.append)
    assert [progress.step for progress in seen] == list(range(1, result.steps + 1))
    assert {progress.step for progress in seen if progress.validation_loss is not None} >= {5, 10, result.steps}
    assert all(replace(progress, phase="pretrain") == progress for progress in seen)
    assert seen[-1].tokens == result.tokens
