"""Regional compilation: each block is compiled by itself, so a decoder of any depth costs the compilation of one."""

from __future__ import annotations

import torch

from didact.model.transformer import Decoder


def compile_blocks(model: Decoder) -> None:
    """Let torch.compile make kernels for the blocks on their first call, in place; names of weights stay as they are.

    The number of tokens is left open, since batches of whole documents differ in it. Attention in groups of like length
    stays outside: its shapes differ in every batch.
    """
    for block in model.model.layers:
        block.compile(dynamic=True)


def compiles(wanted: bool | None, device: torch.device) -> bool:
    """Whether to compile: as set, else on GPUs; on CPUs it takes a minute and gains less than a tenth."""
    return device.type == "cuda" if wanted is None else wanted
