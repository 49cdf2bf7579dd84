"""Pre-training: a new decoder learns to continue the text of the `pretrain` mix."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from didact.model.batches import Shards
from didact.model.checkpoint import newest, save_checkpoint
from didact.model.config import derive_config
from didact.model.dial import resolved_depth, with_depth
from didact.model.fit import FitResult, OnProgress
from didact.model.optim import default_learning_rate
from didact.model.phases import TokenizerFiles, compute_threads, train_phase, trial_speed
from didact.model.precision import choose_device
from didact.model.sinks import WATCHED_BY_NOBODY, Watch
from didact.model.transformer import Decoder
from didact.model.world import present_world
from didact.recipe.training import ModelSettings, PretrainSettings


class PretrainTokenizer(TokenizerFiles, Protocol):
    """A tokenizer whose special ids go into the model's configuration."""

    @property
    def bos_id(self) -> int:
        """Starts every document."""

    @property
    def end_id(self) -> int:
        """Ends every document and every answer."""

    @property
    def pad_id(self) -> int:
        """Fills rows where other programs need filling; never trained here."""


def pretrain(
    model: ModelSettings,
    settings: PretrainSettings,
    train: Shards,
    validation: Shards | None,
    tokenizer: PretrainTokenizer,
    folder: Path,
    seed: int,
    on_progress: OnProgress | None = None,
    threads: int | None = None,
    device: str = "cpu",
    watch: Watch = WATCHED_BY_NOBODY,
) -> FitResult:
    """Train a decoder from scratch; started again on the same folder it goes on where it stopped.

    Documents longer than the context are split, and none is left out. The first weights are drawn from the seed.
    Raises NoTrainedTokens, NonFiniteLoss, Interrupted, CheckpointError; see `fit`.
    """
    with compute_threads(threads):
        shape = with_depth(model, _depth(model, settings, train, tokenizer, folder, device))
        config = derive_config(shape, tokenizer.vocab_size, tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id)
        decoder = Decoder(config).initialise(seed).to(choose_device(device))
        rate = settings.learning_rate or default_learning_rate(config.hidden_size)
        return train_phase(
            "pretrain",
            decoder,
            settings,
            rate,
            "split",
            train,
            validation,
            tokenizer,
            folder,
            seed,
            f"seed {seed}",
            on_progress,
            watch=watch,
        )


def _depth(
    model: ModelSettings,
    settings: PretrainSettings,
    train: Shards,
    tokenizer: PretrainTokenizer,
    folder: Path,
    device: str,
) -> int:
    """The recipe's depth; where it is `auto`, what a few steps at some depths say. Processes take the first one's."""
    if model.depth != "auto":
        return model.depth
    world = present_world()

    def speed(depth: int) -> float:
        config = derive_config(with_depth(model, depth), tokenizer.vocab_size)
        decoder = Decoder(config).initialise(0).to(choose_device(device))
        return trial_speed(decoder, settings, train, "split", world)

    minutes = settings.minutes or 0.0
    tokens = float(train.bounds[-1])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "depth.json"
    return world.first(resolved_depth(model, tokenizer.vocab_size, minutes, tokens, file, speed) if world.leads else 0)


def initial_checkpoint(model: ModelSettings, tokenizer: PretrainTokenizer, folder: Path, seed: int) -> Path:
    """A checkpoint of fresh weights, for fine-tuning without pre-training; the one on file when there is one."""
    saved = newest(folder)
    if saved is None:
        config = derive_config(model, tokenizer.vocab_size, tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id)
        decoder = Decoder(config).initialise(seed)
        state = {"phase": "initial", "step": 0, "seed": seed, "tokenizer": tokenizer.digest}
        saved = save_checkpoint(folder, 0, decoder, state, save_tokenizer=tokenizer.save)
    return saved
