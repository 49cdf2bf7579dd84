"""A checkpoint that answers: from dialogues through training to text, with the real tokenizer and renderer."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_tokenizer import small_tokenizer
from toy_training import ToyShards

from didact.errors import InputMissing
from didact.model.finetune import finetune
from didact.model.pretrain import pretrain
from didact.model.speak import Chat, Speaker
from didact.recipe.training import FinetuneSettings, GenerateSettings, ModelSettings, PretrainSettings
from didact.render.renderer import render_batch, render_prompt

ANSWERS = {"Which animal?": "The lazy dog 🙂", "Which number?": "42", "天气怎么样？": "今天天气很好。"}


def dialogue(question: str, answer: str) -> list[dict[str, Any]]:
    """One question with its answer."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def shards() -> ToyShards:
    """The dialogues, many times."""
    rendered = render_batch([dialogue(*pair) for pair in ANSWERS.items()] * 32, small_tokenizer())
    return ToyShards(rendered.ids.astype(np.uint16), rendered.weights.astype(np.uint8), rendered.bounds)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose fine-tuned model knows the answers by heart."""
    folder = tmp_path_factory.mktemp("run")
    shape = ModelSettings(depth=2, width=64, heads=2, context=64)
    first = PretrainSettings(epochs=1, batch_tokens=256)
    pretrain(shape, first, shards(), None, small_tokenizer(), folder / "pretrain", 1, threads=1)
    settings = FinetuneSettings(epochs=10, batch_tokens=256, optimizer="muon", muon_learning_rate=0.02)
    finetune(settings, folder, shards(), shards(), small_tokenizer(), folder / "finetune", 1, threads=1)
    return folder


@cache
def speaker(run: Path) -> Speaker:
    """The run's best model."""
    return Speaker.load(run, threads=1)


def test_a_run_answers_what_it_was_taught(run: Path) -> None:
    """Trained answers come back as text, ended by the model, with their number of tokens."""
    for question, expected in ANSWERS.items():
        answer = speaker(run).answer(dialogue(question, "")[:1])
        assert (answer.text, answer.finish) == (expected, "stop")
        assert answer.tokens == len(small_tokenizer().encode(expected))
    assert speaker(run).phase == "finetune"


def test_prompts_are_answered_at_once_as_ids(run: Path) -> None:
    """The form evaluation uses: rendered prompts in, ids without the stop token out, in order."""
    prompts = [render_prompt(dialogue(question, "")[:1], small_tokenizer()) for question in ANSWERS]
    texts = [small_tokenizer().decode(ids) for ids in speaker(run).generate(prompts, 20)]
    assert texts == list(ANSWERS.values())


def test_streamed_pieces_are_whole_characters_and_add_up(run: Path) -> None:
    """A character of several tokens arrives in one piece, and all pieces make the answer."""
    for question, expected in ANSWERS.items():
        pieces = list(speaker(run).stream(dialogue(question, "")[:1]))
        assert "".join(pieces) == expected
        assert not any("\ufffd" in piece for piece in pieces)


def test_a_conversation_forgets_its_oldest_exchanges(run: Path) -> None:
    """However long the talk, the prompt leaves room for an answer, and the newest exchanges are in it."""
    chat = Chat(speaker(run), GenerateSettings(max_tokens=8), system="Be brief.")
    for _ in range(6):
        assert "".join(chat.ask("Which number?"))
    assert len(chat.history) == 12
    fitting = chat._fitting({"role": "user", "content": "Which animal?"})
    assert fitting[0] == {"role": "system", "content": "Be brief."}
    assert 2 < len(fitting) < 14
    assert fitting[1:-1] == chat.history[-len(fitting) + 2 :]
    assert len(render_prompt(fitting, small_tokenizer())) <= 64 - 8
    chat.forget()
    assert chat.history == []


def test_plain_text_is_continued(run: Path) -> None:
    """A plain text is continued as an unfinished document: after its start and its words, without an end."""
    tokenizer = small_tokenizer()
    open_document = [tokenizer.bos_id, *tokenizer.encode("The quick")]
    expected = speaker(run).generate([open_document], 3)[0]
    answer = speaker(run).continue_text("The quick", GenerateSettings(max_tokens=3))
    assert (answer.text, answer.tokens) == (tokenizer.decode(expected), len(expected))


def test_transformers_talks_with_the_checkpoint(run: Path) -> None:
    """AutoModel and AutoTokenizer open the folder, render the chat, and generate the same greedy answer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = (run / "finetune" / "best").read_text().strip()
    model: Any = AutoModelForCausalLM.from_pretrained(run / "finetune" / folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(run / "finetune" / folder)
    for question, expected in ANSWERS.items():
        messages = dialogue(question, "")[:1]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            out = model.generate(**ids, max_new_tokens=20, do_sample=False)
        assert tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True) == expected


def test_a_missing_checkpoint_is_a_call_error(tmp_path: Path) -> None:
    """A path that leads to no checkpoint says what was expected."""
    with pytest.raises(InputMissing, match=r"config\.json"):
        Speaker.load(tmp_path)
