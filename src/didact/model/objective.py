"""What a phase minimises: how its data is cut into batches, the loss of a batch, and what a validation measures."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from didact.model.batches import Batch, BatchPlan, Policy, Shards
from didact.model.loss import batch_loss
from didact.model.transformer import Decoder
from didact.model.validation import Labels, Measured, measure
from didact.model.world import World


class Objective(Protocol):
    """One objective of the training loop. Losses are sums over what `Batch.weight` counts."""

    unit: str
    """What one unit of weight is, for reports."""

    def plan(
        self, shards: Shards, context: int, batch_tokens: int, micro_tokens: int, policy: Policy, seed: int
    ) -> BatchPlan:
        """All steps over some shards."""

    def loss(self, model: Decoder, batch: Batch) -> Tensor:
        """Loss sum of a batch in nats, differentiable."""

    def measure(self, model: Decoder, batches: list[Batch], labels: Labels | None, world: World | None) -> Measured:
        """The loss per unit of weight over some batches, of which each process of a world takes a share."""


class NextToken:
    """Predict each trained token from those before it."""

    unit = "trained token"

    def plan(
        self, shards: Shards, context: int, batch_tokens: int, micro_tokens: int, policy: Policy, seed: int
    ) -> BatchPlan:
        """Packed pieces of documents."""
        return BatchPlan(shards, context, batch_tokens, micro_tokens, policy, seed)

    def loss(self, model: Decoder, batch: Batch) -> Tensor:
        """Weighted cross entropy."""
        return batch_loss(model, batch)

    def measure(self, model: Decoder, batches: list[Batch], labels: Labels | None, world: World | None) -> Measured:
        """Mean cross entropy, in all and by source."""
        return measure(model, batches, labels, world)


NEXT_TOKEN = NextToken()
