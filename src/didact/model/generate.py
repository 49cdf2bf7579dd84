"""Answers from a trained decoder: many prompts at once over a key-value cache, greedy or sampled by a seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from didact.errors import CallError
from didact.model.attention import KeyValueCache
from didact.model.precision import autocast
from didact.model.transformer import Decoder
from didact.recipe.training import GenerateSettings

PROMPTS_AT_ONCE = 256
_SHRINK_AT = 0.75
"""Finished rows leave the cache once fewer than this share of them goes on: copying it costs about a step."""


@dataclass
class Completion:
    """Generated ids without the stop token, and why they end: a stop token, or the length allowed."""

    ids: list[int] = field(default_factory=list)
    finish: Literal["stop", "length"] = "length"


def generate(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    stop_ids: Collection[int],
    settings: GenerateSettings | None = None,
    at_once: int = PROMPTS_AT_ONCE,
) -> list[Completion]:
    """Complete each prompt, in the order given; prompts of similar length are computed together.

    A prompt too long for the context keeps its tail, so that `max_tokens`, or at least half the context, is free for
    the answer. What is drawn for a prompt depends on the seed and its place in the list, not on its neighbours. Raises
    CallError for an empty prompt.
    """
    settings = settings or GenerateSettings()
    fitting = [fit_prompt(prompt, model.config.max_position_embeddings, settings.max_tokens) for prompt in prompts]
    order = sorted(range(len(fitting)), key=lambda place: len(fitting[place]))
    completions = [Completion() for _ in fitting]
    for start in range(0, len(order), at_once):
        places = order[start : start + at_once]
        for row, token in _decode(model, [fitting[place] for place in places], places, stop_ids, settings):
            if token in stop_ids:
                completions[places[row]].finish = "stop"
            else:
                completions[places[row]].ids.append(token)
    return completions


def stream(
    model: Decoder, prompt: Sequence[int], stop_ids: Collection[int], settings: GenerateSettings | None = None
) -> Iterator[int]:
    """Ids of one completion as they are chosen; equal to what `generate` gives for this prompt alone."""
    settings = settings or GenerateSettings()
    fitting = fit_prompt(prompt, model.config.max_position_embeddings, settings.max_tokens)
    for _, token in _decode(model, [fitting], [0], stop_ids, settings):
        if token not in stop_ids:
            yield token


def fit_prompt(prompt: Sequence[int], context: int, max_tokens: int) -> list[int]:
    """The part of a prompt that leaves room for its answer: its tail."""
    if not prompt:
        raise CallError("a prompt has no tokens; a rendered prompt has at least the token that starts a text")
    return list(prompt[-(context - min(max_tokens, context // 2)) :])


@torch.inference_mode()
def _decode(
    model: Decoder, prompts: list[list[int]], places: list[int], stop_ids: Collection[int], settings: GenerateSettings
) -> Iterator[tuple[int, int]]:
    """(row, token) for each token chosen, stop tokens included, until every row has ended."""
    device = model.lm_head.weight.device
    longest = max(map(len, prompts))
    limit = min(settings.max_tokens, model.config.max_position_embeddings - longest)
    cache = KeyValueCache(model.config, len(prompts), longest + limit, device, torch.float32)
    choose = _Chooser(settings, places)
    rows, going = np.arange(len(prompts)), np.ones(len(prompts), bool)
    with autocast(device):
        logits = _prefill(model, prompts, cache)
        for count in range(1, limit + 1):
            tokens = choose(logits, rows)
            yield from ((int(row), token) for row, token, on in zip(rows, tokens, going, strict=True) if on)
            going &= np.array([token not in stop_ids for token in tokens])
            if count == limit or not going.any():
                return
            if going.mean() < _SHRINK_AT:
                cache.keep(torch.from_numpy(going.nonzero()[0]).to(device))
                tokens = [token for token, on in zip(tokens, going, strict=True) if on]
                rows, going = rows[going], going[going]
            logits = _advance(model, tokens, cache)


def _prefill(model: Decoder, prompts: list[list[int]], cache: KeyValueCache) -> Tensor:
    """Read all prompts; logits (B, vocabulary) of the token after each."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    hidden = model.hidden(ids.to(cache.keys.device), attend=cache.prefill)
    cache.lengths = lengths.to(hidden.device)
    logits: Tensor = model.lm_head(hidden[torch.arange(len(prompts), device=hidden.device), cache.lengths - 1])
    return logits


def _advance(model: Decoder, tokens: list[int], cache: KeyValueCache) -> Tensor:
    """Feed one token per row; logits (B, vocabulary) of the next."""
    cache.begin_step()
    ids = torch.tensor(tokens, device=cache.lengths.device)[:, None]
    hidden = model.hidden(ids, cache.lengths[:, None], cache.step)
    cache.end_step()
    logits: Tensor = model.lm_head(hidden[:, 0])
    return logits


class _Chooser:
    """Picks the next token of each row: the likeliest, or by a random number of the row's own."""

    def __init__(self, settings: GenerateSettings, places: list[int]) -> None:
        self.settings = settings
        seeds = (np.array([settings.seed, place], np.uint64) for place in places)
        self.numbers = (
            [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds] if settings.temperature else []
        )

    def __call__(self, logits: Tensor, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[int]:
        """Token ids from logits (B, vocabulary); ties go to the lower id."""
        if not self.settings.temperature:
            chosen: list[int] = logits.argmax(-1).tolist()
            return chosen
        chances = (logits.float() / self.settings.temperature).softmax(-1).double()
        chances, ids = chances.sort(dim=-1, descending=True, stable=True)
        running = chances.cumsum(-1)
        running = running.clamp(
            max=torch.where(running - chances < self.settings.top_p, running, 0).amax(-1, keepdim=True)
        )
        drawn = torch.tensor([self.numbers[row].random() for row in rows], dtype=torch.float64, device=logits.device)[
            :, None
        ]
        place = (running <= drawn * running[:, -1:]).sum(-1, keepdim=True).clamp(max=ids.shape[-1] - 1)
        sampled: list[int] = ids.gather(-1, place)[:, 0].tolist()
        return sampled
