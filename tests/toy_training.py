"""Tiny token shards and models for the tests of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from didact.model.config import DecoderConfig, derive_config
from didact.model.transformer import Decoder
from didact.recipe.training import ModelSettings
from didact.render.dialogue import ROLES, Turns

# Tensors of the toys are so small that a second thread only adds waiting.
torch.set_num_threads(1)

VOCABULARY = 64
BOS, END, PAD = 1, 2, 0


@dataclass
class ToyShards:
    """Token shards held in memory."""

    ids: NDArray[np.uint16]
    weights: NDArray[np.uint8] | NDArray[np.float32]
    bounds: NDArray[np.int64]


@dataclass
class ToyDialogues(ToyShards):
    """Token shards of dialogues, which know their turns."""

    turns: Turns


def dialogue_shards(dialogues: list[list[tuple[str, int, bool]]], seed: int = 0) -> ToyDialogues:
    """Random dialogues, each a list of turns: role, tokens, and whether all but the first token carry loss."""
    lengths = [sum(tokens for _, tokens, _ in dialogue) for dialogue in dialogues]
    shards = shards_of(lengths, seed=seed)
    weights = [
        trained and place > 0 for dialogue in dialogues for _, tokens, trained in dialogue for place in range(tokens)
    ]
    starts = [sum(turn[1] for turn in dialogue[:at]) for dialogue in dialogues for at in range(len(dialogue))]
    roles = [ROLES.index(role) for dialogue in dialogues for role, _, _ in dialogue]
    bounds = np.cumsum([0, *map(len, dialogues)], dtype=np.int64)
    turns = Turns(np.array(starts, np.int64), np.array(roles, np.uint8), bounds)
    return ToyDialogues(shards.ids, np.array(weights, np.uint8), shards.bounds, turns)


@dataclass
class ToyTokenizer:
    """Stands for a tokenizer where only its ids' meaning and its files matter."""

    vocab_size: int = VOCABULARY
    digest: str = "toy"
    bos_id: int = BOS
    end_id: int = END
    pad_id: int = PAD

    def save(self, folder: Path) -> None:
        """Write a file that shows it was saved."""
        (folder / "tokenizer.json").write_text("{}")


def shards_of(lengths: list[int], trained_from: int = 1, seed: int = 0) -> ToyShards:
    """Random documents of these lengths; targets from place `trained_from` on carry loss."""
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.random.default_rng(seed).integers(3, VOCABULARY, bounds[-1]).astype(np.uint16)
    place = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
    return ToyShards(ids, (place >= trained_from).astype(np.uint8), bounds)


def counting_shards(documents: int, seed: int = 0) -> ToyShards:
    """Learnable documents: each counts up from a random start, then ends."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(documents):
        start = int(rng.integers(3, 50))
        texts.append([BOS, *range(start, start + int(rng.integers(3, 13))), END])
    bounds = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    weights = np.ones(bounds[-1], np.uint8)
    weights[bounds[:-1]] = 0
    return ToyShards(np.concatenate(texts).astype(np.uint16), weights, bounds)


def toy_config(kv_heads: int = 1, qk_norm: bool = True, tie: bool = True) -> DecoderConfig:
    """A decoder of 2 layers and 32 floats, context 32."""
    settings = ModelSettings(
        depth=2, width=32, heads=2, kv_heads=kv_heads, ffn=64, context=32, qk_norm=qk_norm, tie=tie
    )
    return derive_config(settings, VOCABULARY, BOS, END, PAD)


def toy_model(seed: int = 0, kv_heads: int = 1, qk_norm: bool = True, tie: bool = True) -> Decoder:
    """A decoder whose every weight matters: outputs of its blocks and norms are drawn too, not zero or one."""
    model = Decoder(toy_config(kv_heads, qk_norm, tie))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2, generator=generator)
    return model
