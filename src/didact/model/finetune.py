"""Fine-tuning: a trained decoder learns the answers of the `finetune` mix; prompts carry no loss."""

from __future__ import annotations

from pathlib import Path

from didact.model.batches import Shards
from didact.model.checkpoint import check_vocabulary, load_decoder, resolve, weights_digest, widen_vocabulary
from didact.model.fit import FitResult, OnProgress
from didact.model.lora import adapt
from didact.model.phases import TokenizerFiles, compute_threads, fitting_context, gentle_rate, train_phase
from didact.model.precision import choose_device
from didact.model.sinks import WATCHED_BY_NOBODY, Watch
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
    watch: Watch = WATCHED_BY_NOBODY,
) -> FitResult:
    """Train on the weighted tokens, from a checkpoint folder or a run's best one; resumes like pre-training.

    Conversations longer than the context follow `settings.over_long` and are counted in the result's `data`.
    Raises CallError when the tokenizer is not the checkpoint's, NoTrainedTokens, NonFiniteLoss, Interrupted,
    CheckpointError.
    """
    start = resolve(init)
    with compute_threads(threads):
        decoder = load_decoder(start, choose_device(device))
        if settings.base is not None:
            decoder = widen_vocabulary(decoder, tokenizer.vocab_size)
        check_vocabulary(decoder.config, tokenizer, start)
        if settings.lora is not None:
            adapt(decoder, settings.lora, seed, str(start.resolve()))
        return train_phase(
            "finetune",
            decoder,
            fitting_context(settings, decoder.config.max_position_embeddings),
            gentle_rate(settings, decoder.config.hidden_size),
            settings.over_long,
            train,
            validation,
            tokenizer,
            folder,
            seed,
            weights_digest(start),
            on_progress,
            {} if settings.base is None else {"base": str(settings.base)},
            watch,
        )
