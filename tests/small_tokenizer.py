"""A vocabulary small enough to learn in a moment, from a few sentences in several scripts."""

from __future__ import annotations

import functools

from didact.recipe.tokenizing import TokenizerSettings
from didact.render.tokenizer import Tokenizer, train_tokenizer

SENTENCES = (
    "The quick brown fox jumps over the lazy dog; it didn't stop, and they'll say it's 42 years old.\n",
    "Sort the numbers 3 1 2 and then reverse the word 'hello'.\r\n\r\n    def add(a, b):\n        return a + b\n",
    "请把下面的句子翻译成英文：今天天气很好，我们去公园散步吧。\n",
    "Überraschung! Ça va? Привет, мир. สวัสดีชาวโลก 🙂🙂 1,000,000.00 €\n",
)


@functools.cache
def small_tokenizer(template: str = "didact") -> Tokenizer:
    """A tokenizer of 640 ids with one of the built-in templates."""
    settings = TokenizerSettings.model_validate({"vocab_size": 640, "template": template})
    return train_tokenizer([sentence * 3 for sentence in SENTENCES], settings)
