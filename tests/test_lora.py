"""Adapters: equal to PEFT's, merged without a change, resumed exactly, and the base never touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_fit import files_of, stop_at
from toy_training import ToyTokenizer, counting_shards, toy_model

from didact.errors import CheckpointError, Interrupted
from didact.model.batches import BatchPlan
from didact.model.checkpoint import load_model, write_model
from didact.model.finetune import finetune
from didact.model.fit import FitResult, Progress, accumulate
from didact.model.lora import adapt, adapter_tensors, merge
from didact.model.loss import batch_loss
from didact.model.optim import Optimizer
from didact.model.transformer import Decoder
from didact.model.validation import mean_loss
from didact.recipe.training import FinetuneSettings, LoraSettings

IDS = torch.arange(3, 33)[None]


def trained(dropout: float = 0.0) -> Decoder:
    """A decoder whose adapters' every weight matters."""
    model = adapt(toy_model(2), LoraSettings(rank=4, alpha=6, dropout=dropout), 1, "base")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in adapter_tensors(model).values():
            tensor.normal_(0, 0.3, generator=generator)
    return model


def tune(
    folder: Path,
    base: Path,
    lora: dict[str, Any],
    on_progress: Callable[[Progress], None] | None = None,
    **changes: Any,
) -> FitResult:
    """A short fine-tuning with adapters."""
    given = {"batch_tokens": 128, "epochs": 1, "eval_every": 5, "log_every": 1, "keep_last": 9, "lora": lora} | changes
    settings = FinetuneSettings.model_validate(given)
    shards, held = counting_shards(160), counting_shards(20, 9)
    return finetune(settings, base, shards, held, ToyTokenizer(), folder, 1, on_progress, threads=1)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base folder beside the runs."""
    write_model(tmp_path / "base", toy_model(5))
    return tmp_path / "base"


def test_fresh_adapters_change_nothing_and_merged_ones_compute_the_same() -> None:
    """Logits before training are the base's bit by bit; after it, merged equals unmerged up to rounding."""
    plain = toy_model(2)
    assert torch.equal(adapt(toy_model(2), LoraSettings(), 1, "base")(IDS), plain(IDS))
    model = trained()
    expected = model(IDS)
    merged = merge(model)
    assert (expected - plain(IDS)).abs().max() > 0.1
    assert torch.allclose(merged(IDS), expected, atol=1e-5)
    assert merged.state_dict().keys() == plain.state_dict().keys()
    assert all(p.requires_grad for p in merged.parameters())


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_peft_reads_the_folder_and_computes_the_same(tmp_path: Path) -> None:
    """The PEFT library over the base gives the logits of our adapters, merged or not."""
    import peft
    from transformers import AutoModelForCausalLM

    write_model(tmp_path / "base", toy_model(2))
    model = trained()
    (tmp_path / "step").mkdir()
    write_model(tmp_path / "step", model)
    config = json.loads((tmp_path / "step" / "adapter_config.json").read_text())
    assert set(config) <= set(peft.LoraConfig.__dataclass_fields__)
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "step")
    with torch.inference_mode():
        assert torch.allclose(theirs(IDS).logits, model(IDS), atol=1e-5)
        assert torch.allclose(theirs.merge_and_unload()(IDS).logits, merge(model)(IDS), atol=1e-5)


def test_gradients_reach_the_adapters_only() -> None:
    """They are autograd's, no other weight gets one, and the optimiser's state is that of the adapters."""
    model = trained()
    batches = BatchPlan(counting_shards(20), 16, 64, 64, "split", 0).step(0)
    accumulate(model, batches, 5.0)
    small = dict(model.named_parameters())
    assert {name for name, p in small.items() if p.grad is not None} == {n for n in small if "lora_" in n}
    name = "model.layers.0.mlp.down_proj.lora_A"
    gradient, parameter = small[name].grad, small[name]
    assert gradient is not None
    with torch.no_grad():
        losses = []
        for shift in (1e-2, -1e-2):
            parameter[1, 2] += shift
            losses.append(sum(float(batch_loss(model, batch)) for batch in batches) / 5.0)
            parameter[1, 2] -= shift
    assert (losses[0] - losses[1]) / 2e-2 == pytest.approx(float(gradient[1, 2]), rel=2e-2, abs=1e-4)
    optimizer = Optimizer(model, FinetuneSettings(lora=LoraSettings()))
    optimizer.step(1.0)
    whole = sum(p.numel() for p in toy_model().parameters())
    assert 0 < sum(t.numel() for t in optimizer.tensors().values()) < whole


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path: Path, base: Path, dropout: float) -> None:
    """With adapters too, and with dropout, whose draws depend on the step alone."""
    lora = {"rank": 2, "dropout": dropout}
    straight = tune(tmp_path / "straight", base, lora)
    with pytest.raises(Interrupted):
        tune(tmp_path / "resumed", base, lora, stop_at(7))
    resumed = tune(tmp_path / "resumed", base, lora)
    assert files_of(resumed.last) == files_of(straight.last)
    other = tune(tmp_path / "other", base, lora | {"dropout": 0.3})
    assert other.train_loss != straight.train_loss


def test_only_adapters_are_written_and_the_base_stays(tmp_path: Path, base: Path) -> None:
    """Training lowers the loss; the base's bytes are as before; a checkpoint is small and names its base."""
    before = (base / "model.safetensors").read_bytes()
    result = tune(tmp_path / "run", base, {"rank": 2}, epochs=4, learning_rate=0.02)
    assert (base / "model.safetensors").read_bytes() == before
    assert not (result.best / "model.safetensors").exists()
    assert sum(path.stat().st_size for path in result.best.rglob("*.safetensors")) < len(before)
    loaded = load_model(result.best)
    assert loaded.adapted is None
    plan = BatchPlan(counting_shards(20, 9), 16, 2048, 2048, "split", 0)
    batches = plan.first_rows(10**6)
    assert mean_loss(loaded, batches) == pytest.approx(result.validation_loss, rel=1e-4)
    assert mean_loss(loaded, batches) < 0.9 * mean_loss(load_model(base), batches)


def test_a_store_moves_as_a_whole_and_a_changed_base_is_seen(tmp_path: Path) -> None:
    """The base is named relative to the checkpoint; other weights in its place are refused, not merged with."""
    write_model(tmp_path / "store" / "base", toy_model(5))
    result = tune(tmp_path / "store" / "run", tmp_path / "store" / "base", {"rank": 2})
    expected = load_model(result.last)(IDS)
    shutil.move(tmp_path / "store", tmp_path / "moved")
    step = tmp_path / "moved" / "run" / result.last.name
    assert torch.equal(load_model(step)(IDS), expected)
    write_model(tmp_path / "moved" / "base", toy_model(6))
    with pytest.raises(CheckpointError, match="other weights"):
        load_model(step)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"bias": "all"}, "bias"),
        ({"use_dora": True}, "use_dora"),
        ({"target_modules": "all-linear"}, "cannot|does not describe"),
        ({"r": None}, "does not describe"),
        ({"r": 3}, "do not fit"),
    ],
)
def test_adapters_that_would_compute_otherwise_are_refused(
    tmp_path: Path, base: Path, change: dict[str, Any], told: str
) -> None:
    """Kinds of adapters we do not have, and tensors that do not fit, end loading."""
    result = tune(tmp_path / "run", base, {"rank": 2}, epochs=0.1)
    path = result.last / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=told):
        load_model(result.last)
