"""A running average of a model's weights, which validates better than any single step's while the rate is high."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from didact.errors import CheckpointError

_PREFIX = "trained."


class WeightAverage:
    """Exponential moving average of the weights that are trained, held beside them.

    After update n the average moves by 1 - min(decay, n / (n + 9)), so that early ones forget the first weights.
    Checkpoints hold the average as the model, and the weights that training goes on from in the optimiser's state.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Take in the weights after the update of this number, from 1."""
        share = 1 - min(self.decay, count / (count + 9))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.trained.values()], share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model computes with the averages inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self.trained.items():
            parameter.data, self.average[name] = self.average[name], parameter.data

    def tensors(self) -> dict[str, Tensor]:
        """The weights training goes on from, by name, for a checkpoint whose model is the average."""
        return {_PREFIX + name: p.detach() for name, p in self.trained.items()}

    @torch.no_grad()
    def take_over(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Continue from a checkpoint: its model, already loaded, is the average. Returns the other tensors.

        Raises CheckpointError when the weights of training are not all there.
        """
        missing = [name for name in self.trained if _PREFIX + name not in tensors]
        if missing:
            raise CheckpointError(f"the checkpoint has no trained weights beside its average, for example {missing[0]}")
        for name, parameter in self.trained.items():
            self.average[name].copy_(parameter)
            parameter.copy_(tensors[_PREFIX + name])
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(_PREFIX)}
