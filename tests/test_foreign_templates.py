"""Chat templates of others: accepted when what they write can be trained on, refused with the reason when not."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizer import SENTENCES, small_tokenizer
from tiny_recipe import tiny, write_inputs
from toy_training import ToyDialogues

from didact.build.pipeline import build
from didact.errors import CallError, RenderError
from didact.model.batches import BatchPlan
from didact.render.foreign import ForeignRenderer
from didact.render.renderer import render_batch, render_dialogue, render_prompt, renderer_of
from didact.render.sandbox import BoundedEnvironment
from didact.render.template import template
from didact.render.token_shards import TokenShards, tokenize_version
from didact.render.tokenizer import Tokenizer
from didact.validate import validate

TURN = "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
CHATML = (
    "{{- bos_token }}{%- for m in messages %}" + TURN + "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
MARKED = (
    "{{- bos_token }}{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}"
    "{% generation %}{{- m.content + '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}{%- else %}" + TURN + "{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
HEADER = "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}"
LLAMA = (
    "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
    "{%- if messages[0].role == 'system' %}{%- set system = messages[0].content | trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + date_string + '\\n\\n' + system + '<|eot_id|>' }}"
    "{%- if tools %}{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}"
    "{{- (tools | tojson(indent=4)) + '<|eot_id|>' }}{%- endif %}{%- for m in messages %}{%- if m.tool_calls %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- set f = m.tool_calls[0].function %}"
    "{{- '{\"name\": \"' + f.name + '\", \"parameters\": ' + (f.arguments | tojson) + '}' + '<|eot_id|>' }}"
    "{%- else %}" + HEADER + "{%- endif %}{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
QWEN3 = CHATML.replace(
    "+ m.content +",
    "+ (m.content if loop.last or m.role != 'assistant' else m.content.split('</think>')[-1].lstrip()) +",
)
SPECIAL = (
    "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>", "<|im_start|>", "<|im_end|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
)  # fmt: skip


def folder_with(folder: Path, source: str, eos: str = "<|im_end|>") -> Path:
    """A tokenizer of others, with a chat template in its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([*SENTENCES, "<|im_start|>user\n[INST] model assistant"] * 3, trainer)
    made.add_special_tokens(list(SPECIAL))
    made.add_tokens(["<think>", "</think>"])
    made.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": eos, "pad_token": "<pad>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": source, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"clean_up_tokenization_spaces": False}))
    return folder


ACCEPTED: dict[str, tuple[str, str, dict[str, str], set[str], str]] = {
    "chatml": (CHATML, "<|im_end|>", {}, {"system", "results"}, "<|im_end|>"),
    "marked": (MARKED, "<|im_end|>", {}, {"system", "results"}, "<|im_end|>"),
    "mistral": (MISTRAL, "</s>", {}, set(), "</s>"),
    "gemma": (GEMMA, "</s>", {}, set(), "<end_of_turn>"),
    "llama": (LLAMA, "<|eot_id|>", {"date_string": "26 Jul 2024"}, {"system", "tools", "results"}, "<|eot_id|>"),
}


@functools.cache
def tokenizer_of(name: str) -> tuple[Tokenizer, Any]:
    """Ours and transformers' of a template that is accepted, saved by us and loaded again."""
    from transformers import AutoTokenizer

    source, eos, values, _, _ = ACCEPTED[name]
    with tempfile.TemporaryDirectory() as folder:
        path = folder_with(Path(folder) / "own", source, eos)
        Tokenizer.load(path, "own", values).save(Path(folder) / "saved")
        return Tokenizer.load(Path(folder) / "saved"), AutoTokenizer.from_pretrained(Path(folder) / "saved")


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_a_template_that_can_be_trained_with_is_accepted(name: str) -> None:
    """With what it has a place for, and the token its turns end with, found by trial."""
    own = tokenizer_of(name)[0].template
    _, _, _, takes, end = ACCEPTED[name]
    assert set(own.takes) == takes  # type: ignore[union-attr]
    assert own.end_of_turn == end


SAID = st.one_of(st.sampled_from([*SENTENCES, "a", "<think>\nx\n</think>\n\ny", " b \n"]), st.text(max_size=12))
CLEAN = SAID.filter(lambda text: not any(mark in text for mark in SPECIAL) and "<|unused" not in text)
PAIRS = st.lists(st.tuples(CLEAN, CLEAN, st.sampled_from([None, 0.0, 0.5])), min_size=1, max_size=4)


def as_dialogue(pairs: list[tuple[str, str, float | None]]) -> list[dict[str, Any]]:
    """Exchanges as messages."""
    return [
        turn
        for asked, said, weight in pairs
        for turn in ({"role": "user", "content": asked}, {"role": "assistant", "content": said, "weight": weight})
    ]


@pytest.mark.parametrize("name", sorted(ACCEPTED))
@settings(deadline=None, max_examples=25)
@given(pairs=PAIRS)
def test_ids_are_those_of_transformers(name: str, pairs: list[tuple[str, str, float | None]]) -> None:
    """Whole dialogues and prompts have the ids of transformers; with generation tags the mask is theirs too."""
    ours, theirs = tokenizer_of(name)
    dialogue = as_dialogue(pairs)
    plain = [{"role": turn["role"], "content": turn["content"]} for turn in dialogue]
    try:
        rendered = render_dialogue(dialogue, ours)
    except RenderError as error:
        assert error.code == "RE002"  # white space at a border that the template's marks do not keep apart
        return
    expected = theirs.apply_chat_template(plain, return_dict=True, return_assistant_tokens_mask=name == "marked")
    assert rendered.ids.tolist() == expected["input_ids"]
    asked = theirs.apply_chat_template(plain[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert render_prompt(dialogue[:-1], ours) == asked
    if name == "marked" and all(weight is None for _, _, weight in pairs):
        assert expected["assistant_masks"] == rendered.weights.astype(int).tolist()
    for turn, (first, last) in zip(dialogue, rendered.spans.tolist(), strict=True):
        if turn["role"] == "assistant":
            said = ours.decode(rendered.ids[first:last], reserved=True)
            assert turn["content"].strip() in said and said.endswith(ours.template.end_of_turn)
            assert set(rendered.weights[first:last].tolist()) == {1.0 if turn["weight"] is None else turn["weight"]}


@pytest.mark.parametrize("name", sorted(ACCEPTED))
@settings(deadline=None, max_examples=25)
@given(pairs=PAIRS, marks=st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=3))
def test_reserved_strings_in_texts_are_letters(
    name: str, pairs: list[tuple[str, str, float | None]], marks: list[str]
) -> None:
    """A user who writes marks adds none: as many special ids as without them, and the same text when read back."""
    ours, _ = tokenizer_of(name)
    special = {ours._whole.token_to_id(token) for token in SPECIAL}
    dialogue = as_dialogue([("q", "a", None), *pairs])
    spelt = [dict(dialogue[0], content=f"q {'x'.join(marks)} z"), *dialogue[1:]]
    counts, texts = [], []
    for one in (dialogue, spelt):
        try:
            ids = render_dialogue(one, ours).ids.tolist()
        except RenderError:
            return
        counts.append(sum(token in special for token in ids))
        texts.append(ours.decode(ids, reserved=True))
    assert counts[0] == counts[1]
    assert f"q {'x'.join(marks)} z" in texts[1]


REFUSED = {
    "a changing date": (LLAMA, "RE002", "the day's date"),
    "stripped thoughts": (QWEN3, "RE002", "changes when more follows"),
    "a count of turns": (CHATML.replace("bos_token", "messages | length | string"), "RE002", "changes when more"),
    "no end of turn": (CHATML.replace("<|im_end|>", ""), "RE004", "begins with no special token"),
    "tags without the end": (
        MARKED.replace("+ '<|im_end|>' }}{% endgeneration %}", "}}{% endgeneration %}{{- '<|im_end|>' }}"),
        "RE004", "do not end with <|im_end|>",
    ),
    "two beginnings": (CHATML.replace("bos_token", "bos_token + bos_token"), "RE005", "twice"),
    "answers left out": ("{{ bos_token }}{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
                         "RE003", "does not hold the answer"),
    "another prompt": (CHATML.replace("'<|im_start|>assistant\\n' }}{%- endif", "'<|im_start|>bot\\n' }}{%- endif"),
                       "RE002", "before answer"),
    "broken": ("{% for m in messages %}", "RE001", "fails"),
    "always refusing": ("{{ raise_exception('no') }}", "RE001", "no"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_template_that_cannot_be_trained_with_is_refused(tmp_path: Path, name: str) -> None:
    """With the code of the trial it failed, what was found, and what to do instead; naming a built-in one helps."""
    source, code, said = REFUSED[name]
    path = folder_with(tmp_path, source, "<|eot_id|>")
    with pytest.raises(CallError, match=code) as refused:
        Tokenizer.load(path, "own")
    assert said in str(refused.value) and "template: chatml" in str(refused.value)
    assert Tokenizer.load(path, template("chatml")).template.name == "chatml"


HOSTILE = {
    "loops": "{% set x = range(99999) | list %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
    "recursion": "{% macro f(n) %}{{ f(n - 1) + f(n - 1) if n }}{% endmacro %}{{ f(60) }}",
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "doubling by ~": "{% set n = namespace(x='a' * 99) %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling by +": "{% set n = namespace(x='aaaa') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "a product": "{{ 'a' * 10 ** 10 }}",
    "a power": "{{ 10 ** 10 ** 10 }}",
    "squares": "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "a format": "{{ '%1000000000d' % 1 }}",
    "another format": "{{ '{:1000000000}'.format(1) }}",
    "padding": "{{ 'a'.ljust(10 ** 10) }}",
    "replacing": "{% set x = 'a' * 9999999 %}{{ x.replace('a', x) }}",
    "a filter that replaces": "{% set x = 'a' * 9999999 %}{{ x | replace('a', x) }}",
    "joining": "{% set x = 'a' * 9999999 %}{{ x.join(x) }}",
    "output": "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "words": "{{ lipsum(10 ** 9) }}",
    "length": "x" * 200_000,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_template_costs_an_error(name: str) -> None:
    """Steps, sizes and names are bounded: what would fill memory, run for ever or reach out ends with RE001."""
    with pytest.raises(RenderError, match="RE001"):
        BoundedEnvironment().written(HOSTILE[name], {"messages": []})


def test_dialogues_a_template_has_no_place_for_are_left_out_and_counted(tmp_path: Path) -> None:
    """A system prompt under a template without one, or two users in a row, cost that record, never the others."""
    ours, _ = tokenizer_of("gemma")
    good = as_dialogue([("q", "a", None)])
    system = [{"role": "system", "content": "s"}, *good]
    doubled = [good[0], *good]
    refused: list[tuple[int, str]] = []
    batch = renderer_of(ours).render_batch([good, system, doubled, good], refused=refused)
    assert np.diff(batch.bounds)[1:3].tolist() == [0, 0]
    assert batch.record(0).ids.tolist() == batch.record(3).ids.tolist() == render_dialogue(good, ours).ids.tolist()
    assert [at for at, _ in refused] == [1, 2]
    assert "no place for system" in refused[0][1] and "must alternate" in refused[1][1]
    with pytest.raises(RenderError, match="RE001"):
        render_batch([system], ours)
    ours.save(tmp_path / "gemma")
    rows = [{"messages": [{k: v for k, v in turn.items() if k != "weight"} for turn in one]} for one in (good, system)]
    (tmp_path / "rows.jsonl").write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    report = validate(str(tmp_path / "rows.jsonl"), tokenizer=tmp_path / "gemma")
    assert report.findings["RE001"] == 1


def test_a_tool_call_is_written_as_an_object() -> None:
    """Calls and definitions reach the template as Hugging Face's templates expect them; what it writes is trained."""
    ours, _ = tokenizer_of("llama")
    call = [{"type": "function", "id": "1", "function": {"name": "get", "arguments": '{"a": [1]}'}}]
    dialogue: list[dict[str, Any]] = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": json.dumps(call)},
        {"role": "tool", "content": "7"},
        {"role": "assistant", "content": "seven"},
    ]
    rendered = render_dialogue(dialogue, ours, json.dumps([{"type": "function", "function": {"name": "get"}}]))
    trained = ours.decode(rendered.ids[rendered.weights > 0], reserved=True)
    assert trained == '{"name": "get", "parameters": {"a": [1]}}<|eot_id|>seven<|eot_id|>'
    assert "Today: 26 Jul 2024" in ours.decode(rendered.ids)


def test_a_recipe_trains_with_a_template_of_others(tmp_path: Path) -> None:
    """`tokenizer: {file, template: own}` counts and tokenizes with it, and the version carries it."""
    write_inputs(tmp_path)
    path = folder_with(tmp_path / "theirs", GEMMA, "</s>")
    version = build(tiny(tmp_path, tokenizer={"file": str(path), "template": "own"}), workers=1)
    tokenizer = Tokenizer.load(version.path / "tokenizer")
    assert isinstance(renderer_of(tokenizer), ForeignRenderer)
    tokenize_version(version.path, tokenizer, tmp_path / "tokens")
    shards = TokenShards.open(tmp_path / "tokens", "finetune", "train")
    achieved = version.manifest.mixes["finetune"].sources
    assert sum(source.achieved.tokens or 0 for source in achieved.values()) == shards.ids.size
    messages = version.table("finetune")["messages"].to_pylist()
    expected = [token for one in messages for token in render_dialogue(one, tokenizer).ids.tolist()]
    assert shards.ids.tolist() == expected and shards.turns is not None
    assert shards.described["refused"] == {}


def test_a_dialogue_cut_to_its_last_turns_keeps_its_beginning() -> None:
    """The token that begins a dialogue belongs to no turn, so `over_long: turns` keeps it."""
    ours, _ = tokenizer_of("gemma")
    dialogue = as_dialogue([("q " * 30, "a", None), ("r", "b", None)])
    batch = render_batch([dialogue], ours)
    shards = ToyDialogues(batch.ids.astype(np.uint16), batch.weights, batch.bounds, batch.turns)
    (fed,) = BatchPlan(shards, 32, 32, 32, "turns", 0).step(0)
    alone = render_dialogue(dialogue[2:], ours).ids.tolist()
    assert [*fed.ids.tolist(), fed.targets[-1]] == alone and alone[0] == ours.bos_id


def test_a_vocabulary_learned_here_is_literal_as_before() -> None:
    """Built-in templates go their own fast way."""
    assert not isinstance(renderer_of(small_tokenizer()), ForeignRenderer)
