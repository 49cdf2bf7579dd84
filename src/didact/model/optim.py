"""AdamW and Muon over a decoder's weights, and the learning-rate schedule as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from didact.errors import CheckpointError
from didact.model.precision import has_bf16
from didact.model.sharding import gathered, own_part, part_like, rows_like, whole
from didact.model.transformer import Decoder
from didact.recipe.training import Schedule, TrainingSettings

ADAM_BETAS = (0.9, 0.95)
MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration of Jordan et al., "Muon" (2024): values end within 0.7..1.2."""
NEWTON_SCHULZ_STEPS = 5


def rate_at(step: int, steps: int, warmup: float, decay: float, schedule: Schedule = "wsd") -> float:
    """Share of the peak learning rate at a step (0-based): linear up, then what the schedule says, almost to zero.

    warmup, decay: shares of all steps. wsd: level, then linear down over `decay`; cosine: half a cosine from the top.

    >>> [round(rate_at(step, 10, 0.2, 0.5), 2) for step in range(10)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    rising = (step + 1) / max(1.0, warmup * steps)
    if schedule == "cosine":
        done = max(0.0, (step + 1 - warmup * steps) / max(1.0, (1 - warmup) * steps + 1))
        return min(1.0, rising, (1 + math.cos(math.pi * done)) / 2)
    falling = (steps - step) / max(1.0, decay * steps)
    return max(0.0, min(1.0, rising, falling))


def default_learning_rate(width: int) -> float:
    """Peak rate of AdamW for a stream of `width` floats: 0.002 at 128, falling with the square root."""
    return 0.002 * (128 / width) ** 0.5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Move the singular values of each matrix near 1 and keep its singular vectors; (n, rows, columns) in and out.

    Newton-Schulz in the matrices' own precision. The caller gives bf16 on GPUs that have it, which is enough for
    directions; on most CPUs bf16 is tens of times slower.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon:
    """Momentum whose step is made orthogonal, for matrices; those of one shape are treated together.

    The step is scaled by sqrt(max(1, rows / columns)), so that one rate suits matrices of every shape.
    """

    def __init__(self, named: Sequence[tuple[str, Tensor]], rate: float, weight_decay: float) -> None:
        self.rate, self.weight_decay = rate, weight_decay
        self.momenta = {name: torch.zeros_like(matrix) for name, matrix in named}
        self.shapes: dict[tuple[int, ...], list[tuple[str, Tensor]]] = {}
        for name, matrix in named:
            self.shapes.setdefault(tuple(matrix.shape), []).append((name, matrix))

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Update the matrices from their gradients at this share of the peak rate."""
        rate = self.rate * share
        for (rows, columns), members in self.shapes.items():
            matrices = [matrix for _, matrix in members]
            gradients = [own_part(matrix.grad) for matrix in matrices if matrix.grad is not None]
            momenta = [own_part(self.momenta[name]) for name, _ in members]
            torch._foreach_lerp_(momenta, gradients, 1 - MUON_MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momenta, MUON_MOMENTUM)  # Nesterov
            whole_ones = [gathered(part, matrix) for part, matrix in zip(ahead, matrices, strict=True)]
            together = torch.stack(whole_ones)
            if has_bf16(together.device):
                together = together.bfloat16()
            steps = orthogonalise(together).to(torch.float32) * max(1.0, rows / columns) ** 0.5
            own = [own_part(matrix) for matrix in matrices]
            torch._foreach_mul_(own, 1 - rate * self.weight_decay)
            torch._foreach_add_(own, [rows_like(*pair) for pair in zip(steps, matrices, strict=True)], alpha=-rate)


class Optimizer:
    """The update rule of a run: AdamW on everything, or Muon on the blocks' matrices and AdamW on the rest.

    Its whole state is `tensors()`, by parameter name.
    """

    def __init__(self, model: Decoder, settings: TrainingSettings, rate: float | None = None) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.named = named
        self.parameters = [parameter for _, parameter in named]
        self.clip = settings.clip
        matrix = (
            {name for name, p in named if p.dim() == 2 and "layers" in name} if settings.optimizer == "muon" else set()
        )
        by_muon = [(name, p) for name, p in named if name in matrix]
        self.muon = Muon(by_muon, settings.muon_learning_rate, settings.weight_decay) if by_muon else None
        self.by_adam = [(name, p) for name, p in named if name not in matrix]
        self.rate = rate or settings.learning_rate or default_learning_rate(model.config.hidden_size)
        groups = [
            {"params": [p for _, p in self.by_adam if p.dim() == 2], "weight_decay": settings.weight_decay},
            {"params": [p for _, p in self.by_adam if p.dim() != 2], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=self.rate, betas=ADAM_BETAS, fused=True)

    def clip_gradients(self) -> float:
        """Scale the gradients to the largest norm allowed; returns the norm before, not finite if a gradient is not."""
        return float(whole(torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)))

    def step(self, share: float) -> None:
        """Update all weights at this share of the peak rates and clear the gradients."""
        for group in self.adam.param_groups:
            group["lr"] = self.rate * share
        self.adam.step()
        if self.muon is not None:
            self.muon.step(share)
        self.clear()

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name; empty before the first step of AdamW."""
        held = {
            f"adam.{key}.{name}": value for name, p in self.by_adam for key, value in self.adam.state.get(p, {}).items()
        }
        return held | {f"muon.{name}": value for name, value in (self.muon.momenta if self.muon else {}).items()}

    def place(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of a saved state as this process holds it: whole, or its rows where the parameter is shared out."""
        parameter = next((p for known, p in self.named if name.endswith(f".{known}")), None)
        return tensor if parameter is None else part_like(tensor, parameter)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over a saved state. Raises CheckpointError when it belongs to other parameters or another optimiser."""
        for name, p in self.by_adam:
            self.adam.state[p] = {
                key: tensors[f"adam.{key}.{name}"]
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{key}.{name}" in tensors
            }
        if self.muon is not None:
            self.muon.momenta = {
                name: tensors.get(f"muon.{name}", momentum) for name, momentum in self.muon.momenta.items()
            }
        odd = self.tensors().keys() ^ tensors.keys()
        if odd:
            raise CheckpointError(
                f"optimiser state does not match the model, for example at {min(odd)}; train into another folder"
            )
