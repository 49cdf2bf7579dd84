"""Exported models: other programs open them and compute the same, and the card says what they learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from small_tokenizer import small_tokenizer
from test_import import SIZES, foreign
from tiny_recipe import tiny, write_inputs

from didact.cli import cli
from didact.errors import CallError
from didact.model import export
from didact.model.checkpoint import load_model, save_checkpoint
from didact.model.config import DecoderConfig, RopeScaling
from didact.model.export import TORCH_TYPES, Precision, export_model
from didact.model.gguf_file import CONTROL, UNUSED, gguf_tensors
from didact.model.lora import adapt, adapter_tensors
from didact.model.speak import Speaker
from didact.model.transformer import Decoder
from didact.recipe.training import GenerateSettings, LoraSettings
from didact.render.tokenizer import Tokenizer
from didact.run import run

SCALING = RopeScaling(8.0, 1.0, 4.0, 24)
IDS = torch.from_numpy(np.random.default_rng(2).integers(0, 512, (2, 40)))


def spoken(folder: Path, qk_norm: bool = True, tie: bool = True, scaling: RopeScaling | None = None) -> Path:
    """A checkpoint of a random decoder with a real tokenizer."""
    tokenizer = small_tokenizer()
    config = DecoderConfig(
        tokenizer.vocab_size, 64, 96, 2, 4, 2, 16, 128, tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id,
        qk_norm=qk_norm, tie_word_embeddings=tie, rope_scaling=scaling,
    )  # fmt: skip
    model = Decoder(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2, generator=generator)
    state = {"step": 3, "phase": "finetune", "tokenizer": tokenizer.digest, "validation_loss": 1.25}
    return save_checkpoint(folder, 3, model, state, {"muon.x": torch.ones(9)}, tokenizer.save)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("tie", [True, False])
def test_transformers_opens_the_export(tmp_path: Path, precision: Precision, tie: bool) -> None:
    """In each precision its weights are ours rounded to it, its logits those of the rounded weights, bit by bit."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = spoken(tmp_path / "run", tie=tie)
    export_model(source, tmp_path / "out", precision)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert theirs.dtype == TORCH_TYPES[precision]
    ours = load_model(source)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], tensor.to(TORCH_TYPES[precision])), name
    with torch.inference_mode():
        assert torch.equal(theirs.float()(IDS).logits, load_model(tmp_path / "out")(IDS))
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    messages = [{"role": "user", "content": "Which animal?"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<|begin|><|user|>Which animal?<|end|>"
    assert theirs.generation_config.eos_token_id == [small_tokenizer().end_id]
    assert not (tmp_path / "out" / "optim").exists()
    assert not (tmp_path / "out" / "state.json").exists()


def test_adapters_are_merged(tmp_path: Path) -> None:
    """The export of an adapter checkpoint is a whole model that computes what base and adapters do."""
    base = spoken(tmp_path / "run")
    model = adapt(load_model(base), LoraSettings(rank=4), 1, str(base))
    with torch.no_grad():
        for tensor in adapter_tensors(model).values():
            tensor.normal_(0, 0.1, generator=torch.Generator().manual_seed(2))
    step = save_checkpoint(tmp_path / "tuned", 5, model, {"step": 5}, {}, small_tokenizer().save)
    export_model(step, tmp_path / "out")
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    with torch.inference_mode():
        assert torch.allclose(load_model(tmp_path / "out")(IDS), model(IDS), atol=1e-4)


def test_nothing_is_overwritten_and_a_failed_export_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place in use is refused; an export that ends half-way has not appeared."""
    source = spoken(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CallError, match="is there already"):
        export_model(source, tmp_path / "mine")
    with pytest.raises(CallError, match="is there already"):
        export_model(source, tmp_path / "out", gguf=tmp_path / "mine" / "thesis.txt")

    def die(*given: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "model_card", die)
    with pytest.raises(KeyboardInterrupt):
        export_model(source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "run"]


def test_weights_beyond_fp16_are_refused(tmp_path: Path) -> None:
    """Infinity is not written in place of a large weight; bf16 has its range."""
    source = spoken(tmp_path / "run")
    model = load_model(source)
    with torch.no_grad():
        model.model.norm.weight[0] = 1e5
    big = save_checkpoint(tmp_path / "big", 1, model, {"step": 1}, {}, small_tokenizer().save)
    with pytest.raises(CallError, match="does not fit fp16"):
        export_model(big, tmp_path / "out", "fp16")
    export_model(big, tmp_path / "out", "bf16")


def test_the_card_tells_data_licences_and_scores(tmp_path: Path) -> None:
    """From a run, by the command: the version, every licence with its sources, and the measured figures."""
    write_inputs(tmp_path)
    sections: dict[str, Any] = {
        "model": {"depth": 1, "width": 32, "heads": 2},
        "finetune": {"epochs": 0.2, "batch_tokens": 1024},
        "evaluate": {"tasks": [{"name": "held", "split": "test", "limit": 3, "max_tokens": 3}]},
    }
    result = run(tiny(tmp_path, **sections), workers=1, threads=1)
    done = CliRunner().invoke(cli, ["export-model", str(result.folder), str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["checkpoint"] == str(result.last_phase.best)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"tiny@{result.version.manifest.version}" in card
    assert "| CC0-1.0 | stories |" in card
    assert "license: other" in card
    assert "| stories | exact_match | 3 |" in card
    assert f"{result.last_phase.validation_loss:.4f} nats" in card


def test_a_card_without_a_run_says_so(tmp_path: Path) -> None:
    """What is not known is not made up; a base's licence is recalled."""
    export_model(spoken(tmp_path / "run"), tmp_path / "out")
    assert "data version is unknown" in (tmp_path / "out" / "README.md").read_text()
    step = spoken(tmp_path / "again")
    state = json.loads((step / "state.json").read_text())
    (step / "state.json").write_text(json.dumps(state | {"base": "models/Theirs"}))
    export_model(step, tmp_path / "other")
    assert "`models/Theirs`; its licence holds" in (tmp_path / "other" / "README.md").read_text()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_the_gguf_package_reads_what_was_written(tmp_path: Path, precision: Precision, qk_norm: bool) -> None:
    """Every weight comes back under llama.cpp's names within its precision; sizes and tokens are the model's."""
    gguf: Any = pytest.importorskip("gguf")
    source = spoken(tmp_path / "run", qk_norm=qk_norm, tie=False)
    export_model(source, tmp_path / "out", precision, tmp_path / "model.gguf")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    expected = gguf_tensors(load_model(source))
    assert {tensor.name for tensor in reader.tensors} == expected.keys()
    assert len(expected) == 3 + 2 * (11 if qk_norm else 9)
    close = {"fp32": 0, "bf16": 2**-8, "fp16": 2**-10}[precision]
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.allclose(values, expected[tensor.name].numpy(), rtol=close, atol=1e-7 * (close > 0)), tensor.name
    kind = "qwen3" if qk_norm else "llama"
    sizes = {"attention.head_count_kv": 2, "attention.key_length": 16, "block_count": 2, "context_length": 128}
    assert {key: reader.get_field(f"{kind}.{key}").contents() for key in sizes} == sizes
    tokens = reader.get_field("tokenizer.ggml.tokens").contents()
    types = reader.get_field("tokenizer.ggml.token_type").contents()
    tokenizer = Tokenizer.load(source)
    assert len(tokens) == tokenizer.vocab_size
    assert {tokens[place] for place, kind in enumerate(types) if kind == CONTROL} == set(tokenizer.reserved)
    assert all(tokens[place].startswith("<|unused_") for place, kind in enumerate(types) if kind == UNUSED)
    assert reader.get_field("tokenizer.ggml.pre").contents() == "qwen2"
    assert "generation" not in reader.get_field("tokenizer.chat_template").contents().replace("add_generation", "")


def test_a_tokenizer_llama_cpp_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    """Another way of cutting text would give other ids; nothing is written then."""
    source = spoken(tmp_path / "run")
    content = json.loads((source / "tokenizer.json").read_text())
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\w+"}
    (source / "tokenizer.json").write_text(json.dumps(content))
    state = json.loads((source / "state.json").read_text())
    del state["tokenizer"]
    (source / "state.json").write_text(json.dumps(state))
    with pytest.raises(CallError, match="cuts text"):
        export_model(source, tmp_path / "out", gguf=tmp_path / "model.gguf")
    assert not (tmp_path / "out").exists()


def test_a_rotary_scaling_llama_cpp_lacks_is_refused(tmp_path: Path) -> None:
    """llama.cpp scales rotary angles of Llama types only and opens no Qwen3 file that asks for it."""
    with pytest.raises(CallError, match="Qwen3 type"):
        export_model(spoken(tmp_path / "run", scaling=SCALING), tmp_path / "out", gguf=tmp_path / "model.gguf")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("qk_norm", "stretch"), [(True, False), (False, False), (False, True)])
def test_llama_cpp_speaks_the_same(tmp_path: Path, qk_norm: bool, stretch: bool) -> None:
    """llama.cpp cuts texts into the same ids and generates the same greedy answer, Qwen3 and Llama types."""
    llama_cpp: Any = pytest.importorskip("llama_cpp")
    source = spoken(tmp_path / "run", qk_norm, scaling=SCALING if stretch else None)
    export_model(source, tmp_path / "out", gguf=tmp_path / "model.gguf")
    theirs = llama_cpp.Llama(str(tmp_path / "model.gguf"), n_ctx=128, verbose=False, seed=1, logits_all=True)
    speaker = Speaker.load(source, threads=1)
    for text in ("It didn't stop; 1,024 years. ", "今天天气很好。 Ça va?\n\n  def f(a):", "<|user|> Привет 🙂"):
        assert theirs.tokenize(text.encode(), add_bos=False, special=False) == speaker.tokenizer.encode(text)
    prompt = speaker.tokenizer.encode("The quick brown fox jumps over the lazy dog; 今天天气很好, 42.")
    expected = speaker.complete([prompt], GenerateSettings(max_tokens=24))[0].ids
    found: list[int] = []
    for token in theirs.generate(prompt, temp=0.0, repeat_penalty=1.0):
        if token in speaker.stop_ids or len(found) == 24:
            break
        found.append(token)
    assert found == expected


def test_a_model_of_others_is_exported_too(tmp_path: Path) -> None:
    """Rows beyond the tokenizer, two ends of a text, and their way of cutting words survive."""
    foreign(tmp_path / "base", num_key_value_heads=2, head_dim=8)
    export_model(tmp_path / "base", tmp_path / "out", gguf=tmp_path / "model.gguf")
    tokenizer = Tokenizer.load(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert config["eos_token_id"] == sorted({tokenizer.end_id, tokenizer.end_of_text_id})
    assert load_model(tmp_path / "out").config.vocab_size == SIZES["vocab_size"]
