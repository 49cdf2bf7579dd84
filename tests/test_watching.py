"""Watching a training: losses by source, where metrics go, and how much of the device is used."""

from __future__ import annotations

import io
import math
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console
from test_fit import SHAPE, stop_at
from toy_training import ToyShards, ToyTokenizer, counting_shards, shards_of, toy_model

from didact.errors import CallError, Interrupted
from didact.model import checkpoint
from didact.model.batches import BatchPlan
from didact.model.fit import FitResult, Progress, accumulate
from didact.model.flops import flops_per_token, peak_flops, peak_of
from didact.model.loss import batch_loss, token_losses
from didact.model.pretrain import pretrain
from didact.model.sinks import SinkName, Watch
from didact.model.validation import mean_loss, measure
from didact.recipe.training import PretrainSettings
from didact.report.progress import Narrator
from didact.report.run_lines import events
from didact.report.training import data_line, run_summary, sparkline


@dataclass
class LabelledShards(ToyShards):
    """Token shards that know their documents' sources; the last source has no document."""

    sources: NDArray[np.int32]
    source_names: list[str]


def labelled(documents: int = 24) -> LabelledShards:
    """Documents of two sources with unequal weights."""
    plain = shards_of([5 + 3 * (place % 7) for place in range(documents)], trained_from=2, seed=4)
    plain.weights[30:60] *= 3
    return LabelledShards(
        plain.ids, plain.weights, plain.bounds, (np.arange(documents) % 3 == 0).astype(np.int32), ["a", "b", "none"]
    )


def train(folder: Path, watch: Watch, **changes: Any) -> FitResult:
    """A short pre-training with labelled validation documents."""
    settings = {"batch_tokens": 128, "eval_every": 5, "checkpoint_every": 5, "log_every": 1, "keep_last": 9}
    on_progress = changes.pop("on_progress", None)
    return pretrain(
        SHAPE, PretrainSettings.model_validate(settings | changes), counting_shards(120), labelled(), ToyTokenizer(),
        folder, 1, on_progress, threads=1, watch=watch,
    )  # fmt: skip


def test_losses_by_source_are_those_of_each_document_alone() -> None:
    """Grouping packed validation equals running every document by itself, and their weighted mean is the whole."""
    model, shards = toy_model(1), labelled()
    batches = BatchPlan(shards, 32, 64, 64, "split", 0).first_rows(10**6)
    found = measure(model, batches, shards)
    sums: dict[str, list[float]] = {}
    for place, source in enumerate(shards.sources):
        document = slice(shards.bounds[place], shards.bounds[place + 1])
        ids = torch.from_numpy(shards.ids[document].astype(np.int64))
        weights = torch.from_numpy(shards.weights[document].astype(np.float64))[1:]
        with torch.inference_mode():
            logits = model(ids[None, :-1])[0].double()
        nats = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        part = sums.setdefault(shards.source_names[source], [0.0, 0.0])
        part[0] += float((nats * weights).sum())
        part[1] += float(weights.sum())
    assert found.by_source == pytest.approx({name: loss / weight for name, (loss, weight) in sums.items()}, rel=1e-5)
    assert found.loss == pytest.approx(
        sum(loss for loss, _ in sums.values()) / sum(weight for _, weight in sums.values()), rel=1e-5
    )
    assert measure(model, batches, None).by_source == {}
    assert model.training


@pytest.mark.parametrize("trained_from", [1, 4])
def test_losses_of_tokens_add_up_to_the_batch_loss(trained_from: int) -> None:
    """What validation sums is what training minimises."""
    model = toy_model(1)
    shards = shards_of([9, 17, 30, 4], trained_from=trained_from)
    batch = BatchPlan(shards, 32, 64, 64, "split", 0).step(0)[0]
    nats, places = token_losses(model, batch)
    assert (nats * batch.weights[places]).sum() == pytest.approx(batch_loss(model, batch).item(), rel=1e-5)
    assert len(places) == np.count_nonzero(batch.weights)


def test_metrics_hold_each_source_and_the_report_shows_their_course(tmp_path: Path) -> None:
    """Each validation line has its losses by source; the run's tables show first, best and last of each."""
    result = train(tmp_path, Watch(), epochs=2)
    assert len(result.validations) == math.ceil(result.steps / 5)
    assert all(found["sources"].keys() == {"a", "b"} for found in result.validations)
    assert min(found["loss"] for found in result.validations) == result.validation_loss
    console = Console(file=(file := io.StringIO()), width=120)
    phase = {"steps": 1, "tokens": 1, "seconds": 1.0, "train_loss": 1.0, "validation_loss": 1.0, "data": result.data}
    console.print(run_summary({"evaluations": {}, "phases": {"pretrain": phase | {"validations": result.validations}}}))
    shown = file.getvalue()
    assert "Data (lost" in shown and f"{result.data['shares']['tokens']['padded']:.2%}" in shown
    for source in ("a", "b"):
        course = [found["sources"][source] for found in result.validations]
        assert f"{course[0]:.3f}" in shown and f"{course[-1]:.3f}" in shown and sparkline(course) in shown


def test_what_became_of_the_data_is_told_before_the_first_step(tmp_path: Path) -> None:
    """A run that breaks off has said and logged what packing did; the same stands in its checkpoints and at its end."""
    told: list[dict[str, Any]] = []
    watch = Watch(on_data=lambda phase, data: told.append({"phase": phase, **data}))
    with pytest.raises(Interrupted):
        train(tmp_path, watch, on_progress=stop_at(3), epochs=1)
    (line,) = events(tmp_path / "metrics.jsonl", "data")
    assert line.pop("step") == 0 and line == {name: value for name, value in told[0].items() if name != "phase"}
    assert line["documents"] == 120 == line["whole"] and line["planned_epochs"] == 1.0
    assert line["shares"]["tokens"]["used"] == 1.0
    result = train(tmp_path, watch, epochs=1)
    assert told[1] == told[0]
    assert checkpoint.read_state(result.last)["data"] == result.data
    lost = {"dropped_over_long": 5, "whole": 115, "tokens": 900}
    assert data_line(line | lost).startswith("120 records: 115 whole, 5 left out (longer than the context); 900 tokens")
    phases = {"broad": {"rows": 1, "first_step": 0}, "anneal": {"rows": 1, "first_step": line["steps_per_epoch"]}}
    late = (
        f"anneal from step {line['steps_per_epoch'] + 1}; the run ends after {line['steps_per_epoch']} steps, before "
    )
    assert data_line(line | {"phases": phases}).endswith(f"; phases: broad from step 1, {late}anneal")


@given(st.lists(st.floats(0, 20), min_size=1, max_size=200))
def test_a_sparkline_is_short_and_ends_with_the_last_value(values: list[float]) -> None:
    """However long the course, it fits a line; the lowest value has the lowest bar."""
    line = sparkline([*values, math.nan])
    assert 1 <= len(line) <= 41
    if len(values) <= 40:
        assert line[values.index(min(values))] == "▁"
        assert len(line) == len(values)


def test_tensorboard_reads_every_step_once(tmp_path: Path) -> None:
    """Also after an interruption the event files hold each step's numbers once, and the weights are as without."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watch = Watch(("tensorboard",))
    with pytest.raises(Interrupted):
        train(tmp_path / "a", watch, epochs=1, on_progress=stop_at(7))
    result = train(tmp_path / "a", watch, epochs=1)
    plain = train(tmp_path / "b", Watch(), epochs=1)
    files = [(run.last / "model.safetensors").read_bytes() for run in (result, plain)]
    assert files[0] == files[1]
    events = EventAccumulator(str(tmp_path / "a" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, result.steps + 1))
    assert events.Scalars("loss")[-1].value == pytest.approx(result.train_loss, rel=1e-6)
    assert {"rate", "gradient_norm", "tokens_per_second", "validation_loss", "validation_loss/a"} <= set(
        events.Tags()["scalars"]
    )
    before = sorted((tmp_path / "a" / "tensorboard").iterdir())
    train(tmp_path / "a", watch, epochs=1)
    assert sorted((tmp_path / "a" / "tensorboard").iterdir()) == before


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_its_run_on_this_disk(tmp_path: Path) -> None:
    """The run's file is under the phase's folder; nothing was sent."""
    train(tmp_path, Watch(("wandb",)), epochs=0.5)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    for _ in range(200):  # its own process writes the file, and may be a moment behind
        if b"gradient_norm" in file.read_bytes():
            return
        time.sleep(0.1)
    pytest.fail("the run's numbers were not written within 20 s")


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: SinkName
) -> None:
    """The extra to install is named, and no step was made."""
    for module in [*sys.modules, name, "torch.utils.tensorboard"]:
        if module.split(".")[0] == name or module.startswith("torch.utils.tensorboard"):
            monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CallError, match=rf"didact\[{name}\]"):
        train(tmp_path, Watch((name,)))
    assert not list(tmp_path.glob("step-*"))


@pytest.mark.parametrize("tie", [True, False])
def test_operations_are_those_torch_counts(tie: bool) -> None:
    """Torch's own counter finds as many in the matrix products of a training step, attention's own left out."""
    from torch.utils.flop_counter import FlopCounterMode

    model = toy_model(tie=tie)
    batch = BatchPlan(shards_of([33] * 4), 32, 128, 128, "split", 0).step(0)
    with FlopCounterMode(display=False) as counter:
        accumulate(model, batch, 1.0)
    products = sum(
        count for op, count in counter.get_flop_counts()["Global"].items() if str(op) in ("aten.mm", "aten.addmm")
    )
    assert flops_per_token(model, 1.0) * 128 == products


def test_the_share_of_peak_is_told_only_when_the_peak_is_known(tmp_path: Path) -> None:
    """A CPU's is unknown unless given; GPUs are known by name."""
    assert peak_flops(torch.device("cpu")) is None
    assert peak_flops(torch.device("cpu"), 5e9) == 5e9
    assert peak_of("NVIDIA H100 80GB HBM3") == 989e12 and peak_of("GeForce 256") is None
    seen: list[Progress] = []
    train(tmp_path / "a", Watch(), epochs=0.3, on_progress=seen.append)
    assert all(progress.peak_share is None for progress in seen)
    train(tmp_path / "b", Watch(peak_flops=1e12), epochs=0.3, on_progress=seen.append)
    assert seen[-1].peak_share is not None and 0 < seen[-1].peak_share < 1
    assert all(progress.gradient_norm > 0 for progress in seen)


def test_the_terminal_line_tells_how_training_goes() -> None:
    """What is told beside the count stands behind the time left; slow steps do not show as 0/s."""
    narrator = Narrator(stream := io.StringIO(), interval=0.0)
    narrator.stage("pretrain")
    narrator.began -= 20
    narrator.advance(10, 40, "steps", "loss 3.214, gradient 0.80, 1,150 tokens/s")
    line = stream.getvalue().splitlines()[-1]
    assert re.match(r"pretrain: 10/40 steps, 0\.5/s, 1 min 00 s left, [\d.,]+ [MG]B, loss 3\.214", line)


def test_mean_loss_is_the_whole_of_measure() -> None:
    """Two ways to the same number."""
    batches = BatchPlan(labelled(), 32, 64, 64, "split", 0).first_rows(10**6)
    assert mean_loss(toy_model(1), batches) == pytest.approx(measure(toy_model(1), batches, labelled()).loss, rel=1e-9)
