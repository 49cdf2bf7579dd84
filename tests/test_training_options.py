"""Options of training: schedule, averaged weights, spikes in the log, and less memory for the same gradients."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from test_fit import files_of, stop_at, train
from toy_training import counting_shards, shards_of, toy_model

from didact.errors import Interrupted
from didact.model import checkpoint, fit
from didact.model.average import WeightAverage
from didact.model.batches import BatchPlan
from didact.model.fit import accumulate
from didact.model.loss import batch_loss
from didact.model.optim import rate_at
from didact.model.spikes import FIRST_STEPS, Usual
from didact.model.validation import mean_loss
from didact.recipe.training import PretrainSettings


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Lines of one kind in metrics.jsonl."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == kind]


@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_the_cosine_is_the_one_of_transformers(warmup: float) -> None:
    """Over 1,000 steps the rate is that of get_cosine_schedule_with_warmup up to one step's difference."""
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_cosine_schedule_with_warmup(optimizer, int(1000 * warmup), 1000)
    for step in range(1000):
        assert rate_at(step, 1000, warmup, 0.5, "cosine") == pytest.approx(reference.get_last_lr()[0], abs=0.011)
        optimizer.step()
        reference.step()


@given(st.integers(1, 500), st.floats(0, 1))
def test_a_cosine_never_stops_learning(steps: int, warmup: float) -> None:
    """However short the run, each step has a rate above 0 and at most 1, and after the top it only falls."""
    rates = [rate_at(step, steps, warmup, 0.5, "cosine") for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    top = rates.index(max(rates))
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_a_setting_that_would_be_ignored_is_refused() -> None:
    """A decay beside a cosine has no meaning."""
    with pytest.raises(ValidationError, match="belongs to the schedule wsd"):
        PretrainSettings(schedule="cosine", decay=0.3)
    assert PretrainSettings(schedule="cosine", warmup=0.9).warmup == 0.9


def test_the_average_is_the_weighted_sum_of_past_weights() -> None:
    """After some updates it equals the sum computed from all past weights, and swapping in and out changes no bit."""
    model = toy_model(0)
    average = WeightAverage(model, 0.9)
    name, parameter = next(iter(model.named_parameters()))
    expected = parameter.detach().double().numpy().copy()
    rng = np.random.default_rng(0)
    for count in range(1, 200):
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape))))
        kept = min(0.9, count / (count + 9))
        expected = kept * expected + (1 - kept) * parameter.detach().double().numpy()
        average.update(count)
    assert np.allclose(average.average[name].numpy(), expected, atol=1e-5)
    before = parameter.detach().clone()
    with average.in_place():
        assert np.allclose(parameter.detach().numpy(), expected, atol=1e-5)
        assert model.lm_head.weight is model.model.embed_tokens.weight
    assert torch.equal(parameter, before)


def test_an_interrupted_run_with_an_average_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Average and trained weights both survive; the checkpoint's model is the average, not the last step's weights."""
    settings: dict[str, Any] = {"average": 0.8, "schedule": "cosine", "recompute": True}
    straight = train(tmp_path / "straight", **settings)
    with pytest.raises(Interrupted):
        train(tmp_path / "resumed", on_progress=stop_at(7), **settings)
    resumed = train(tmp_path / "resumed", **settings)
    assert files_of(resumed.last) == files_of(straight.last)
    plain = checkpoint.load_model(train(tmp_path / "plain", schedule="cosine").last).state_dict()
    held = checkpoint.load_optimizer(straight.last)
    for name, averaged in checkpoint.load_model(straight.last).state_dict().items():
        if name != "lm_head.weight":
            assert torch.equal(held[f"trained.{name}"], plain[name])
            assert not torch.equal(averaged, plain[name])


def test_the_average_is_what_is_validated(tmp_path: Path) -> None:
    """At a high constant rate the averaged weights score better than those of the step, and are the best checkpoint."""
    settings: dict[str, Any] = {"learning_rate": 0.03, "decay": 0.0, "epochs": 6, "eval_every": 20}
    plain, averaged = train(tmp_path / "plain", **settings), train(tmp_path / "averaged", average=0.95, **settings)
    assert averaged.validation_loss is not None and plain.validation_loss is not None
    assert averaged.validation_loss < plain.validation_loss
    batches = BatchPlan(counting_shards(20, 9), 16, 2048, 2048, "split", 0).first_rows(200_000)
    again = mean_loss(checkpoint.load_model(averaged.best), batches)
    assert again == pytest.approx(averaged.validation_loss, rel=1e-6)


@pytest.mark.parametrize("micro", [16, 64])
def test_recomputing_gives_the_same_gradients(micro: int) -> None:
    """Loss and gradients are the same bits, whether blocks are computed once or twice."""
    shards = shards_of([17, 4, 9, 16, 3, 12], trained_from=3)
    found = []
    for recompute in (False, True):
        model = toy_model()
        model.recompute = recompute
        batches = BatchPlan(shards, 16, 64, micro, "split", 0).step(0)
        loss = accumulate(model, batches, 9.0)
        found.append((loss, [p.grad for p in model.parameters() if p.grad is not None]))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


def test_recomputing_holds_one_block_at_a_time() -> None:
    """Between forward and backward pass, only what enters each block is kept: under a third of the usual bytes."""
    held = {}
    for recompute in (False, True):
        model = toy_model()
        model.recompute = recompute
        batch = BatchPlan(shards_of([16] * 8), 16, 128, 128, "split", 0).step(0)[0]
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = batch_loss(model, batch).detach()
        held[recompute] = sum(sizes.values()) - sum(p.numel() for p in model.parameters() if p.data_ptr() in sizes)
        assert math.isfinite(float(loss))
    assert held[True] < held[False] / 3


def test_a_spike_is_logged_with_its_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss far above the usual gives one event that names step and documents; training and weights are as without."""
    quiet = train(tmp_path / "quiet", epochs=4)
    assert events(tmp_path / "quiet", "spike") == []
    assert quiet.steps > 30
    true, count = fit.accumulate, iter(range(1, 10_000))

    def spoiled(model: Any, batches: Any, weight: float, *rest: Any) -> float:
        return true(model, batches, weight, *rest) * (10 if next(count) == 27 else 1)

    monkeypatch.setattr(fit, "accumulate", spoiled)
    loud = train(tmp_path / "loud", epochs=4)
    (spike,) = events(tmp_path / "loud", "spike")
    assert spike["step"] == 27
    assert spike["loss"] > 5 * spike["usual"]
    plan = BatchPlan(counting_shards(160), 16, 128, 2048, "split", 1)
    assert spike["documents"] == np.concatenate([batch.documents for batch in plan.step(26)]).tolist()
    weights = [(run.last / "model.safetensors").read_bytes() for run in (quiet, loud)]
    assert weights[0] == weights[1]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300))
def test_the_usual_is_a_running_mean_and_variance(losses: list[float]) -> None:
    """While few losses were seen they are plain mean and variance; nothing is a spike before there are enough."""
    usual = Usual()
    for place, loss in enumerate(losses):
        assert place >= FIRST_STEPS or not usual.is_spike(loss, 0.001)
        usual.take_in(loss)
        if place < 50:
            assert usual.mean == pytest.approx(np.mean(losses[: place + 1]), abs=1e-9)
            assert usual.variance == pytest.approx(np.var(losses[: place + 1]), abs=1e-9)
    assert min(losses) - 1e-9 <= usual.mean <= max(losses) + 1e-9
