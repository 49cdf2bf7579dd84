"""How much of the device a training uses: operations per token of this decoder, and what devices can do."""

from __future__ import annotations

import torch

from didact.model.transformer import Decoder

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""Dense bf16 matrix products per second by part of the device's name, from NVIDIA's data sheets."""


def flops_per_token(model: Decoder, trained_share: float) -> float:
    """Operations of forward and backward pass per token fed in: 2 a weight each for the output, its input's gradient
    and, unless it is frozen, its own gradient.

    Only matrix products with weights count, not attention's own; the head counts for the share of tokens with a target.
    """
    blocks = sum(_cost(p) for name, p in model.named_parameters() if p.dim() == 2 and "layers" in name)
    return blocks + trained_share * _cost(model.lm_head.weight)


def _cost(weight: torch.Tensor) -> float:
    return weight.numel() * (6.0 if weight.requires_grad else 4.0)


def peak_flops(device: torch.device, given: float | None = None) -> float | None:
    """Operations per second a device can do: as given, else by a GPU's name; None for others, CPUs among them."""
    if given is not None or device.type != "cuda":
        return given
    return peak_of(torch.cuda.get_device_name(device))


def peak_of(name: str) -> float | None:
    """Dense bf16 peak by a GPU's name; None when it is not a known one."""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)
