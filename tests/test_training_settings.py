"""The training sections of a recipe: quantities, bounds, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from didact.errors import CallError
from didact.model.config import derive_config
from didact.recipe.training import EvaluationTask, FinetuneSettings, GenerateSettings, ModelSettings, PretrainSettings


def test_quantities_are_parsed() -> None:
    """Token counts may be written as people write them."""
    settings = PretrainSettings.model_validate({"tokens": "2M", "batch_tokens": "4_096"})
    assert (settings.tokens, settings.batch_tokens) == (2_000_000, 4096)


@pytest.mark.parametrize(
    ("model", "content"),
    [
        (PretrainSettings, {"epoch": 1}),
        (PretrainSettings, {"learning_rate": 0}),
        (PretrainSettings, {"warmup": 0.6, "decay": 0.5}),
        (PretrainSettings, {"over_long": "drop"}),
        (FinetuneSettings, {"over_long": "cut"}),
        (ModelSettings, {"depth": 0}),
        (GenerateSettings, {"top_p": 0}),
        (EvaluationTask, {"name": "a"}),
        (EvaluationTask, {"name": "a", "path": "x", "split": "test"}),
    ],
)
def test_what_cannot_be_meant_is_refused(model: type[PretrainSettings], content: dict[str, object]) -> None:
    """Unknown keys, values out of bounds and contradictions end at loading."""
    with pytest.raises(ValidationError):
        model.model_validate(content)


def test_every_setting_says_what_it_is() -> None:
    """Each field has a description of some substance."""
    for model in (ModelSettings, PretrainSettings, FinetuneSettings, EvaluationTask, GenerateSettings):
        for name, field in model.model_fields.items():
            assert len(field.description or "") > 20, f"{model.__name__}.{name}"


@pytest.mark.parametrize("depth", range(1, 25))
def test_depth_gives_a_whole_model(depth: int) -> None:
    """Each depth derives sizes that divide evenly, and a deeper model is never narrower."""
    config, before = (derive_config(ModelSettings(depth=d), 1024) for d in (depth, max(1, depth - 1)))
    assert config.num_hidden_layers == depth
    assert config.hidden_size == config.num_attention_heads * config.head_dim
    assert config.hidden_size >= before.hidden_size
    assert config.intermediate_size % 64 == 0


def test_heads_must_divide_the_width() -> None:
    """Sizes that cannot be are refused by name."""
    with pytest.raises(CallError, match="3 heads"):
        derive_config(ModelSettings(width=128, heads=3), 1024)
    with pytest.raises(CallError, match="3 kv_heads"):
        derive_config(ModelSettings(width=128, heads=4, kv_heads=3), 1024)
