"""Cross entropy of a linear head, summed by token weight, without holding all logits at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from didact.model.attention import DocumentAttention
from didact.model.batches import Batch
from didact.model.transformer import Decoder

LOGITS_AT_ONCE = 1 << 21
"""Logits computed per piece: 8 MB in fp32, near a core's cache, and a bound on memory for any vocabulary."""


class _WeightedCrossEntropy(torch.autograd.Function):
    """Loss and both gradients in one pass over pieces of the tokens; backward only scales what forward kept."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        to_head = torch.zeros_like(head) if ctx.needs_input_grad[1] else None
        total = hidden.new_zeros((), dtype=torch.float32)
        at_once = max(1, LOGITS_AT_ONCE // len(head))
        for start in range(0, len(targets), at_once):
            piece = slice(start, start + at_once)
            logits = (hidden[piece] @ head.t()).float()  # (n, C) -> (n, vocabulary)
            level = logits.logsumexp(-1, keepdim=True)
            chosen = targets[piece, None]
            total += ((level - logits.gather(1, chosen))[:, 0] * weights[piece]).sum()
            if to_hidden is not None or to_head is not None:
                error = (
                    logits.sub_(level)
                    .exp_()
                    .scatter_add_(1, chosen, -torch.ones_like(level))
                    .mul_(weights[piece, None])
                )
                error = error.to(hidden.dtype)
                if to_hidden is not None:
                    torch.mm(error, head, out=to_hidden[piece])
                if to_head is not None:
                    to_head.addmm_(error.t(), hidden[piece])
        ctx.save_for_backward(to_hidden, to_head)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        to_hidden, to_head = (None if kept is None else kept * grad for kept in ctx.saved_tensors)
        return to_hidden, to_head, None, None


def weighted_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum over tokens of weight x -log softmax(hidden @ head.T)[target], in nats.

    hidden (N, C), head (vocabulary, C), targets (N,) int64, weights (N,) float32. Differentiable once, in hidden and
    head.
    """
    loss: Tensor = _WeightedCrossEntropy.apply(hidden, head, targets, weights)
    return loss


def batch_loss(model: Decoder, batch: Batch) -> Tensor:
    """Weighted loss sum of a batch in nats; tokens without a target skip the end of the last block and the head."""
    hidden, targets, only = _read(model, batch)
    weights = torch.from_numpy(batch.weights).to(targets.device)
    return weighted_cross_entropy(hidden, model.lm_head.weight, targets, weights if only is None else weights[only])


@torch.no_grad()
def token_losses(model: Decoder, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Loss in nats of each token with a target, and its place in the batch; both (n,). Without gradients."""
    hidden, targets, only = _read(model, batch)
    head = model.lm_head.weight
    at_once = max(1, LOGITS_AT_ONCE // len(head))
    pieces = []
    for start in range(0, len(targets), at_once):
        logits = (hidden[start : start + at_once] @ head.t()).float()  # (n, C) -> (n, vocabulary)
        chosen = logits.gather(1, targets[start : start + at_once, None])[:, 0]
        pieces.append(logits.logsumexp(-1) - chosen)
    places = np.arange(len(batch.ids)) if only is None else only.cpu().numpy()
    return torch.cat(pieces).cpu().numpy() if pieces else np.zeros(0, np.float32), places


def _read(model: Decoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
    """What the head reads of the tokens with a target, (n, C), their targets, (n,), and their places; None: all."""
    device = model.lm_head.weight.device
    ids, positions = (torch.from_numpy(array).to(device)[None] for array in (batch.ids, batch.positions))
    attend = DocumentAttention(batch.lengths, device)
    targets = torch.from_numpy(batch.targets).to(device)
    only = None if batch.all_trained else torch.from_numpy(batch.weights.nonzero()[0]).to(device)
    hidden = model.hidden(ids, positions, attend, only)[0]
    return hidden, targets if only is None else targets[only], only
