"""Checkpoints: whole or absent, damage is seen, pointers lead somewhere, old ones go."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_training import ToyTokenizer, toy_model

from didact.errors import CallError, CheckpointError, InputMissing
from didact.model import checkpoint
from didact.model.config import from_hugging_face, to_hugging_face


def save(folder: Path, step: int, seed: int = 0) -> Path:
    """A checkpoint of a toy model."""
    tensors = {"muon.x": torch.ones(2, 2)}
    path = checkpoint.save_checkpoint(folder, step, toy_model(seed), {"step": step}, tensors, ToyTokenizer().save)
    checkpoint.point(folder, "last", path)
    return path


@pytest.mark.parametrize("tie", [True, False])
def test_a_model_comes_back_bit_by_bit(tmp_path: Path, tie: bool) -> None:
    """Every tensor and the configuration survive; a tied head is stored once."""
    model = toy_model(5, tie=tie)
    path = checkpoint.save_checkpoint(
        tmp_path, 7, model, {"step": 7}, {"muon.x": torch.arange(3.0)}, ToyTokenizer().save
    )
    loaded = checkpoint.load_model(path)
    assert loaded.config == model.config
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight or not tie
    assert torch.equal(checkpoint.load_optimizer(path)["muon.x"], torch.arange(3.0))
    assert checkpoint.read_state(path) == {"step": 7}
    assert (path / "tokenizer.json").is_file()


def test_both_spellings_of_the_rotary_base_are_written() -> None:
    """Old and new readers of config.json find the same base."""
    written = to_hugging_face(toy_model().config)
    assert written["rope_theta"] == written["rope_parameters"]["rope_theta"] == 10_000.0
    assert from_hugging_face(json.loads(json.dumps(written))) == toy_model().config


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
        {"use_sliding_window": True},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": None},
        {"partial_rotary_factor": 0.5},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
        {"quantization_config": {"bits": 4}},
        {"hidden_size": None},
    ],
)
def test_a_model_that_would_compute_otherwise_is_refused(change: dict[str, Any]) -> None:
    """Features this decoder does not have, and missing sizes, end loading with the file named."""
    given = {key: value for key, value in (to_hugging_face(toy_model().config) | change).items() if value is not None}
    with pytest.raises(CallError, match=r"there/config\.json"):
        from_hugging_face(given, "there/config.json")


def test_damage_is_a_checkpoint_error(tmp_path: Path) -> None:
    """Torn weights, another shape, and missing optimiser tensors are refused with the file named."""
    path = save(tmp_path, 1)
    weights = path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        checkpoint.load_model(path)
    weights.write_bytes(whole)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"vocab_size": 128}))
    with pytest.raises(CheckpointError, match="do not fit"):
        checkpoint.load_model(path)
    listed = {"files": {"state-0-of-1.safetensors": {"muon.x": [3], "muon.y": [3]}}}
    (path / "optim" / "index.json").write_text(json.dumps(listed))
    with pytest.raises(CheckpointError, match=r"index\.json"):
        checkpoint.load_optimizer(path)
    with pytest.raises(InputMissing, match=r"config\.json"):
        checkpoint.load_model(tmp_path / "nowhere")


def test_a_killed_write_leaves_no_checkpoint(tmp_path: Path) -> None:
    """When writing ends anywhere before the last file, no step folder has appeared, and the next run cleans up."""

    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    save(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_checkpoint(tmp_path, 2, toy_model(), {"step": 2}, {}, die)
    (tmp_path / ".aside-left-step-3").mkdir()
    assert checkpoint.newest(tmp_path) == tmp_path / "step-1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "step-1"]


def test_a_full_disk_is_seen_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room nothing is written, and what was there stays."""
    save(tmp_path, 1)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(CheckpointError, match="make room"):
        save(tmp_path, 2)
    assert checkpoint.steps(tmp_path) == [1]


def test_only_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    """Pruning spares what the pointers name."""
    for step in (10, 20, 30, 40):
        save(tmp_path, step)
    checkpoint.point(tmp_path, "best", tmp_path / "step-20")
    checkpoint.prune(tmp_path, keep_last=1)
    assert checkpoint.steps(tmp_path) == [20, 40]


def test_a_path_may_be_a_step_a_pointer_a_phase_or_a_run(tmp_path: Path) -> None:
    """Each of them leads to one checkpoint; of a run, to the best of its last phase."""
    early = save(tmp_path / "pretrain", 5)
    late = save(tmp_path / "finetune", 9)
    checkpoint.point(tmp_path / "finetune", "best", late)
    assert checkpoint.resolve(early) == early
    assert checkpoint.resolve(tmp_path / "pretrain" / "last") == early
    assert checkpoint.resolve(tmp_path / "pretrain") == early
    assert checkpoint.resolve(tmp_path) == late
    with pytest.raises(InputMissing, match="checkpoint"):
        checkpoint.resolve(tmp_path / "nothing")
    (tmp_path / "finetune" / "best").write_text("../../elsewhere\n")
    with pytest.raises(CheckpointError, match="not a checkpoint beside it"):
        checkpoint.resolve(tmp_path)


def test_a_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    """Ids without a row in the embedding never reach the model, nor do those of another tokenizer than it learned."""
    with pytest.raises(CallError, match="64 token rows and the tokenizer 128"):
        checkpoint.check_vocabulary(toy_model().config, ToyTokenizer(128), tmp_path)
    (tmp_path / "state.json").write_text('{"tokenizer": "toy"}')
    checkpoint.check_vocabulary(toy_model().config, ToyTokenizer(), tmp_path)
    with pytest.raises(CallError, match="another tokenizer"):
        checkpoint.check_vocabulary(toy_model().config, ToyTokenizer(digest="other"), tmp_path)
