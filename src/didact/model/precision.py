"""Which arithmetic a device gets: fp32 on CPUs, bf16 matrix products on CUDA devices."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from didact.errors import CallError


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """The context for a forward pass on this device.

    CPUs compute in fp32: without AVX512-BF16 or AMX instructions bf16 trains about 30 times slower, and with them (AMD
    Zen 5, 14 M parameters) 1.3 times faster than fp32 products by oneDNN, too little to lose digits for. CUDA devices
    that have bf16 use it for matrix products; weights and optimiser state stay in fp32 everywhere.
    """
    if has_bf16(device):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def has_bf16(device: torch.device) -> bool:
    """Whether training on this device multiplies in bf16: a GPU that has it in hardware; emulation does not count."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def choose_device(name: str = "auto") -> torch.device:
    """The device by name; `auto` takes a CUDA device (under `torchrun` this process's own), or the CPU without one.

    Raises CallError for a device that is not there.
    """
    found = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if found else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not found:
        raise CallError(f"device {name}: this PyTorch sees no CUDA device; use cpu, or install PyTorch for CUDA")
    return device
