"""Training steps of the reference decoder and of transformers' Llama of the same shape, fp32 on the CPU.

Both take the same documents, the same optimiser (AdamW) and the same clipping; a token of padding does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.material import Row
from benchmarks.rounds import Comparison, compare
from didact.model.batches import Batch, BatchPlan
from didact.model.config import DecoderConfig, derive_config, to_hugging_face
from didact.model.fit import accumulate
from didact.model.optim import Optimizer
from didact.model.products import prepare_for_training
from didact.model.transformer import Decoder
from didact.recipe.tokenizing import TokenizerSettings
from didact.recipe.training import ModelSettings, PretrainSettings
from didact.render.tokenizer import Tokenizer, train_tokenizer

CONTEXT = 256
_ROWS = 8
"""Rows of a step: 2,048 tokens where they are full."""
_STEPS = 3
_IGNORED = -100


@dataclass(frozen=True)
class _Documents:
    """Token shards in memory, every id but a document's first a target."""

    ids: NDArray[np.uint32]
    weights: NDArray[np.uint8]
    bounds: NDArray[np.int64]


def documents_in_memory(texts: list[list[int]]) -> _Documents:
    """Token shards of these documents, every id but the first of each a target."""
    bounds = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    weights = np.ones(bounds[-1], np.uint8)
    weights[bounds[:-1]] = 0
    return _Documents(np.concatenate([np.array(text, np.uint32) for text in texts]), weights, bounds)


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """Full rows, then whole documents that must not see each other."""
    torch.manual_seed(0)
    texts = [f"{row['instruction']}\n\n{row['input']}\n\n{row['output']}" for row in rows]
    made = train_tokenizer(texts, TokenizerSettings(vocab_size=4096, sample_bytes=2_000_000))
    encoded = made.encode_batch(texts)
    config = derive_config(ModelSettings(depth=4, context=CONTEXT, qk_norm=False), made.vocab_size)
    return [_full_rows(encoded, config, rounds), _whole_documents(encoded, made, config, rounds)]


def _full_rows(encoded: list[list[int]], config: DecoderConfig, rounds: int) -> Comparison:
    stream = [token for text in encoded for token in text]
    count = min(len(stream) // (CONTEXT + 1), _ROWS * _STEPS)
    full = [stream[at * (CONTEXT + 1) : (at + 1) * (CONTEXT + 1)] for at in range(count)]
    steps = _steps_of(full)
    inputs = [_padded(full[at : at + _ROWS], 0) for at in range(0, count, _ROWS)]
    contenders = {
        "didact decoder": _didact(config, steps),
        "transformers Llama": _llama(config, inputs, "sdpa"),
    }
    found = compare("Training on full rows", "tokens", contenders, rounds, processor_time=True)
    found.notes.append(_shape(config))
    return found


def _whole_documents(encoded: list[list[int]], made: Tokenizer, config: DecoderConfig, rounds: int) -> Comparison:
    kept = [[made.bos_id, *text][: CONTEXT + 1] for text in encoded[: _ROWS * _STEPS * 4]]
    steps = _steps_of(kept)
    # As many documents a step as Didact takes, those of like length together, as a length-grouping sampler does.
    ordered = sorted(kept, key=len)
    width = max(1, len(kept) // len(steps))
    padded = [_padded(ordered[at : at + width], made.pad_id) for at in range(0, len(kept), width)]
    contenders = {
        "didact decoder, documents isolated": _didact(config, steps),
        "transformers Llama, padded, grouped by length": _llama(config, padded, "sdpa"),
        "transformers Llama, packed, block mask": _llama(config, [_packed(step) for step in steps], "sdpa"),
    }
    found = compare("Training on whole documents", "tokens", contenders, rounds, processor_time=True)
    lengths = [len(text) for text in kept]
    found.notes.append(f"{_shape(config)}; documents of {np.median(lengths):.0f} tokens, {max(lengths)} at most")
    return found


def _shape(config: DecoderConfig) -> str:
    return f"{config.num_hidden_layers} layers of {config.hidden_size}, vocabulary {config.vocab_size}, fp32"


def _steps_of(texts: list[list[int]]) -> list[list[Batch]]:
    plan = BatchPlan(documents_in_memory(texts), CONTEXT, _ROWS * CONTEXT, _ROWS * CONTEXT, "split", seed=0)
    return [plan.step(step) for step in range(plan.steps_per_epoch)]


def _didact(config: DecoderConfig, steps: list[list[Batch]]) -> Callable[[], int]:
    model = Decoder(config).initialise(0)
    prepare_for_training(model)
    optimizer = Optimizer(model, PretrainSettings())

    def train() -> int:
        for batches in steps:
            accumulate(model, batches, sum(batch.weight for batch in batches))
            optimizer.clip_gradients()
            optimizer.step(1.0)
        return sum(len(batch.ids) for batches in steps for batch in batches)

    return train


def _llama(config: DecoderConfig, steps: list[dict[str, Tensor]], attention: str) -> Callable[[], int]:
    shape = to_hugging_face(config) | {"use_cache": False, "attn_implementation": attention}
    model: Any = LlamaForCausalLM(LlamaConfig(**shape)).float().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def train() -> int:
        for step in steps:
            model(**step).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        # The label of a place is the target of the place before: as many as Didact feeds in.
        return sum(int((step["labels"][:, 1:] != _IGNORED).sum()) for step in steps)

    return train


def _padded(texts: list[list[int]], pad: int) -> dict[str, Tensor]:
    """Documents side by side, the shorter ones filled up."""
    longest = max(map(len, texts))
    ids = torch.full((len(texts), longest), pad)
    labels = torch.full((len(texts), longest), _IGNORED)
    for place, text in enumerate(texts):
        ids[place, : len(text)] = labels[place, : len(text)] = torch.tensor(text)
    even = all(len(text) == longest for text in texts)
    mask = {} if even else {"attention_mask": (labels != _IGNORED).long()}
    return {"input_ids": ids, "labels": labels, **mask}


def _packed(batches: list[Batch]) -> dict[str, Tensor]:
    """Documents behind each other in rows of the context, each hidden from the others by a mask.

    A document that a row's end cuts goes on in the next row without seeing its beginning, which costs no time.
    """
    ids = _in_rows(np.concatenate([batch.ids for batch in batches]), 0)
    places = _in_rows(np.concatenate([batch.positions for batch in batches]), 0)
    owner = _in_rows(np.concatenate([np.repeat(np.arange(len(b.lengths)), b.lengths) for b in batches]), -1)
    seen = (owner[:, :, None] == owner[:, None, :]) & np.tril(np.ones((CONTEXT, CONTEXT), np.bool_))
    inside = (owner[:, 1:] == owner[:, :-1]) & (owner[:, 1:] >= 0)
    labels = np.full(ids.shape, _IGNORED, np.int64)
    labels[:, 1:][inside] = ids[:, 1:][inside]
    arrays = {"input_ids": ids, "labels": labels, "position_ids": places, "attention_mask": seen[:, None]}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _in_rows(values: NDArray[np.int64], fill: int) -> NDArray[np.int64]:
    return np.pad(values, (0, -len(values) % CONTEXT), constant_values=fill).reshape(-1, CONTEXT)
