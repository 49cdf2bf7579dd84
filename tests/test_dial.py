"""`depth: auto`: the deepest model that the time can train, measured and not guessed, and the same when resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_training import ToyTokenizer, counting_shards

from didact.errors import RecipeError
from didact.model.config import DecoderConfig, derive_config
from didact.model.dial import REPEATS, TOKENS_PER_WEIGHT, Dial, block_weights, operations_per_token
from didact.model.pretrain import pretrain
from didact.model.transformer import Decoder
from didact.recipe.load import load_recipe
from didact.recipe.training import ModelSettings, PretrainSettings


def shape(depth: int) -> DecoderConfig:
    """The shape of a depth."""
    return derive_config(ModelSettings(depth=depth), 2048)


def trained_well(depth: int, tokens_per_second: float, seconds: float, available: float) -> bool:
    """Whether a depth sees enough tokens, by the definition."""
    return TOKENS_PER_WEIGHT * block_weights(shape(depth)) <= int(min(seconds * tokens_per_second, available))


@given(st.floats(1e8, 1e15), st.floats(1, 1e5), st.floats(1e4, 1e12))
def test_the_depth_is_the_deepest_that_fits(operations: float, seconds: float, available: float) -> None:
    """On a machine that does any model's operations equally fast, the answer is that of trying every depth."""

    def speed(depth: int) -> float:
        return operations / operations_per_token(shape(depth))

    found, trials = Dial(shape, seconds, available).turned(speed)
    fitting = [depth for depth in range(1, 65) if trained_well(depth, speed(depth), seconds, available)]
    assert found == max(fitting, default=1)
    assert len(trials) <= 4


@given(st.floats(1e8, 1e13), st.floats(10, 1e4), st.lists(st.floats(0.2, 1), min_size=65, max_size=65))
def test_no_depth_is_chosen_that_was_too_slow(operations: float, seconds: float, efficiency: list[float]) -> None:
    """However unlike the depths are in speed, the answer is 1 or has been tried and was fast enough."""

    def speed(depth: int) -> float:
        return efficiency[depth] * operations / operations_per_token(shape(depth))

    found, trials = Dial(shape, seconds, 1e12).turned(speed)
    assert found == 1 or found in {trial.depth for trial in trials}
    assert found == 1 or trained_well(found, speed(found), seconds, 1e12)


def test_weights_and_operations_are_the_models() -> None:
    """Block weights are those of the decoder's matrices."""
    model = Decoder(derive_config(ModelSettings(depth=3, kv_heads=2), 512))
    blocks = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "layers" in name)
    assert block_weights(model.config) == blocks
    assert operations_per_token(model.config) == 6 * (blocks + model.lm_head.weight.numel())


def test_a_run_measures_once_and_keeps_the_answer(tmp_path: Path) -> None:
    """Pre-training with `depth: auto` trains a model of the depth on file, which a resumed run takes as it stands."""
    settings = PretrainSettings(minutes=0.05, tokens=600, batch_tokens=64)
    model = ModelSettings(depth="auto", width=32, heads=2, ffn=64, context=32)
    text = counting_shards(40)
    answers = []
    for _ in range(2):
        result = pretrain(model, settings, text, None, ToyTokenizer(), tmp_path, seed=1, threads=1)
        told = json.loads((tmp_path / "depth.json").read_text())
        assert told["available_tokens"] == REPEATS * int(text.bounds[-1])
        assert json.loads((result.last / "config.json").read_text())["num_hidden_layers"] == told["depth"]
        answers.append(told)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("more", [{}, {"pretrain": {"tokens": "1M"}}])
def test_auto_needs_a_time(more: dict[str, object]) -> None:
    """A recipe that asks for a depth by time and gives none is refused when it is read."""
    recipe = {"name": "x", "sources": {"a": {"path": "a.jsonl"}}, "model": {"depth": "auto"}} | more
    with pytest.raises(RecipeError, match=r"pretrain\.minutes"):
        load_recipe(recipe)
