"""Any set of records trains: no loss that is not a number, no step that silently learns nothing, at any context."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizer import small_tokenizer
from toy_training import ToyDialogues, ToyShards

from didact.errors import NoTrainedTokens
from didact.model.batches import BatchPlan, Policy
from didact.model.config import DecoderConfig, derive_config
from didact.model.fit import accumulate
from didact.model.optim import Optimizer
from didact.model.transformer import Decoder
from didact.recipe.training import FinetuneSettings, ModelSettings
from didact.render.renderer import render_batch, render_text

EMOJI = st.text("🙂👩‍🚀🇨🇳\u200d\ufe0f", max_size=30)
SAID = st.one_of(st.just(""), EMOJI, st.text(max_size=20), st.sampled_from(["a", "<|end|>", "\x00", "\n\n"]))
LONG = st.builds(
    lambda text, times: text * times, st.sampled_from(["long and longer ", "🙂", "长"]), st.integers(1, 900)
)
TURN = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "tool"]),
        "content": st.one_of(SAID, LONG),
        "weight": st.sampled_from([None, None, 0.0, 0.5]),
    }
)
DIALOGUES = st.one_of(
    st.lists(TURN, max_size=6),
    st.just([]),
    st.just([{"role": "system", "content": "Be brief."}]),
    st.just([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0.0}]),
    st.just([{"role": "user", "content": "🙂"}, {"role": "assistant", "content": "🙂"}]),
)
CONTEXTS = st.sampled_from([64, 256, 1024, 4096])


def shape(context: int) -> DecoderConfig:
    """One layer of 32 floats, for the small tokenizer."""
    tokenizer = small_tokenizer()
    settings = ModelSettings(depth=1, width=32, heads=1, ffn=32, context=context)
    return derive_config(settings, tokenizer.vocab_size, tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id)


def train_an_epoch(plan: BatchPlan) -> None:
    """Every step has a finite loss above zero, a finite gradient that is not zero, and leaves finite weights."""
    model = Decoder(shape(plan.context)).initialise(1)
    optimizer = Optimizer(model, FinetuneSettings(), 0.01)
    for step in range(plan.steps_per_epoch):
        batches = plan.step(step)
        assert all((batch.weights > 0).any() for batch in batches)
        loss = accumulate(model, batches, sum(batch.weight for batch in batches))
        norm = optimizer.clip_gradients()
        assert math.isfinite(loss) and loss > 0
        assert math.isfinite(norm) and norm > 0
        optimizer.step(1.0)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


@settings(deadline=None, max_examples=15)
@given(
    dialogues=st.lists(DIALOGUES, min_size=1, max_size=5),
    context=CONTEXTS,
    policy=st.sampled_from(["drop", "head", "tail", "turns", "first_turns"]),
)
def test_any_dialogues_train(dialogues: list[list[dict[str, Any]]], context: int, policy: Policy) -> None:
    """Over-long, empty, unmasked, system-only, one-token and emoji-only dialogues: refused as a whole, or learned."""
    rendered = render_batch(dialogues, small_tokenizer())
    shards = ToyDialogues(rendered.ids.astype(np.uint16), rendered.weights, rendered.bounds, rendered.turns)
    try:
        plan = BatchPlan(shards, context, 2 * context, context, policy, 0)
    except NoTrainedTokens:
        trained = np.add.reduceat(rendered.weights, rendered.bounds[:-1]) > 0
        assert not (trained & (np.diff(rendered.bounds) - 1 <= context)).any()
        return
    train_an_epoch(plan)


@settings(deadline=None, max_examples=15)
@given(texts=st.lists(st.one_of(SAID, LONG), min_size=1, max_size=5), context=CONTEXTS)
def test_any_texts_train(texts: list[str], context: int) -> None:
    """Documents of any length, empty ones included, are all learned: the end of an empty one is a target too."""
    rendered = [render_text(text, small_tokenizer()) for text in texts]
    bounds = np.cumsum([0, *(one.ids.size for one in rendered)])
    ids, weights = (
        np.concatenate(arrays) for arrays in zip(*((one.ids, one.weights) for one in rendered), strict=True)
    )
    plan = BatchPlan(ToyShards(ids.astype(np.uint16), weights, bounds), context, 2 * context, context, "split", 0)
    assert plan.report()["lost_tokens"] == 0
    train_an_epoch(plan)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    dialogues=st.lists(DIALOGUES, min_size=1, max_size=8),
    context=CONTEXTS,
    policy=st.sampled_from(["drop", "head", "tail", "turns", "first_turns"]),
)
def test_any_dialogues_train_at_length(dialogues: list[list[dict[str, Any]]], context: int, policy: Policy) -> None:
    """The same with many more examples."""
    test_any_dialogues_train.hypothesis.inner_test(dialogues, context, policy)  # type: ignore[attr-defined]
