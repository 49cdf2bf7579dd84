"""Optimisers and the schedule: against torch's AdamW, singular values, and the shape of the rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from toy_training import toy_model

from didact.errors import CheckpointError
from didact.model.optim import ADAM_BETAS, Muon, Optimizer, orthogonalise, rate_at
from didact.model.transformer import Decoder
from didact.recipe.training import PretrainSettings


def set_gradients(model: Decoder, seed: int) -> None:
    """Give every parameter a random gradient."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def weights_of(model: Decoder) -> list[Tensor]:
    """All weights, detached."""
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_adamw_is_torchs_with_decay_on_matrices_only() -> None:
    """Three steps move the weights as torch's own AdamW does, norms without weight decay."""
    ours, theirs = toy_model(), toy_model()
    optimizer = Optimizer(ours, PretrainSettings(learning_rate=0.01, weight_decay=0.3, clip=1e9))
    reference = torch.optim.AdamW(
        [
            {"params": [p for p in theirs.parameters() if p.dim() == 2], "weight_decay": 0.3},
            {"params": [p for p in theirs.parameters() if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=0.005,
        betas=ADAM_BETAS,
        fused=False,
    )
    for seed in range(3):
        set_gradients(ours, seed)
        set_gradients(theirs, seed)
        optimizer.step(0.5)
        reference.step()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(weights_of(ours), weights_of(theirs), strict=True))


@given(st.integers(2, 24), st.integers(2, 24), st.integers(0, 10**6))
def test_orthogonalising_moves_singular_values_near_one(rows: int, columns: int, seed: int) -> None:
    """Singular values end in 0.3..1.3 unless tiny at first, and the singular vectors stay."""
    matrix = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns))).float()
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    result = u.T @ orthogonalise(matrix[None])[0] @ v.T
    off = result - torch.diag(torch.diag(result))
    assert off.abs().max() < 0.02
    large = s / s.norm() > 0.05
    assert torch.diag(result)[large].min() > 0.3
    assert torch.diag(result).max() < 1.3


def test_muon_steps_down_the_momentum() -> None:
    """Equal gradients move a square matrix against them by the rate, whatever the gradient's size."""
    for scale in (1e-3, 1e3):
        matrix = torch.zeros(8, 8)
        muon = Muon([("m", matrix)], rate=0.1, weight_decay=0.0)
        gradient = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
        matrix.grad = gradient * scale
        muon.step(0.5)
        along = float((matrix * -gradient).sum() / 8)
        assert 0.7 * 0.05 < along < 1.3 * 0.05


def test_muon_takes_the_blocks_matrices_and_no_other() -> None:
    """Embedding, head and norms stay with AdamW; together both cover every parameter once."""
    model = toy_model(tie=False)
    optimizer = Optimizer(model, PretrainSettings(optimizer="muon"))
    assert optimizer.muon is not None
    names = set(optimizer.muon.momenta)
    assert all(".layers." in name and "proj" in name for name in names)
    assert len(names) == 2 * 7
    assert names | {name for name, _ in optimizer.by_adam} == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_reloaded_state_goes_on_with_the_same_bits(kind: str) -> None:
    """Saving and loading the optimiser's tensors changes nothing about later steps."""
    settings = PretrainSettings.model_validate({"optimizer": kind})
    straight = toy_model()
    first = Optimizer(straight, settings)
    for seed in range(2):
        set_gradients(straight, seed)
        first.step(1.0)
    resumed = toy_model(9)
    resumed.load_state_dict(straight.state_dict())
    second = Optimizer(resumed, settings)
    second.load({name: tensor.clone() for name, tensor in first.tensors().items()})
    for model, optimizer in ((straight, first), (resumed, second)):
        set_gradients(model, 7)
        optimizer.step(0.3)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(straight), weights_of(resumed), strict=True))


def test_a_foreign_state_is_refused() -> None:
    """The state of another optimiser is not loaded half."""
    model = toy_model()
    optimizer = Optimizer(model, PretrainSettings(optimizer="muon"))
    set_gradients(model, 0)
    optimizer.step(1.0)
    with pytest.raises(CheckpointError, match="does not match"):
        Optimizer(toy_model(), PretrainSettings()).load(optimizer.tensors())


@given(st.integers(1, 500), st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_rate_rises_stays_and_falls(steps: int, warmup: float, decay: float) -> None:
    """Warm-up climbs, then the rate is 1, then it falls and never turns up again; no step has rate 0."""
    rates = [rate_at(step, steps, warmup, decay) for step in range(steps)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    level = [rate for step, rate in enumerate(rates) if warmup * steps <= step <= (1 - decay) * steps]
    assert all(rate == 1 for rate in level)


def test_clipping_scales_all_gradients_alike() -> None:
    """Gradients longer than the limit are scaled to it together, shorter ones stay."""
    model = toy_model()
    optimizer = Optimizer(model, PretrainSettings(clip=2.0))
    set_gradients(model, 0)
    before = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    norm = optimizer.clip_gradients()
    after = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert norm == pytest.approx(float(before.norm()), rel=1e-4)
    assert torch.allclose(after, before * 2 / before.norm(), rtol=1e-4)
    assert optimizer.clip_gradients() == pytest.approx(2.0, rel=1e-3)
