"""Weights shared out over processes (FSDP2): each holds some rows of every tensor; a block is whole while it computes.

The parts are those of `torch.chunk` along the first dimension. Gradients are summed, not averaged, as everywhere here:
the loss of a step is already divided by the weight of all processes.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from didact.model.batches import Batch
from didact.model.precision import has_bf16
from didact.model.transformer import Decoder
from didact.model.world import World


def shard(model: Decoder, world: World) -> None:
    """Leave each process its rows of every tensor, in place; all of them hold the same whole model before.

    The embedding, the last norm and the head stay whole from a forward pass to the end of its backward pass, since the
    loss reads them outside of the model; blocks are gathered one at a time.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    device = model.lm_head.weight.device
    mesh = init_device_mesh(device.type, (world.size,))
    low = torch.bfloat16 if has_bf16(device) else None
    # Angles are inputs too, and stay in fp32: rounded to bf16 they would point elsewhere beyond position 256.
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in model.model.layers:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    register_fsdp_forward_method(model, "hidden")
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum


def own_part(tensor: Tensor) -> Tensor:
    """This process's rows, sharing their memory; the tensor itself where it is not shared out."""
    return tensor.to_local() if _is_shared(tensor) else tensor  # type: ignore[attr-defined]


def whole(tensor: Tensor) -> Tensor:
    """The tensor with the rows of all processes, each of which has to ask."""
    return tensor.full_tensor() if _is_shared(tensor) else tensor  # type: ignore[attr-defined]


def gathered(part: Tensor, like: Tensor) -> Tensor:
    """The whole of which each process has a part, shared out like a parameter."""
    return whole(_shared_like(part, like)) if _is_shared(like) else part


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor shared out like a parameter of its shape; other tensors, such as counters, stay whole."""
    if not _is_shared(like) or tensor.shape != like.shape:
        return tensor
    return _shared_like(rows_like(tensor, like).clone().to(like.device), like)


def rows_like(tensor: Tensor, like: Tensor) -> Tensor:
    """The rows of a whole tensor that this process holds of a parameter."""
    if not _is_shared(like):
        return tensor
    rank, size = like.device_mesh.get_local_rank(), like.device_mesh.size()  # type: ignore[attr-defined]
    return tensor[slice(*rows_of(rank, size, len(tensor)))]


def rows_of(rank: int, size: int, rows: int) -> tuple[int, int]:
    """First and last row, the latter excluded, that a process of `size` holds of so many rows.

    >>> [rows_of(rank, 3, 4) for rank in range(3)]
    [(0, 2), (2, 4), (4, 4)]
    """
    each = -(-rows // size)
    return min(rank * each, rows), min((rank + 1) * each, rows)


def _shared_like(part: Tensor, like: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    return DTensor.from_local(
        part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride(), run_check=False
    )


def _is_shared(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


@torch.no_grad()
def fill(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give a shared-out model the values of whole tensors by name."""
    for name, parameter in model.named_parameters():
        own_part(parameter).copy_(rows_like(tensors[name], parameter))


@torch.no_grad()
def whole_model(model: Decoder, world: World) -> Decoder:
    """A plain decoder on the CPU with the same weights, for the first process to write; the others get one without."""
    with torch.device("meta"):
        plain = Decoder(model.config)
    tensors = {}
    for name, parameter in model.named_parameters():
        tensor = whole(parameter)
        tensors[name] = tensor.cpu() if world.leads else torch.empty(0)
    if not world.leads:
        return plain
    if model.config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    plain.load_state_dict(tensors, assign=True)
    if model.config.tie_word_embeddings:
        plain.lm_head.weight = plain.model.embed_tokens.weight
    return plain


def evened(batches: list[Batch], world: World, spare: Batch) -> list[Batch]:
    """As many batches as the process with most of them has, since blocks are gathered by all processes together.

    Added ones are one token of `spare` without weight, which adds nothing to loss or gradients.
    """
    if not world.sharded:
        return batches
    idle = replace(
        spare,
        ids=spare.ids[:1],
        targets=spare.targets[:1],
        weights=spare.weights[:1] * 0,
        positions=spare.positions[:1] * 0,
        lengths=spare.lengths[:1] * 0 + 1,
        documents=spare.documents[:1],
    )
    return batches + [idle] * (world.most(len(batches)) - len(batches))
