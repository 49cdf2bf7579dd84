"""Fine-tuning: a trained decoder learns the answers of the `finetune` mix; prompts carry no loss."""

from __future__ import annotations

from pathlib import Path

from didact.durable import sha256_file
from didact.model.batches import Shards
from didact.model.checkpoint import check_vocabulary, load_model, resolve
from didact.model.fit import FitResult, OnProgress
from didact.model.optim import default_learning_rate
from didact.model.phases import TokenizerFiles, compute_threads, train_phase
from didact.model.precision import choose_device
from didact.recipe.training import FinetuneSettings


def finetune(
    settings: FinetuneSettings,
    init: Path,
    train: Shards,
    validation: Shards | None,
    tokenizer: TokenizerFiles,
    folder: Path,
    seed: int,
    on_progress: OnProgress | None = None,
    threads: int | None = None,
    device: str = "cpu",
) -> FitResult:
    """Train on the weighted tokens, from a checkpoint folder or a run's best one; resumes like pre-training.

    Conversations longer than the context follow `settings.over_long` and are counted in the result's `data`.
    Raises CallError when the tokenizer is not the checkpoint's, NoTrainedTokens, NonFiniteLoss, Interrupted,
    CheckpointError.
    """
    start = resolve(init)
    with compute_threads(threads):
        decoder = load_model(start, choose_device(device))
        check_vocabulary(decoder.config, tokenizer.vocab_size, start)
        rate = settings.learning_rate or default_learning_rate(decoder.config.hidden_size) / 2
        return train_phase(
            "finetune",
            decoder,
            settings,
            rate,
            settings.over_long,
            train,
            validation,
            tokenizer,
            folder,
            seed,
            _weights_digest(start),
            on_progress,
        )


def _weights_digest(path: Path) -> str:
    return " ".join(sha256_file(file) for file in sorted(path.glob("*.safetensors")))
