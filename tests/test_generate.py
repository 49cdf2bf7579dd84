"""Generation: the cache changes nothing, neighbours change nothing, and sampling follows the distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_training import END, VOCABULARY, toy_model

from didact.errors import CallError
from didact.model.generate import Completion, fit_prompt, generate, stream
from didact.model.transformer import Decoder
from didact.recipe.training import GenerateSettings

PROMPTS = st.lists(st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=20), min_size=1, max_size=8)


def slowly(model: Decoder, prompt: list[int], max_tokens: int, stop: set[int]) -> Completion:
    """The likeliest continuation by running the whole sequence anew for each token."""
    ids: list[int] = []
    with torch.inference_mode():
        while len(ids) < min(max_tokens, model.config.max_position_embeddings - len(prompt)):
            token = int(model(torch.tensor([prompt + ids]))[0, -1].argmax())
            if token in stop:
                return Completion(ids, "stop")
            ids.append(token)
    return Completion(ids, "length")


@given(PROMPTS, st.integers(1, 2), st.integers(1, 5))
@settings(max_examples=25)
def test_a_batch_with_a_cache_gives_what_each_prompt_gives_alone(
    prompts: list[list[int]], kv_heads: int, at_once: int
) -> None:
    """Prompts of any lengths, in batches of any size, are completed as by the definition, and end where it ends."""
    model = toy_model(3, kv_heads)
    stop = {END, *range(30, 36)}
    expected = [slowly(model, prompt, 12, stop) for prompt in prompts]
    assert generate(model, prompts, stop, GenerateSettings(max_tokens=12), at_once) == expected
    assert list(stream(model, prompts[0], stop, GenerateSettings(max_tokens=12))) == expected[0].ids


@given(PROMPTS)
@settings(max_examples=15)
def test_sampling_depends_on_seed_and_place_alone(prompts: list[list[int]]) -> None:
    """The same seed gives the same answers whatever is computed together; another seed gives others."""
    model = toy_model(1)
    warm = GenerateSettings(max_tokens=8, temperature=3.0, seed=4)
    together = generate(model, prompts, set(), warm)
    assert together == generate(model, prompts, set(), warm, at_once=1)
    assert together != generate(model, prompts, set(), warm.model_copy(update={"seed": 5}))


def test_samples_follow_the_distribution() -> None:
    """Shares of first tokens agree with the softmax at that temperature, within 5 standard errors."""
    model, count = toy_model(2), 4000
    with torch.inference_mode():
        expected = (model(torch.tensor([[5]]))[0, -1] / 4.0).softmax(-1).numpy()
    drawn = generate(model, [[5]] * count, set(), GenerateSettings(max_tokens=1, temperature=4.0))
    shares = np.bincount([completion.ids[0] for completion in drawn], minlength=VOCABULARY) / count
    assert (np.abs(shares - expected) < 5 * np.sqrt(expected * (1 - expected) / count) + 1e-3).all()


def test_top_p_keeps_the_likeliest() -> None:
    """Only tokens needed to reach the probability are drawn; a tiny one gives the likeliest always."""
    model = toy_model(2)
    with torch.inference_mode():
        chances = (model(torch.tensor([[5]]))[0, -1] / 4.0).softmax(-1)
    ordered = chances.sort(descending=True)
    allowed = set(ordered.indices[: int((ordered.values.cumsum(0) < 0.5).sum()) + 1].tolist())
    half = generate(model, [[5]] * 500, set(), GenerateSettings(max_tokens=1, temperature=4.0, top_p=0.5))
    assert {completion.ids[0] for completion in half} == allowed
    greedy = generate(model, [[5]], set(), GenerateSettings(max_tokens=5))
    assert generate(model, [[5]], set(), GenerateSettings(max_tokens=5, temperature=1.0, top_p=1e-6)) == greedy


def test_a_long_prompt_keeps_its_tail() -> None:
    """A prompt leaves room for the answer asked for, or for half the context, and generation ends at its end."""
    assert fit_prompt(range(100), 32, 4) == list(range(72, 100))
    assert fit_prompt(range(100), 32, 500) == list(range(84, 100))
    (completion,) = generate(toy_model(), [list(range(3, 60))], set(), GenerateSettings(max_tokens=500))
    assert (len(completion.ids), completion.finish) == (16, "length")
    with pytest.raises(CallError, match="no tokens"):
        generate(toy_model(), [[]], set())
