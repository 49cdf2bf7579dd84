"""Low-rank adapters (LoRA, Hu et al. 2021): the base stays as it is, beside each chosen matrix a small one is trained.

Adapters are written as the PEFT library writes them, so that it opens a checkpoint over the same base.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact.errors import CheckpointError
from didact.model.config import Adapted
from didact.model.products import Linear, linear
from didact.model.transformer import Decoder
from didact.recipe.training import LoraSettings

_PREFIX = "base_model.model."


class AdaptedLinear(nn.Module):
    """x W' + scale * dropout(x) A' B', where only A (rank, in) and B (out, rank) are trained; it starts as x W'."""

    training_products = False

    def __init__(self, plain: nn.Linear, settings: LoraSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = plain.weight
        self.scale, self.dropout = settings.alpha / settings.rank, settings.dropout
        bound = plain.in_features**-0.5
        first = torch.empty(settings.rank, plain.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(first.to(plain.weight.device))
        self.lora_B = nn.Parameter(torch.zeros(plain.out_features, settings.rank, device=plain.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out); dropout in training only."""
        y = F.linear(F.linear(F.dropout(x, self.dropout, self.training), self.lora_A), self.lora_B)
        return linear(x, self.weight, self.training_products) + self.scale * y

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One matrix with the same effect; the base's own is left as it is."""
        with torch.device("meta"):
            plain = Linear(self.weight.shape[1], self.weight.shape[0])
        plain.weight = nn.Parameter(self.weight + self.scale * (self.lora_B @ self.lora_A))
        return plain


def adapt(model: Decoder, settings: LoraSettings, seed: int, base: str) -> Decoder:
    """Freeze a decoder and put fresh adapters on its target matrices, in place; it computes the same at first."""
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for parent, name, plain in _places(model, nn.Linear, settings.targets):
        setattr(parent, name, AdaptedLinear(plain, settings, generator))
    model.adapted = Adapted(settings, base)
    return model


def merge(model: Decoder) -> Decoder:
    """Put plain matrices in the adapters' places, in place; the decoder is then like any other."""
    for parent, name, adapter in _places(model, AdaptedLinear):
        setattr(parent, name, adapter.merged())
    model.adapted = None
    return model.requires_grad_(True)


def _places(
    model: nn.Module, kind: type[Any], names: tuple[str, ...] | None = None
) -> list[tuple[nn.Module, str, Any]]:
    """Parent, name and module of each part of a kind and, unless None, of these names."""
    return [
        (parent, name, child)
        for parent in list(model.modules())
        for name, child in parent.named_children()
        if isinstance(child, kind) and (names is None or name in names)
    ]


def adapter_tensors(model: Decoder) -> dict[str, Tensor]:
    """The adapters' matrices under PEFT's names."""
    return {
        f"{_PREFIX}{name}.{side}.weight": getattr(module, side).detach()
        for name, module in model.named_modules()
        if isinstance(module, AdaptedLinear)
        for side in ("lora_A", "lora_B")
    }


@torch.no_grad()
def load_adapters(model: Decoder, tensors: dict[str, Tensor], origin: str) -> None:
    """Fill a decoder's adapters. Raises CheckpointError when the tensors are not exactly theirs."""
    own = adapter_tensors(model)
    odd = sorted(name for name in own.keys() | tensors.keys() if _shape(own.get(name)) != _shape(tensors.get(name)))
    if odd:
        raise CheckpointError(f"{origin}: {len(odd)} tensors do not fit its adapter_config.json, for example {odd[0]}")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape


def to_peft(adapted: Adapted, base: str) -> dict[str, Any]:
    """The `adapter_config.json` from which PEFT builds the same adapters; `base` is a path relative to its folder."""
    settings = adapted.settings
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": list(settings.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
    }


def from_peft(given: dict[str, Any], origin: str) -> tuple[LoraSettings, str]:
    """Settings and base of an adapter folder. Raises CheckpointError for kinds that compute something else."""
    plain = {"peft_type": "LORA", "bias": "none", "use_dora": False, "use_rslora": False, "fan_in_fan_out": False}
    for key, expected in plain.items():
        if given.get(key, expected) != expected:
            raise CheckpointError(f"{origin}: {key} is {given[key]!r}, and only {expected!r} can be loaded")
    try:
        settings = LoraSettings(
            rank=given["r"],
            alpha=given["lora_alpha"],
            dropout=given.get("lora_dropout") or 0.0,
            targets=tuple(given["target_modules"]),
        )
        return settings, str(given["base_model_name_or_path"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{origin}: does not describe adapters this decoder can carry ({error})") from error
