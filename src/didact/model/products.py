"""Matrix products of training, by the fastest library that PyTorch carries for this processor.

PyTorch multiplies fp32 matrices on CPUs with MKL, which takes AVX2 instructions on processors that are not Intel's even
where they have AVX-512; oneDNN, which PyTorch carries too, takes AVX-512 on both. On an AMD EPYC (Zen 5), torch 2.13,
one thread, the products of a 14 M decoder ran at 180 to 230 GFLOP/s by oneDNN and at 100 by MKL. Both are fp32
throughout; they add in another order, so results differ in the last bits. What must equal other programs bit by bit
(logits of a loaded checkpoint) therefore stays with PyTorch's own choice: only a decoder in training asks for this one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_WORK = 1 << 26
"""Multiplications from which oneDNN is asked: below, making its kernel for a new shape (0.3 ms) eats what it saves."""


@cache
def onednn_is_faster() -> bool:
    """Whether this processor's fp32 products are to be left to oneDNN; the answer depends on the machine alone."""
    capability = torch.backends.cpu.get_cpu_capability()
    return (
        capability.startswith("AVX512")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def product(a: Tensor, b: Tensor) -> Tensor:
    """Matrices a (N, K) times b (M, K) transposed, (N, M); without gradients of its own."""
    if _suits_onednn(a, b):
        made: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
        return made
    return a @ b.t()


def _suits_onednn(a: Tensor, b: Tensor) -> bool:
    return (
        a.dtype == b.dtype == torch.float32
        and a.device.type == "cpu"
        and a.shape[0] * b.shape[0] * a.shape[1] >= LEAST_WORK
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster()
    )


class _Linear(torch.autograd.Function):
    """The same as F.linear, whose gradients are products of the same kind."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        to_weight = product(grad.t(), x.t()) if ctx.needs_input_grad[1] else None
        return to_x, to_weight


class Linear(nn.Linear):
    """A linear layer without bias, (..., K) -> (..., M); in training by `product` where that is faster."""

    training_products = False

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., M)."""
        return linear(x, self.weight, self.training_products)


def linear(x: Tensor, weight: Tensor, training: bool) -> Tensor:
    """Vectors x (..., K) times weight (M, K) transposed, as `Linear` computes it."""
    if not training or not _suits_onednn(x.flatten(0, -2), weight):
        return F.linear(x, weight)
    y: Tensor = _Linear.apply(x.flatten(0, -2), weight)
    return y.unflatten(0, x.shape[:-1])


def prepare_for_training(model: nn.Module) -> None:
    """Let every matrix of a model, adapted ones too, be multiplied by `product` from now on."""
    for module in model.modules():
        if hasattr(module, "training_products"):
            setattr(module, "training_products", True)  # noqa: B010 - a module's attributes are tensors to mypy
