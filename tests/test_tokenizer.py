"""The tokenizer is literal, deterministic, and the same in Hugging Face's library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_tokenizer import SENTENCES, small_tokenizer

from didact.errors import CallError, DataError, InputMissing
from didact.recipe.tokenizing import TokenizerSettings
from didact.render.byte_pairs import BytePairs
from didact.render.template import TEMPLATES, template
from didact.render.tokenizer import Tokenizer, train_tokenizer

RESERVED = sorted({token for known in TEMPLATES.values() for token in known.reserved} | {"<|unused_639|>"})
TEXTS = st.lists(
    st.one_of(st.text(max_size=10), st.sampled_from(RESERVED), st.sampled_from(SENTENCES)), max_size=6
).map("".join)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_text_comes_back_and_is_never_reserved(name: str, text: str) -> None:
    """Every text is decoded to itself, and no text, whatever it spells, holds a reserved or unused id."""
    tokenizer = small_tokenizer(name)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer._whole.get_added_tokens_decoder())


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_many_texts_at_once(texts: list[str]) -> None:
    """Batches, counts and both ways of encoding agree with one text at a time."""
    tokenizer = small_tokenizer()
    expected = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts) == expected
    assert tokenizer.count_batch(texts).tolist() == [len(ids) for ids in expected]
    assert tokenizer.decode_batch(expected) == texts


def test_much_text_takes_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it pays the kernels encode, to the same ids as the library."""
    tokenizer = small_tokenizer()
    expected = tokenizer.encode_many(SENTENCES)
    monkeypatch.setattr(BytePairs, "worth", lambda self, size: True)
    found = tokenizer.encode_many(SENTENCES, 2)
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.bounds, expected.bounds)


def test_rows_are_real_and_stable() -> None:
    """The vocabulary is a multiple of 64 with a token for each id; reserved ids come first, in the template's order."""
    tokenizer = small_tokenizer()
    assert tokenizer.vocab_size % 64 == 0
    assert all(tokenizer._whole.id_to_token(token_id) is not None for token_id in range(tokenizer.vocab_size))
    assert list(tokenizer.reserved.values()) == list(range(len(template("didact").reserved)))
    assert tokenizer.id_type is np.uint16


def test_bytes_behind_ids() -> None:
    """The bytes of a text are the sum of its tokens' bytes; reserved ids have none."""
    tokenizer = small_tokenizer()
    sizes = tokenizer.token_bytes()
    for sentence in SENTENCES:
        assert sizes[tokenizer.encode(sentence)].sum() == len(sentence.encode())
    assert sizes[[tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id, tokenizer.vocab_size - 1]].sum() == 0


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_saved_tokenizer_is_the_same(name: str, tmp_path: Path) -> None:
    """Saved and loaded, a tokenizer has the same digest, ids and template; saving it twice gives the same bytes."""
    tokenizer = small_tokenizer(name)
    tokenizer.save(tmp_path / "once")
    again = Tokenizer.load(tmp_path / "once")
    again.save(tmp_path / "twice")
    assert again.digest == tokenizer.digest
    assert again.encode(SENTENCES[2]) == tokenizer.encode(SENTENCES[2])
    for file in sorted((tmp_path / "once").iterdir()):
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes()


def test_another_text_is_another_digest() -> None:
    """The digest tells vocabularies and templates apart."""
    other = train_tokenizer(["completely different words"] * 20, TokenizerSettings(vocab_size=320))
    assert len({other.digest, small_tokenizer().digest, small_tokenizer("chatml").digest}) == 3


def test_threads_and_processes_learn_the_same() -> None:
    """Another process with another number of threads learns the same vocabulary."""
    code = "from small_tokenizer import small_tokenizer; print(small_tokenizer().digest)"
    for threads in ("1", "3"):
        environment = {"RAYON_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == small_tokenizer().digest


def test_only_the_sample_is_learned_from() -> None:
    """Texts after the sample's bytes do not matter."""
    limits = TokenizerSettings(vocab_size=400, sample_bytes=1000)
    first = "a" * 1000
    assert train_tokenizer([first], limits).digest == train_tokenizer([first, "zebra " * 100], limits).digest


def test_a_foreign_file_gets_the_marks_it_lacks(tmp_path: Path) -> None:
    """Any tokenizer.json can be used: reserved tokens that it lacks are appended, and its own ids stay as they were."""
    foreign = tokenizers.Tokenizer(tokenizers.models.BPE())
    foreign.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    foreign.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    foreign.train_from_iterator(
        SENTENCES, tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    foreign.save(str(tmp_path / "tokenizer.json"))
    loaded = train_tokenizer([], TokenizerSettings(file=tmp_path / "tokenizer.json", template="chatml"))
    assert loaded._byte_pairs is None
    assert loaded.encode_batch(SENTENCES) == [foreign.encode(sentence).ids for sentence in SENTENCES]
    assert loaded.vocab_size == 320
    assert min(loaded.reserved.values()) == 300


def test_bad_files_are_named(tmp_path: Path) -> None:
    """An absent, a broken and a template-less file end with one line that says what to do."""
    with pytest.raises(InputMissing, match=r"expected a tokenizer\.json"):
        Tokenizer.load(tmp_path)
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{}")
    with pytest.raises(CallError, match="name the template"):
        Tokenizer.load(broken)
    with pytest.raises(CallError, match=r"not a tokenizer\.json"):
        Tokenizer.load(broken, template("didact"))
    (tmp_path / "template.json").write_text("{}")
    with pytest.raises(CallError, match="not a template"):
        Tokenizer.load(broken)


def test_a_lone_surrogate_is_refused() -> None:
    """A text that is not Unicode is an error of the data."""
    with pytest.raises(DataError, match="surrogate"):
        small_tokenizer().encode("\ud800")


def test_settings_refuse_what_they_do_not_know() -> None:
    """Quantities are parsed; bounds, names and keys are checked when the recipe is loaded."""
    assert TokenizerSettings.model_validate({"vocab_size": "16k", "sample_bytes": "2MB"}).sample_bytes == 2_000_000
    for bad in ({"vocab_size": 10}, {"template": "alpaca"}, {"vocabulary": 1}):
        with pytest.raises(ValidationError):
            TokenizerSettings.model_validate(bad)
