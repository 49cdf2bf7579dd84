"""Where text is cut before byte pairs are merged: the pattern, and the classes of code points it speaks of."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, normalizers, pre_tokenizers

PATTERN = (
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The cut known to llama.cpp as `qwen2`, in the spelling used there: every digit is a token of its own, so numbers are
read digit by digit. Contractions are spelt out because a case-insensitive group would also take U+017F for an s."""

OTHER, LETTER, NUMBER, SPACE, NEWLINE = range(5)
"""Classes of code points; SPACE is white space other than carriage return and line feed."""

_CODE_POINTS = 0x110000
_SURROGATES = range(0xD800, 0xE000)
_SCANNED = 0x40000  # planes 0 to 3; the planes above hold no letter, number or space in any version of Unicode
_BLOCK = 0x1000  # the engine replaces in time more than linear in the length of a string with many matches


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Cut by PATTERN, then spell each piece in the 256 stand-in characters of byte-level BPE."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def byte_alphabet() -> list[str]:
    """Stand-in character of each byte, in byte order: printable Latin-1 stands for itself, the rest from U+0100 on."""
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in itself else chr(next(others)) for byte in range(256)]


@functools.cache
def code_point_classes() -> NDArray[np.uint8]:
    """Class of every code point, (0x110000,) uint8, read out of the regex engine that `tokenizers` uses.

    Python's `unicodedata` follows the interpreter's Unicode version; asking the engine itself keeps both ways of
    cutting text equal whatever versions are installed. Surrogates, which no text can hold, are OTHER.
    """
    classes = np.full(_CODE_POINTS, OTHER, dtype=np.uint8)
    others = ((r"\P{L}+", LETTER), (r"\P{N}+", NUMBER), (r"\S+", SPACE))
    removals = [(normalizers.Replace(Regex(other), ""), code) for other, code in others]
    for first in range(0, _SCANNED, _BLOCK):
        points = np.arange(first, first + _BLOCK, dtype="<u4")
        block = points[(points < _SURROGATES.start) | (points >= _SURROGATES.stop)].tobytes().decode("utf-32-le")
        for removal, code in removals:
            # What is left is of the class. Splits, which tell each match and its place, take eight times as long.
            classes[np.frombuffer(removal.normalize_str(block).encode("utf-32-le"), "<u4")] = code
    classes[[ord("\r"), ord("\n")]] = NEWLINE
    return classes
