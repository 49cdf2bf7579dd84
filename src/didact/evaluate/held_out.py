"""Held-out text: what it costs the model, and what it costs n-gram models of the training text, in bits per byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from didact.evaluate.bits import bits_per_byte, target_bytes
from didact.evaluate.ngrams import Ngrams, Targets
from didact.model.batches import Batch, Policy
from didact.model.phases import validation_batches
from didact.model.transformer import Decoder
from didact.model.validation import mean_loss
from didact.recipe.training import TrainingSettings
from didact.render.token_shards import TokenShards
from didact.store.version import Version

ORDERS = {"unigram": 1, "5-gram": 5}
"""The n-gram models to compare with: what the frequencies of tokens are worth, and what four tokens before are."""
_COUNTED = 5_000_000
"""Tokens of training text they count, in training order: a gigabyte of memory at most, and a few seconds."""


@dataclass(frozen=True, slots=True)
class HeldOutText:
    """What a mix holds out: its test split, or its validation split where there is no test."""

    mix: str
    batches: list[Batch]

    def bits(self, nats: float, widths: NDArray[np.int32]) -> float:
        """Bits per byte of a summed loss. widths: bytes of each token. Only what is trained on counts: of dialogues,
        the answers.
        """
        return bits_per_byte(nats, sum(target_bytes(batch.targets, batch.weights, widths) for batch in self.batches))


def held_out_texts(version: Version, tokens: Path, context: int) -> list[HeldOutText]:
    """The held-out text of each mix of a version that has some, in pieces of at most `context` tokens."""
    found = []
    for name, mix in sorted(version.manifest.mixes.items()):
        split = next((split for split in ("test", "validation") if mix.rows.get(split)), None)
        if split is None or mix.purpose == "preference":
            continue
        shards = TokenShards.open(tokens, name, split)
        policy: Policy = "split" if mix.purpose == "pretrain" else "head"
        found.append(HeldOutText(name, validation_batches(shards, context, TrainingSettings(), policy)))
    return found


def model_nats(model: Decoder, text: HeldOutText) -> float:
    """The model's loss over a text, summed by weight."""
    return mean_loss(model, text.batches) * sum(batch.weight for batch in text.batches)


def ngram_bits(text: HeldOutText, tokens: Path, widths: NDArray[np.int32]) -> dict[str, float]:
    """Bits per byte of a text under n-gram models of its mix's training split, by name."""
    counted = Ngrams(_trained(TokenShards.open(tokens, text.mix, "train")), len(widths), max(ORDERS.values()))
    nats = dict.fromkeys(ORDERS, 0.0)
    for batch in text.batches:
        places = np.flatnonzero(batch.weights > 0)
        wanted = Targets(batch.ids, batch.positions, batch.targets[places], places)
        for name, order in ORDERS.items():
            nats[name] -= float(np.log(counted.probabilities(wanted, order)) @ batch.weights[places].astype(np.float64))
    return {name: text.bits(loss, widths) for name, loss in nats.items()}


def _trained(shards: TokenShards) -> Targets:
    """The trained tokens of the first documents."""
    documents = max(1, int(np.searchsorted(shards.bounds, _COUNTED, side="right")) - 1)
    bounds = shards.bounds[: documents + 1]
    ids = np.asarray(shards.ids[: bounds[-1]]).astype(np.int64)
    positions = np.arange(len(ids)) - np.repeat(bounds[:-1], np.diff(bounds))
    weights: NDArray[np.float32] = np.asarray(shards.weights[: bounds[-1]], np.float32)
    following = np.flatnonzero((weights > 0) & (positions > 0))
    return Targets(ids, positions, ids[following], following - 1)
