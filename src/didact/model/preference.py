"""Preference tuning: direct preference optimisation against a frozen reference (DPO, Rafailov et al. 2023).

The reference is the model that tuning starts from. Its log-probabilities are computed once and kept with the run, so
that training holds one model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from didact.canonical import content_hash
from didact.durable import read_json, write_json, write_with
from didact.model.batches import Batch, BatchPlan, Policy, Shards
from didact.model.checkpoint import check_vocabulary, load_decoder, resolve, weights_digest, widen_vocabulary
from didact.model.fit import FitResult, OnProgress
from didact.model.lora import adapt
from didact.model.loss import answer_log_probabilities
from didact.model.pairs import PairBatch, PairPlan, PairShards, with_reference
from didact.model.phases import (
    TokenizerFiles,
    compute_threads,
    fitting_context,
    gentle_rate,
    lenient,
    shards_digest,
    tokens_at_once,
    train_phase,
)
from didact.model.precision import autocast, choose_device
from didact.model.sinks import WATCHED_BY_NOBODY, Watch
from didact.model.transformer import Decoder
from didact.model.validation import Labels, Measured
from didact.model.world import World, present_world
from didact.recipe.training import PreferenceSettings

RATE_SHARE = 0.05
"""Peak rate as a share of fine-tuning's: the reference is near, and a step that learned an answer would leave it."""


class PairScores:
    """What is minimised, and by what it is judged, of P pairs; every field is (P,)."""

    def __init__(self, settings: PreferenceSettings, policy: Tensor, batch: PairBatch) -> None:
        ratio = policy.view(-1, 2) - torch.from_numpy(batch.reference).to(policy.device)
        if settings.length_normalised:
            ratio = ratio / torch.from_numpy(answer_lengths(batch)).to(policy.device).view(-1, 2)
        self.rewards = settings.strength * ratio
        """beta x log-ratio of either side, (P, 2)."""
        self.margin = self.rewards[:, 0] - self.rewards[:, 1]
        wrong = settings.label_smoothing
        self.loss = -(1 - wrong) * F.logsigmoid(self.margin) - wrong * F.logsigmoid(-self.margin)


def answer_lengths(batch: Batch) -> NDArray[np.float64]:
    """Trained tokens of each document, (D,)."""
    document = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
    return np.bincount(document, batch.weights > 0, minlength=len(batch.lengths)).astype(np.float64)


class Preference:
    """Prefer the chosen side: -log sigmoid of beta x the difference of both sides' log-ratios to the reference."""

    unit = "pair"

    def __init__(self, settings: PreferenceSettings) -> None:
        self.settings = settings

    def plan(
        self, shards: Shards, context: int, batch_tokens: int, micro_tokens: int, policy: Policy, seed: int
    ) -> BatchPlan:
        """Packed pairs with what the reference says of them."""
        assert isinstance(shards, PairShards)
        return PairPlan(shards.of, context, batch_tokens, micro_tokens, policy, seed, shards.reference)

    def scores(self, model: Decoder, batch: Batch) -> PairScores:
        """Loss and rewards of each pair."""
        assert isinstance(batch, PairBatch)
        return PairScores(self.settings, answer_log_probabilities(model, batch), batch)

    def loss(self, model: Decoder, batch: Batch) -> Tensor:
        """Loss summed over pairs."""
        return self.scores(model, batch).loss.sum()

    @torch.no_grad()
    def measure(self, model: Decoder, batches: list[Batch], labels: Labels | None, world: World | None) -> Measured:
        """Mean loss of a pair, in all and by source; how often and by how much the chosen side is rewarded more."""
        world = world or World()
        share = world.share(range(len(batches)))
        names = labels.source_names if labels is not None else []
        count = max(1, len(names))
        by_source, rewards = np.zeros((2, count)), np.zeros(4)
        model.eval()
        with autocast(model.lm_head.weight.device):
            for batch in batches[share.start : share.stop]:
                scores = self.scores(model, batch)
                source = (
                    np.zeros(len(scores.loss), np.int64) if labels is None else labels.sources[batch.documents[::2]]
                )
                by_source[0] += np.bincount(source, scores.loss.cpu().numpy(), minlength=count)
                by_source[1] += np.bincount(source, minlength=count)
                right = (scores.margin > 0).double() + 0.5 * (scores.margin == 0)
                parts = (right, scores.margin, *scores.rewards.unbind(1))
                rewards += np.array([float(part.sum()) for part in parts])
        model.train()
        total = np.array(world.sums(*by_source.ravel(), *rewards))
        loss, pairs = total[: 2 * count].reshape(2, count)
        means = total[2 * count :] / pairs.sum()
        told = ("reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward")
        return Measured(
            float(loss.sum() / pairs.sum()),
            {name: float(loss[at] / pairs[at]) for at, name in enumerate(names) if pairs[at]},
            dict(zip(told, map(float, means), strict=True)),
        )


def reference_scores(
    model: Decoder, shards: Shards, context: int, policy: Policy, micro_tokens: int, path: Path, key: str
) -> NDArray[np.float64]:
    """Log-probability of both sides of every pair under the reference, (pairs, 2) float64; 0 for pairs not used.

    Read from `path` when it was computed under the same `key`, else computed, by all processes together, and kept.
    """
    world = present_world()
    marker = path.with_suffix(".json")
    known = world.leads and marker.is_file() and path.is_file() and read_json(marker)["key"] == key
    if len(shards.bounds) < 2:
        return np.zeros((0, 2))
    if not world.any(known):
        plan = PairPlan(shards, context, micro_tokens, micro_tokens, policy, 0)
        scores = _scored(model, plan, world)
        if world.leads:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_with(path, lambda aside: _write_array(aside, scores))
            write_json(marker, {"key": key, "pairs": len(plan.pieces.length)})
    world.wait()
    kept: NDArray[np.float64] = np.load(path, allow_pickle=False)
    return kept


def _write_array(path: Path, array: NDArray[np.float64]) -> None:
    with path.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)


@torch.no_grad()
def _scored(model: Decoder, plan: PairPlan, world: World) -> NDArray[np.float64]:
    scores = np.zeros_like(plan.reference)
    batches = plan.first_rows(plan.pieces.report.tokens)
    share = world.share(range(len(batches)))
    model.eval()
    with autocast(model.lm_head.weight.device):
        for batch in batches[share.start : share.stop]:
            scores[batch.documents[::2] // 2] = answer_log_probabilities(model, batch).view(-1, 2).cpu().numpy()
    model.train()
    return np.array(world.sums(*scores.ravel())).reshape(scores.shape)


def tune_preferences(
    settings: PreferenceSettings,
    init: Path,
    train: Shards,
    validation: Shards | None,
    tokenizer: TokenizerFiles,
    folder: Path,
    seed: int,
    on_progress: OnProgress | None = None,
    threads: int | None = None,
    device: str = "cpu",
    watch: Watch = WATCHED_BY_NOBODY,
) -> FitResult:
    """Train on pairs, from a checkpoint folder or a run's best one, which is also the reference; resumes exactly.

    train, validation: shards whose documents 2 p and 2 p + 1 are the two sides of pair p. Pairs with a side longer
    than the context follow `settings.over_long` and are counted in the result's `data`.
    Raises CallError when the tokenizer is not the checkpoint's, NoTrainedTokens, NonFiniteLoss, Interrupted,
    CheckpointError.
    """
    start = resolve(init)
    with compute_threads(threads):
        decoder = load_decoder(start, choose_device(device))
        if settings.base is not None:
            decoder = widen_vocabulary(decoder, tokenizer.vocab_size)
        check_vocabulary(decoder.config, tokenizer, start)
        origin = weights_digest(start)
        settings = fitting_context(settings, decoder.config.max_position_embeddings)
        judged = [
            None if shards is None else _with_reference(name, decoder, shards, settings, folder, origin)
            for name, shards in (("train", train), ("validation", validation))
        ]
        assert judged[0] is not None
        if settings.lora is not None:
            adapt(decoder, settings.lora, seed, str(start.resolve()))
        return train_phase(
            "preference",
            decoder,
            settings,
            gentle_rate(settings, decoder.config.hidden_size, RATE_SHARE),
            settings.over_long,
            judged[0],
            judged[1],
            tokenizer,
            folder,
            seed,
            origin,
            on_progress,
            {} if settings.base is None else {"base": str(settings.base)},
            watch,
            Preference(settings),
        )


def _with_reference(
    name: str, model: Decoder, shards: Shards, settings: PreferenceSettings, folder: Path, origin: str
) -> PairShards:
    """Shards with what the model that tuning starts from says of them."""
    most = model.config.max_position_embeddings
    context = min(settings.context or most, most)
    policy = settings.over_long if name == "train" else lenient(settings.over_long)
    at_once = tokens_at_once(settings, model.lm_head.weight.device.type)
    key = content_hash([origin, shards_digest(shards), context, policy])
    path = folder / "reference" / f"{name}.npy"
    return with_reference(shards, reference_scores(model, shards, context, policy, at_once, path, key))
