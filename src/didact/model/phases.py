"""What pre-training and fine-tuning share: from settings and shards to a phase that `fit` can run."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import xxhash

from didact.canonical import content_hash
from didact.errors import CallError, NoTrainedTokens
from didact.model.average import WeightAverage
from didact.model.batches import Batch, BatchPlan, Policy, Shards
from didact.model.compiling import compile_blocks, compiles
from didact.model.fit import FitResult, OnProgress, Phase, accumulate, fit
from didact.model.flops import peak_flops
from didact.model.horizon import planned_steps
from didact.model.objective import NEXT_TOKEN, NextToken, Objective
from didact.model.optim import Optimizer, default_learning_rate
from didact.model.precision import has_bf16
from didact.model.products import prepare_for_training
from didact.model.sharding import shard
from didact.model.sinks import WATCHED_BY_NOBODY, Watch
from didact.model.transformer import Decoder
from didact.model.validation import Labels
from didact.model.world import World, present_world
from didact.recipe.training import TrainingSettings, TuningSettings

TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 32_768}
"""Tokens in one forward pass by type of device; on CPUs 1,024 to 2,048 were fastest (widths 128 to 256, fp32)."""

BASE_LEARNING_RATE = 2e-5
"""Default peak rate from a base model: the usual one of supervised fine-tuning, such as TRL's."""
LORA_FACTOR = 10
"""Adapters want about ten times the rate of all weights, at any rank (Schulman, "LoRA Without Regret", 2025)."""

_TIMED_STEPS = 3
_HASHED_AT_ONCE = 1 << 24


Tuning = TypeVar("Tuning", bound=TuningSettings)


class TokenizerFiles(Protocol):
    """What training needs of a tokenizer: its vocabulary's size, its identity, and its files for each checkpoint."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids, a multiple of 64."""

    @property
    def digest(self) -> str:
        """Identity of its content."""

    def save(self, folder: Path, /) -> None:
        """Write its files into a folder."""


def train_phase(
    name: str,
    model: Decoder,
    settings: TrainingSettings,
    rate: float,
    policy: Policy,
    train: Shards,
    validation: Shards | None,
    tokenizer: TokenizerFiles,
    folder: Path,
    seed: int,
    origin: str,
    on_progress: OnProgress | None,
    notes: Mapping[str, Any] = MappingProxyType({}),
    watch: Watch = WATCHED_BY_NOBODY,
    objective: Objective = NEXT_TOKEN,
) -> FitResult:
    """Fit a model on shards and keep its checkpoints in `folder`; `origin` tells where its first weights came from.

    `notes` go into every checkpoint's state.json.
    """
    model.recompute = settings.recompute
    prepare_for_training(model)
    if compiles(settings.compile, model.lm_head.weight.device):
        compile_blocks(model)
    context = _context(model, settings)
    device = model.lm_head.weight.device.type
    plan = objective.plan(train, context, settings.batch_tokens, tokens_at_once(settings, device), policy, seed)
    world = present_world()
    steps = world.first(
        planned_steps(settings, plan, folder, lambda: seconds_per_step(model, settings, rate, plan, world, objective))
        if world.leads
        else 0
    )
    if settings.shard and world.size > 1:
        world = _shared_out(model, world, objective)
    parts = [settings.model_dump(mode="json"), asdict(model.config), policy, tokenizer.digest, seed, origin, rate]
    digests = [shards_digest(train), shards_digest(validation) if validation is not None else ""]
    phase = Phase(
        name=name,
        model=model,
        optimizer=Optimizer(model, settings, rate),
        train=plan,
        validation=validation_batches(validation, context, settings, policy, device, objective),
        steps=steps,
        settings=settings,
        folder=folder,
        fingerprint=content_hash([name, steps, *parts, *digests]),
        save_tokenizer=tokenizer.save,
        extra={
            "phase": name,
            "planned_steps": steps,
            "seed": seed,
            "tokenizer": tokenizer.digest,
            "origin": origin,
            "data": plan.report(),
            "derived": _derived(model, settings, rate, context, steps, plan, world),
            **notes,
        },
        world=world,
        labels=validation if isinstance(validation, Labels) else None,
        watch=replace(watch, peak_flops=peak_flops(model.lm_head.weight.device, watch.peak_flops)),
        average=WeightAverage(model, settings.average) if settings.average is not None else None,
        objective=objective,
    )
    with deterministic_operations(settings.deterministic):
        return fit(phase, on_progress)


def _derived(
    model: Decoder, settings: TrainingSettings, rate: float, context: int, steps: int, plan: BatchPlan, world: World
) -> dict[str, Any]:
    """Everything that was worked out for a phase rather than said in the recipe, for its log and its checkpoints."""
    device = model.lm_head.weight.device
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": model.config.num_hidden_layers,
        "width": model.config.hidden_size,
        "heads": model.config.num_attention_heads,
        "kv_heads": model.config.num_key_value_heads,
        "ffn": model.config.intermediate_size,
        "vocabulary": model.config.vocab_size,
        "context": context,
        "batch_tokens": plan.rows_per_step * context,
        "tokens_at_once": tokens_at_once(settings, device.type),
        "learning_rate": rate,
        "steps": steps,
        "tokens": round(steps * plan.tokens_per_step),
        "device": device.type,
        "precision": "bf16" if has_bf16(device) else "fp32",
        "processes": world.size,
    }


def _shared_out(model: Decoder, world: World, objective: Objective) -> World:
    """Share the model out over the processes; the world that knows."""
    if not isinstance(objective, NextToken):
        raise CallError(
            f"shard: the loss per {objective.unit} is computed on whole models only; leave it out of this phase"
        )
    shard(model, world)
    return replace(world, sharded=True)


def tokens_at_once(settings: TrainingSettings, device: str) -> int:
    """Most tokens of one forward pass: as set, else what suits this type of device."""
    return settings.micro_tokens or TOKENS_AT_ONCE[device]


def fitting_context(settings: Tuning, most: int) -> Tuning:
    """Settings with a context: a base model's own may be a hundred times what one step is to hold."""
    if settings.base is None or settings.context is not None:
        return settings
    return settings.model_copy(update={"context": min(most, settings.batch_tokens)})


def gentle_rate(settings: TuningSettings, width: int, share: float = 1.0) -> float:
    """Peak rate: as set, else a share of what is gentle for a base model of others or of half of pre-training's."""
    if settings.learning_rate is not None:
        return settings.learning_rate
    full = share * (BASE_LEARNING_RATE if settings.base is not None else default_learning_rate(width) / 2)
    return full * LORA_FACTOR if settings.lora is not None else full


def lenient(policy: Policy) -> Policy:
    """The policy of a validation, which must not end the run: over-long documents keep their head instead."""
    return "head" if policy == "error" else policy


def validation_batches(
    shards: Shards | None,
    context: int,
    settings: TrainingSettings,
    policy: Policy,
    device: str = "cpu",
    objective: Objective = NEXT_TOKEN,
) -> list[Batch]:
    """The fixed batches a validation scores; over-long documents keep their head where the policy would end the run."""
    if shards is None or len(shards.bounds) < 2:
        return []
    at_once = tokens_at_once(settings, device)
    try:
        plan = objective.plan(shards, context, at_once, at_once, lenient(policy), seed=0)
    except NoTrainedTokens as error:
        raise NoTrainedTokens(f"validation split: {error}") from error
    return plan.first_rows(settings.eval_tokens)


def shards_digest(shards: Shards) -> str:
    """Identity of tokens, weights and bounds, at memory speed."""
    state = xxhash.xxh3_128()
    for array in (shards.ids, shards.weights, shards.bounds):
        state.update(f"{array.dtype.str} {len(array)};".encode())
        for start in range(0, len(array), _HASHED_AT_ONCE):
            state.update(np.ascontiguousarray(array[start : start + _HASHED_AT_ONCE]).tobytes())
    return state.hexdigest()


def seconds_per_step(
    model: Decoder, settings: TrainingSettings, rate: float, plan: BatchPlan, world: World, objective: Objective
) -> float:
    """Time of this process's part of a training step, from a few steps of a copy; a tenth is added for validation."""
    trial = copy.deepcopy(model)
    if compiles(settings.compile, trial.lm_head.weight.device):
        compile_blocks(trial)
    optimizer = Optimizer(trial, settings, rate)
    times = []
    for step in range(_TIMED_STEPS + 1):
        started = time.perf_counter()
        batches = plan.step(step, world.share)
        accumulate(trial, batches, max(1.0, sum(batch.weight for batch in batches)), objective)
        optimizer.clip_gradients()
        optimizer.step(1.0)
        times.append(time.perf_counter() - started)
    return 1.1 * sum(times[1:]) / _TIMED_STEPS


def _context(model: Decoder, settings: TrainingSettings) -> int:
    """Tokens of a training row: what the phase asks for, and never more than the model can see."""
    return min(settings.context or model.config.max_position_embeddings, model.config.max_position_embeddings)


def trial_speed(model: Decoder, settings: TrainingSettings, train: Shards, policy: Policy, world: World) -> float:
    """Tokens a second that a fresh model of some shape trains on here, from a few steps; all processes together."""
    prepare_for_training(model)
    context = _context(model, settings)
    at_once = tokens_at_once(settings, model.lm_head.weight.device.type)
    plan = NEXT_TOKEN.plan(train, context, settings.batch_tokens, at_once, policy, seed=0)
    rate = default_learning_rate(model.config.hidden_size)
    return plan.tokens_per_step / seconds_per_step(model, settings, rate, plan, world, NEXT_TOKEN)


@contextmanager
def deterministic_operations(wanted: bool) -> Iterator[None]:
    """Inside the block PyTorch refuses operations whose bytes depend on timing; CUDA's products need room set aside."""
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for, read when it starts
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def compute_threads(count: int | None) -> Iterator[None]:
    """Let torch use this many threads inside the block; None leaves its own choice. Equal counts give equal bytes."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
