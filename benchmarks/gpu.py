"""Training steps on a GPU at depths 12, 20 and 26: tokens a second and share of the peak, in each way of computing.

Refuses without a GPU. Ways: blocks compiled or not, documents isolated by varlen attention or in groups of like length,
AdamW or Muon; always in bf16 with weights in fp32.
"""

from __future__ import annotations

import gc
import time

import numpy as np
import torch

from benchmarks.material import Row
from benchmarks.rounds import Comparison
from benchmarks.training import documents_in_memory
from didact.model.batches import BatchPlan
from didact.model.compiling import compile_blocks
from didact.model.config import derive_config
from didact.model.fit import accumulate
from didact.model.flops import flops_per_token, peak_flops
from didact.model.optim import Optimizer
from didact.model.products import prepare_for_training
from didact.model.transformer import Decoder
from didact.recipe.training import ModelSettings, PretrainSettings

DEPTHS = (12, 20, 26)
CONTEXT = 2048
_VOCABULARY = 32_768
_STEP_TOKENS = 131_072
_AT_ONCE = 32_768
_STEPS = 5


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """Every depth in every way. Ends with one line without a GPU."""
    if not torch.cuda.is_available():
        raise SystemExit("gpu: torch sees no CUDA device; run this benchmark on a machine with one")
    device = torch.device("cuda")
    found = []
    for depth in DEPTHS:
        speeds = {}
        for compiled in (True, False):
            for optimizer in ("adamw", "muon"):
                name = f"{optimizer}, {'blocks compiled' if compiled else 'eager'}"
                speeds[name] = _speeds(depth, compiled, optimizer, device, rounds)
        comparison = Comparison(f"Depth {depth} on {torch.cuda.get_device_name(device)}, bf16", "tokens", speeds)
        comparison.notes = _shares(depth, speeds, device)
        found.append(comparison)
    return found


def _speeds(depth: int, compiled: bool, optimizer: str, device: torch.device, rounds: int) -> list[float]:
    """Tokens a second, round by round, after two steps that are not counted."""
    model = Decoder(derive_config(ModelSettings(depth=depth, context=CONTEXT), _VOCABULARY, 1, 2, 0)).initialise(0)
    model.to(device)
    prepare_for_training(model)
    if compiled:
        compile_blocks(model)
    settings = PretrainSettings.model_validate({"optimizer": optimizer})
    update = Optimizer(model, settings)
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(6.0, 0.9, 4096).astype(int), 16, CONTEXT + 1)
    shards = documents_in_memory([rng.integers(3, _VOCABULARY, int(n)).tolist() for n in lengths])
    plan = BatchPlan(shards, CONTEXT, _STEP_TOKENS, _AT_ONCE, "split", 0)
    speeds = []
    for turn in range(rounds + 1):
        torch.cuda.synchronize()
        started, tokens = time.perf_counter(), 0
        for step in range(turn * _STEPS, (turn + 1) * _STEPS):
            batches = plan.step(step)
            accumulate(model, batches, sum(batch.weight for batch in batches))
            update.clip_gradients()
            update.step(1.0)
            tokens += sum(len(batch.ids) for batch in batches)
        torch.cuda.synchronize()
        speeds.append(tokens / (time.perf_counter() - started))
    del model, update
    gc.collect()
    torch.cuda.empty_cache()
    return speeds[1:]


def _shares(depth: int, speeds: dict[str, list[float]], device: torch.device) -> list[str]:
    peak = peak_flops(device)
    if peak is None:
        return ["share of peak: this GPU's peak is not known"]
    with torch.device("meta"):
        shape = Decoder(derive_config(ModelSettings(depth=depth, context=CONTEXT), _VOCABULARY, 1, 2, 0))
    each = flops_per_token(shape, 1.0)
    return [f"{name}: {np.median(found) * each / peak:.1%} of peak" for name, found in speeds.items()]
