"""Which arithmetic a device gets: fp32 on CPUs, bf16 matrix products on CUDA devices."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """The context for a forward pass on this device.

    CPUs compute in fp32: without AVX512-BF16 or AMX instructions bf16 trains about 30 times slower, and with them the
    small matrices of a compact model gain nothing. CUDA devices that have bf16 use it for matrix products; weights and
    optimiser state stay in fp32 everywhere.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def choose_device(name: str = "auto") -> torch.device:
    """The device by name; `auto` takes the first CUDA device, or the CPU where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
