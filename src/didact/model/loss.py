"""Cross entropy of a linear head, summed by token weight, without holding all logits at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from didact.model.attention import attend_within
from didact.model.batches import Batch
from didact.model.precision import autocast
from didact.model.products import product
from didact.model.transformer import Decoder

LOGITS_AT_ONCE = 1 << 21
"""Logits computed per piece: 8 MB in fp32, near a core's cache, and a bound on memory for any vocabulary."""


class _Passed(NamedTuple):
    """Loss sum of some tokens and its gradients, those that were asked for."""

    total: Tensor
    to_hidden: Tensor | None
    to_head: Tensor | None


def _pass_over(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, wanted: tuple[bool, bool]) -> _Passed:
    """Weighted cross entropy and its gradients in one pass over pieces of the tokens; `wanted`: of hidden, of head."""
    to_hidden = torch.empty_like(hidden) if wanted[0] else None
    to_head = torch.zeros_like(head, dtype=torch.float32) if wanted[1] else None
    total = hidden.new_zeros((), dtype=torch.float32)
    at_once = max(1, LOGITS_AT_ONCE // len(head))
    for start in range(0, len(targets), at_once):
        piece = slice(start, start + at_once)
        read, weight = hidden[piece], weights[piece, None].to(hidden.dtype)
        scores = torch.log_softmax(product(read, head).float(), -1)  # (n, C) -> (n, vocabulary)
        chosen = targets[piece, None]
        total -= (scores.gather(1, chosen)[:, 0] * weights[piece]).sum()
        if to_hidden is None and to_head is None:
            continue
        scores.exp_()
        error = scores.scatter_(1, chosen, scores.gather(1, chosen) - 1).to(hidden.dtype)
        if to_hidden is not None:
            to_hidden[piece] = product(error, head.t()) * weight
        if to_head is not None:
            to_head += product(error.t(), (read * weight).t())
    return _Passed(total, to_hidden, None if to_head is None else to_head.to(head.dtype))


class _WeightedCrossEntropy(torch.autograd.Function):
    """Loss and both gradients in one pass; backward only scales what forward kept."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        passed = _pass_over(hidden, head, targets, weights, ctx.needs_input_grad[:2])
        ctx.save_for_backward(passed.to_hidden, passed.to_head)
        return passed.total

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


class _DocumentLogProbabilities(torch.autograd.Function):
    """Log-probabilities summed by document; backward passes over the tokens again, with the gradients as weights."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, document: Tensor, documents: int) -> Tensor:
        ctx.save_for_backward(hidden, head, targets, document)
        nats = cross_entropies(hidden, head, targets).double()
        sums = torch.zeros(documents, dtype=torch.float64, device=hidden.device)
        return sums.index_add_(0, document, nats, alpha=-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        hidden, head, targets, document = ctx.saved_tensors
        with autocast(hidden.device):
            passed = _pass_over(hidden, head, targets, -grad[document].float(), ctx.needs_input_grad[:2])
        return passed.to_hidden, passed.to_head, None, None, None


def answer_log_probabilities(model: Decoder, batch: Batch) -> Tensor:
    """Log P(answer | prompt) of each document, (D,) float64 in nats: summed over its tokens with a weight above 0.

    Differentiable once in the weights. Logits exist for a few tokens at a time, in both passes.
    """
    hidden, targets, only = trained_outputs(model, batch)
    places = np.arange(len(batch.ids)) if only is None else only.cpu().numpy()
    document = torch.from_numpy(np.repeat(np.arange(len(batch.lengths)), batch.lengths)[places]).to(hidden.device)
    sums: Tensor = _DocumentLogProbabilities.apply(hidden, model.lm_head.weight, targets, document, len(batch.lengths))
    return sums


def batch_loss(model: Decoder, batch: Batch) -> Tensor:
    """Weighted loss sum of a batch in nats; tokens without a target skip the end of the last block and the head."""
    hidden, targets, only = trained_outputs(model, batch)
    weights = torch.from_numpy(batch.weights).to(targets.device)
    return weighted_cross_entropy(hidden, model.lm_head.weight, targets, weights if only is None else weights[only])


@torch.no_grad()
def token_losses(model: Decoder, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Loss in nats of each token with a target, and its place in the batch; both (n,). Without gradients."""
    hidden, targets, only = trained_outputs(model, batch)
    places = np.arange(len(batch.ids)) if only is None else only.cpu().numpy()
    return cross_entropies(hidden, model.lm_head.weight, targets).cpu().numpy(), places


@torch.no_grad()
def cross_entropies(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(hidden @ head.T)[target] of each token in nats, (N,) float32; without gradients.

    hidden (N, C), head (vocabulary, C), targets (N,) int64.
    """
    at_once = max(1, LOGITS_AT_ONCE // len(head))
    losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    for start in range(0, len(targets), at_once):
        piece = slice(start, start + at_once)
        logits = (hidden[piece] @ head.t()).float()  # (n, C) -> (n, vocabulary)
        losses[piece] = logits.logsumexp(-1) - logits.gather(1, targets[piece, None])[:, 0]
    return losses


def trained_outputs(model: Decoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
    """What the head reads of the tokens with a target, (n, C), their targets, (n,), and their places; None: all."""
    device = model.lm_head.weight.device
    ids, positions = (torch.from_numpy(array).to(device)[None] for array in (batch.ids, batch.positions))
    attend = attend_within(batch.lengths, device, model.config.bidirectional)
    targets = torch.from_numpy(batch.targets).to(device)
    only = None if batch.all_trained else torch.from_numpy(batch.weights.nonzero()[0]).to(device)
    hidden = model.hidden(ids, positions, attend, only)[0]
    return hidden, targets if only is None else targets[only], only
