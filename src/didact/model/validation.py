"""Validation: the loss over fixed batches, in all and by the source each document came from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from didact.model.batches import Batch
from didact.model.loss import token_losses
from didact.model.precision import autocast
from didact.model.sharding import evened
from didact.model.transformer import Decoder
from didact.model.world import World


@runtime_checkable
class Labels(Protocol):
    """Token shards that know where each document comes from."""

    @property
    def sources(self) -> NDArray[np.int32]:
        """Number of each document's source, (documents,)."""

    @property
    def source_names(self) -> list[str]:
        """What the numbers stand for."""


class Measured(NamedTuple):
    """Losses in nats per unit of weight: of all tokens, and of each source that has trained ones.

    measures: what else an objective measures, by name.
    """

    loss: float
    by_source: dict[str, float]
    measures: Mapping[str, float] = MappingProxyType({})


def mean_loss(model: Decoder, batches: list[Batch], world: World | None = None) -> float:
    """Loss in nats per unit of weight over some batches; the processes of a world take a share of them each."""
    return measure(model, batches, None, world).loss


@torch.inference_mode()
def measure(model: Decoder, batches: list[Batch], labels: Labels | None, world: World | None = None) -> Measured:
    """The loss over some batches; without labels there is nothing by source. Sums are taken in double precision."""
    world = world or World()
    share = world.share(range(len(batches)))
    names = labels.source_names if labels is not None else []
    sums = np.zeros((2, max(1, len(names))))
    model.eval()
    with autocast(model.lm_head.weight.device):
        for batch in evened(batches[share.start : share.stop], world, batches[0]):
            sums += _sums(model, batch, labels, sums.shape[1])
    model.train()
    loss, weight = np.array(world.sums(*sums.ravel())).reshape(sums.shape)
    by_source = {name: float(loss[at] / weight[at]) for at, name in enumerate(names) if weight[at]}
    return Measured(float(loss.sum() / weight.sum()), by_source)


def _sums(model: Decoder, batch: Batch, labels: Labels | None, count: int) -> NDArray[np.float64]:
    """Loss sum and weight sum of each source, (2, count)."""
    nats, places = token_losses(model, batch)
    weights = batch.weights[places].astype(np.float64)
    of_document = np.zeros(len(batch.documents), np.int64) if labels is None else labels.sources[batch.documents]
    source = np.repeat(of_document, batch.lengths)[places]
    return np.stack([np.bincount(source, part, minlength=count) for part in (nats * weights, weights)])
