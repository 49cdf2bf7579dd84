"""The processes that train together: each takes its share of a step's rows, and gradients are summed over all.

One process is a world of its own, for which nothing here does anything. Several are started by `torchrun`; then every
process holds the whole model and does the same update from the same summed gradients, so their weights stay equal bit
for bit and only the first needs to write. With `sharded`, each holds a part instead (`sharding.py`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

_PATIENCE = timedelta(days=1)
"""How long processes wait for each other: the first may build a version while the others wait."""

_BUCKET_BYTES = 25 << 20
"""Gradients summed in one message; the size that PyTorch's own data-parallel training uses."""


@dataclass(frozen=True)
class World:
    """This process's place among `size` processes."""

    rank: int = 0
    size: int = 1
    sharded: bool = False
    """Whether the model is shared out over the processes."""

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints, logs and reports."""
        return self.rank == 0

    def share(self, rows: range) -> range:
        """This process's part of some rows, in one piece; the parts of all processes make up the rows in order."""
        first, last = (len(rows) * place // self.size for place in (self.rank, self.rank + 1))
        return rows[first:last]

    def sums(self, *values: float) -> list[float]:
        """Each value summed over all processes, in double precision."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=_host_group())
        return list(map(float, total))

    def most(self, value: int) -> int:
        """The greatest value of all processes."""
        if self.size == 1:
            return value
        greatest = torch.tensor(value)
        dist.all_reduce(greatest, dist.ReduceOp.MAX, group=_host_group())
        return int(greatest)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.sums(float(flag))[0] > 0

    def first(self, value: int) -> int:
        """The first process's value."""
        return int(self.sums(value if self.leads else 0)[0])

    def wait(self) -> None:
        """Return once every process is here."""
        self.sums(0.0)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process runs the block, and when it is done the others do."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()
        self.wait()

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum the gradients over all processes, in place; a parameter without one counts as zero.

        Those of a sharded model are summed where they are computed.
        """
        if self.size == 1 or self.sharded:
            return
        for bucket in _buckets(parameters):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(flat)
            pieces = flat.split([p.numel() for p in bucket])
            for parameter, piece in zip(bucket, pieces, strict=True):
                parameter.grad = piece.view_as(parameter)


def _buckets(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters in order, about `_BUCKET_BYTES` at a time, those of one kind of number together."""
    bucket: list[Tensor] = []
    held = 0
    for parameter in parameters:
        size = parameter.numel() * parameter.element_size()
        if bucket and (held + size > _BUCKET_BYTES or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, held = [], 0
        bucket.append(parameter)
        held += size
    if bucket:
        yield bucket


_host: list[dist.ProcessGroup] = []


def _host_group() -> dist.ProcessGroup | None:
    """The group whose messages travel between CPUs, where the default one's travel between GPUs."""
    return _host[0] if _host else None


def present_world() -> World:
    """The world this process is in: what `joined` made, or this process alone."""
    if not dist.is_available() or not dist.is_initialized():
        return World()
    return World(dist.get_rank(), dist.get_world_size())


@contextmanager
def joined() -> Iterator[World]:
    """Inside the block the processes that `torchrun` started are one world; without it this process is one."""
    if not (dist.is_available() and dist.is_torchelastic_launched()) or dist.is_initialized():
        yield present_world()
        return
    gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if gpu else "gloo", timeout=_PATIENCE)
    if gpu:
        torch.cuda.set_device(dist.get_node_local_rank())
        _host.append(dist.new_group(backend="gloo", timeout=_PATIENCE))
    try:
        yield present_world()
    finally:
        _host.clear()
        # Sharded models are cycles that hold the group: freed only when Python has ended, it aborts the process.
        gc.collect()
        dist.destroy_process_group()
