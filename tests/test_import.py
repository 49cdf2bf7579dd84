"""Models of others: what transformers saved is loaded exactly, spoken to by its own marks, and fine-tuned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_tokenizer import small_tokenizer
from tiny_recipe import tiny, write_inputs
from toy_training import ToyShards, ToyTokenizer, toy_model

from didact.errors import CallError, RecipeError
from didact.model.checkpoint import load_model, widen_vocabulary, write_model
from didact.model.finetune import finetune
from didact.model.speak import Speaker
from didact.recipe.load import load_recipe
from didact.recipe.training import FinetuneSettings, GenerateSettings
from didact.render.renderer import render_batch
from didact.render.template import template
from didact.render.tokenizer import Tokenizer
from didact.run import run

CHATML = """{%- if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe yourself.<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"""
LLAMA3 = """{% set ns = namespace(first=true) %}{% for m in messages %}{% if ns.first %}{{ bos_token }}{% endif %}
{%- set ns.first = false %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim }}
{{- '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
SIZES: dict[str, Any] = {
    "vocab_size": 704, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 128,
}  # fmt: skip
STRETCH = {
    "rope_type": "llama3", "rope_theta": 5e3, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}  # fmt: skip


def their_model(kind: str, **changes: Any) -> Any:
    """A random model of transformers, every weight of which matters."""
    import transformers

    torch.manual_seed(4)
    config = getattr(transformers, f"{kind}Config")(**SIZES | changes)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2)
    return model.eval()


def foreign(folder: Path, kind: str = "Qwen3", marks: str = "chatml", chat: str = CHATML, **changes: Any) -> Any:
    """A model folder of others: weights by save_pretrained, a tokenizer with a chat template in their words."""
    model = their_model(kind, **changes)
    model.save_pretrained(folder)
    small_tokenizer(marks).save(folder)
    (folder / "template.json").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": chat}))
    return model


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Llama", {"num_key_value_heads": 2, "tie_word_embeddings": False}),
        ("Llama", {"num_key_value_heads": 4, "tie_word_embeddings": True}),
        ("Llama", {"num_key_value_heads": 1, "head_dim": 16, "rope_parameters": STRETCH}),
        ("Qwen3", {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True}),
        ("Qwen3", {"num_key_value_heads": 4, "head_dim": 8, "tie_word_embeddings": False}),
        ("Qwen3", {"num_key_value_heads": 2, "head_dim": 8, "rope_parameters": STRETCH}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_are_those_of_transformers(
    tmp_path: Path, kind: str, changes: dict[str, Any], dtype: torch.dtype
) -> None:
    """Weights of every shape and precision load as fp32 with the same bits of logits, in one file or several."""
    their_model(kind, **changes).to(dtype).save_pretrained(tmp_path, max_shard_size="60KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ours = load_model(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, 704, (2, 60)))
    with torch.inference_mode():
        assert torch.equal(ours(ids), theirs(ids).logits)
    write_model(tmp_path / "again", ours)
    with torch.inference_mode():
        again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
        assert torch.equal(again(ids).logits, theirs(ids).logits)


@pytest.mark.parametrize(("marks", "chat"), [("chatml", CHATML), ("llama3", LLAMA3)])
def test_a_chat_template_is_recognised_by_what_it_writes(tmp_path: Path, marks: str, chat: str) -> None:
    """In the tokenizer's configuration, in a list there, or in a file, it leads to the built-in template it equals."""
    foreign(tmp_path, marks=marks, chat=chat)
    assert Tokenizer.load(tmp_path).template == template(marks)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"chat_template": [{"name": "default", "template": chat}]}))
    assert Tokenizer.load(tmp_path).template == template(marks)
    del config["chat_template"]
    path.write_text(json.dumps(config))
    with pytest.raises(CallError, match="has no chat template"):
        Tokenizer.load(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(chat)
    assert Tokenizer.load(tmp_path).template == template(marks)


@pytest.mark.parametrize(
    ("chat", "told"),
    [
        (CHATML.replace("im_end", "im_over"), "RE004"),
        ("{% for m in messages %}{{ m.content", "fails"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "fails"),
        ("{{ 1 // 0 }}", "fails"),
        ("{{ raise_exception('no') }}", "fails"),
        ("x" * 200_000, "at most"),
    ],
)
def test_a_chat_template_that_is_unknown_broken_or_hostile_is_refused(tmp_path: Path, chat: str, told: str) -> None:
    """Nothing is guessed: the user is asked to name the template, and a named one is taken."""
    foreign(tmp_path, chat=chat)
    with pytest.raises(CallError, match=told):
        Tokenizer.load(tmp_path)
    assert Tokenizer.load(tmp_path, template("chatml")).template == template("chatml")


def test_a_model_of_others_answers_as_in_transformers(tmp_path: Path) -> None:
    """From the folder alone, the greedy answer to a chat is the one transformers generates from its own template."""
    from transformers import AutoTokenizer

    theirs = foreign(tmp_path, num_key_value_heads=2, head_dim=8)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which animal?"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        out = theirs.generate(**ids, max_new_tokens=12, do_sample=False, eos_token_id=tokenizer.eos_token_id)
    expected = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    answer = Speaker.load(tmp_path, threads=1).answer(messages, GenerateSettings(max_tokens=12))
    assert (answer.text, answer.tokens) == (expected, 12)


def test_new_token_rows_change_nothing_else() -> None:
    """A widened model gives known tokens the logits they had, and each new one the mean embedding, tied or not."""
    for tie in (True, False):
        model = toy_model(1, tie=tie)
        wide = widen_vocabulary(model, 128)
        ids = torch.arange(3, 30)[None]
        assert torch.allclose(wide(ids)[..., :64], model(ids), atol=1e-6)
        mean = model.model.embed_tokens.weight.mean(0)
        assert torch.allclose(wide.model.embed_tokens.weight[64:], mean.expand(64, -1))
        assert (wide.lm_head.weight is wide.model.embed_tokens.weight) == tie
        assert widen_vocabulary(model, 64) is model


def test_fine_tuning_starts_from_the_base(tmp_path: Path) -> None:
    """It learns answers from a model of others, whose marks its checkpoint then carries."""
    foreign(tmp_path / "base", num_key_value_heads=2, head_dim=8, tie_word_embeddings=True)
    tokenizer = Tokenizer.load(tmp_path / "base")
    assert tokenizer.vocab_size < load_model(tmp_path / "base").config.vocab_size == 704
    pair = [{"role": "user", "content": "Which animal?"}, {"role": "assistant", "content": "The lazy dog"}]
    rendered = render_batch([pair] * 64, tokenizer)
    shards = ToyShards(rendered.ids.astype(np.uint16), rendered.weights.astype(np.uint8), rendered.bounds)
    settings = FinetuneSettings(base=tmp_path / "base", epochs=8, batch_tokens=128, learning_rate=0.01)
    result = finetune(settings, tmp_path / "base", shards, None, tokenizer, tmp_path / "run", 1, threads=1)
    assert Speaker.load(result.best, threads=1).answer(pair[:1]).text == "The lazy dog"


def test_a_vocabulary_too_small_for_the_template_grows_in_fine_tuning_only(tmp_path: Path) -> None:
    """A base that lacks rows for reserved tokens gets them when it is trained, and is refused when it is to speak."""
    write_model(tmp_path, toy_model(1))
    settings = FinetuneSettings(base=tmp_path, epochs=1, batch_tokens=32)
    shards = ToyShards(np.arange(60, 76, dtype=np.uint16), np.ones(16, np.uint8), np.array([0, 16]))
    result = finetune(settings, tmp_path, shards, None, ToyTokenizer(128), tmp_path / "run", 1, threads=1)
    assert load_model(result.last).config.vocab_size == 128
    with pytest.raises(CallError, match="64 token rows and the tokenizer 128"):
        finetune(FinetuneSettings(), tmp_path, shards, None, ToyTokenizer(128), tmp_path / "other", 1, threads=1)


def test_a_recipe_fine_tunes_a_base(tmp_path: Path) -> None:
    """`finetune.base` with its tokenizer goes from raw files to a checkpoint that answers with the base's marks."""
    write_inputs(tmp_path)
    foreign(tmp_path / "base", num_key_value_heads=2, head_dim=8)
    settings = {
        "tokenizer": {"file": str(tmp_path / "base")},
        "finetune": {"base": str(tmp_path / "base"), "epochs": 0.2, "batch_tokens": 1024},
    }
    result = run(tiny(tmp_path, **settings), until="finetune", workers=1, threads=1)
    speaker = Speaker.load(result.last_phase.best, threads=1)
    assert speaker.tokenizer.template == template("chatml")
    assert speaker.model.config.vocab_size == 704


@pytest.mark.parametrize(
    "sections",
    [
        {"finetune": {"base": "there"}},
        {"finetune": {"base": "there"}, "tokenizer": {"file": "there"}, "pretrain": {}},
    ],
)
def test_a_base_without_its_tokenizer_or_beside_pre_training_is_refused(sections: dict[str, Any]) -> None:
    """The contradiction is told when the recipe is read."""
    with pytest.raises((RecipeError, ValidationError), match=r"finetune\.base"):
        load_recipe(tiny(Path(), **sections))
