"""A byte-level BPE vocabulary learned from texts: that of the `tokenizers` library, in a tenth of the time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from tokenizers import models

from didact.render.byte_pairs import text_buffers
from didact.render.counting_kernels import count_pieces
from didact.render.learning_kernels import Tokens, learn_merges, words_of
from didact.render.pretokens import byte_alphabet, code_point_classes


def learn(texts: Sequence[str], reserved: Sequence[str], vocab_size: int, min_frequency: int) -> models.BPE:
    """The model that the library's trainer learns from the same texts, cut by the pattern of `pretokens`.

    Reserved tokens have the first ids, then the 256 bytes, then merged tokens in the order learned.
    Raises DataError for a text with a lone surrogate.
    """
    data, offsets = text_buffers(texts)
    pieces = count_pieces(data, offsets, code_point_classes())
    alphabet = byte_alphabet()
    first = list(dict.fromkeys([*reserved, *sorted(alphabet)]))
    byte_ids = np.array([first.index(character) for character in alphabet], np.int32)
    words, size = words_of(data, *pieces, byte_ids), int(pieces[1].sum())
    tokens, merges = learn_merges(words, size, _spelt(first), vocab_size, min_frequency)
    spelling = "".join(alphabet[byte] for byte in tokens.text.tolist())
    learned = pairwise(tokens.bounds[len(first) :].tolist())
    names = [*first, *(spelling[start:end] for start, end in learned)]
    # A pair that was merged more than once has the rank of its last merge.
    last = {(left, right): None for left, right, _ in reversed(merges.tolist())}
    pairs = [(names[left], names[right]) for left, right in reversed(last)]
    return models.BPE(vocab={name: number for number, name in enumerate(names)}, merges=pairs)


def _spelt(tokens: Sequence[str]) -> Tokens:
    """Tokens in bytes; one with a character that stands for no byte is spelt in none, as no merge gives it."""
    byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    spelt = [bytes(map(byte_of.__getitem__, token)) if set(token) <= byte_of.keys() else b"" for token in tokens]
    return Tokens(np.frombuffer(b"".join(spelt), np.uint8), np.cumsum([0, *map(len, spelt)]).astype(np.int64))
