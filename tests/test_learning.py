"""The vocabulary that is learned is the one that the `tokenizers` library learns."""

from __future__ import annotations

import itertools
import random

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizer import SENTENCES
from tokenizers import decoders, models, pre_tokenizers, trainers

from didact.errors import DataError
from didact.recipe.tokenizing import TokenizerSettings
from didact.render.learning import learn
from didact.render.pretokens import pre_tokenizer
from didact.render.template import template
from didact.render.tokenizer import train_tokenizer

FEW = st.lists(st.sampled_from(["a", "b", "aa", "ab", "'", "!", "é", "中", " ", "\n", "<|"]), max_size=60).map("".join)
TEXTS = st.lists(st.one_of(FEW, FEW, st.text(max_size=30), st.sampled_from(SENTENCES)), max_size=12)
RESERVED = st.sampled_from([template("didact").reserved, ("aba", "<|", "ab"), ("a", "éa", "<｜begin｜>"), ()])


def library_learns(texts: list[str], reserved: tuple[str, ...], vocab_size: int, min_frequency: int) -> str:
    """The tokenizer.json of a tokenizer that the library has trained."""
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer, learner.decoder = pre_tokenizer(), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=list(reserved), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    learner.train_from_iterator(texts, trainer)
    return str(learner.to_str())


def we_learn(texts: list[str], reserved: tuple[str, ...], vocab_size: int, min_frequency: int) -> str:
    """The same without its trainer."""
    learner = tokenizers.Tokenizer(learn(texts, reserved, vocab_size, min_frequency))
    learner.pre_tokenizer, learner.decoder = pre_tokenizer(), decoders.ByteLevel()
    learner.add_special_tokens(list(reserved))
    return str(learner.to_str())


@settings(max_examples=150, deadline=None)
@given(TEXTS, RESERVED, st.integers(1, 420), st.integers(1, 4))
def test_the_vocabulary_is_the_librarys(
    texts: list[str], reserved: tuple[str, ...], vocab_size: int, min_frequency: int
) -> None:
    """Any texts give the same file: ids, merges in their order, reserved tokens; ties and repeated merges included."""
    settings_ = (texts, reserved, vocab_size, min_frequency)
    assert we_learn(*settings_) == library_learns(*settings_)


def test_more_than_there_is_room_for_at_first() -> None:
    """Tables grow: many pieces and pairs, long tokens."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    short = map("".join, itertools.product(letters, letters, letters, letters[::3]))
    long = ("".join(random.Random(number).choices(letters, k=300)) for number in range(20))
    texts = [" ".join(short), " ".join(long) * 30]
    assert we_learn(texts, (), 5000, 1) == library_learns(texts, (), 5000, 1)


def test_no_text() -> None:
    """Without a text there are the reserved tokens and the bytes."""
    assert train_tokenizer([], TokenizerSettings(vocab_size=300)).vocab_size == 320
    assert we_learn(["", "a"], (), 300, 1) == library_learns(["", "a"], (), 300, 1)


def test_a_lone_surrogate_is_refused() -> None:
    """A text that is not Unicode is an error of the data."""
    with pytest.raises(DataError, match="surrogate"):
        learn(["\ud800"], (), 300, 2)
