"""A masked encoder (BERT type): Llama's blocks without the causal mask, trained to name hidden tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from didact.model.batches import Shards
from didact.model.config import DecoderConfig, derive_config
from didact.model.fit import FitResult, OnProgress
from didact.model.masked import Alphabet, MaskedTokens
from didact.model.optim import default_learning_rate
from didact.model.phases import compute_threads, train_phase
from didact.model.precision import choose_device
from didact.model.pretrain import PretrainTokenizer
from didact.model.sinks import WATCHED_BY_NOBODY, Watch
from didact.model.transformer import Decoder
from didact.recipe.training import EncoderSettings, ModelSettings

_MORE_ROWS = 64
"""Embedding rows behind the tokenizer's, the first of which is the mask: a tokenizer need not know it."""


class EncoderTokenizer(PretrainTokenizer, Protocol):
    """A tokenizer that tells which ids have text of their own."""

    def token_bytes(self) -> NDArray[np.int32]:
        """(vocabulary,) bytes of text behind each id; 0 for reserved and unused ones."""


def encoder_config(model: ModelSettings, tokenizer: PretrainTokenizer) -> DecoderConfig:
    """Every size of the encoder. Queries and keys are not normalised: transformers has this encoder only so."""
    config = derive_config(model, tokenizer.vocab_size, tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id)
    return replace(
        config,
        qk_norm=False,
        bidirectional=True,
        mask_token_id=tokenizer.vocab_size,
        vocab_size=tokenizer.vocab_size + _MORE_ROWS,
    )


def train_encoder(
    model: ModelSettings,
    settings: EncoderSettings,
    train: Shards,
    validation: Shards | None,
    tokenizer: EncoderTokenizer,
    folder: Path,
    seed: int,
    on_progress: OnProgress | None = None,
    threads: int | None = None,
    device: str = "cpu",
    watch: Watch = WATCHED_BY_NOBODY,
) -> FitResult:
    """Train an encoder from scratch; started again on the same folder it goes on where it stopped.

    Which tokens are hidden depends on seed, epoch and document alone. Loss weights of the shards do not matter: every
    token with text may be hidden. Raises what `pretrain` raises.
    """
    config = encoder_config(model, tokenizer)
    alphabet = Alphabet(tokenizer.token_bytes() > 0, tokenizer.vocab_size)
    with compute_threads(threads):
        return train_phase(
            "encoder",
            Decoder(config).initialise(seed).to(choose_device(device)),
            settings,
            settings.learning_rate or default_learning_rate(config.hidden_size),
            "split",
            train,
            validation,
            tokenizer,
            folder,
            seed,
            f"seed {seed}",
            on_progress,
            watch=watch,
            objective=MaskedTokens(alphabet, settings.mask),
        )
