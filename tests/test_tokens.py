"""Tokens and shingles: the kernels find what a plain reading of the definition finds."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segments_of import column, view_of
from strategies import TEXT

from didact.text.fingerprints import fingerprints
from didact.text.tokens import shingle_hash, shingles, token_counts, tokenise
from didact.text.views import Segments

WORDS = st.text("ab12 中ไé_-.İ\n", max_size=60)
ROWS = st.lists(st.lists(TEXT | WORDS, max_size=3), max_size=5)


def shingles_by_hand(texts: list[str], n: int) -> list[int]:
    """Shingle hashes of a record, straight from the definition."""
    found = set()
    for tokens in map(tokenise, texts):
        size = min(n, len(tokens))
        found |= {shingle_hash(tokens[i : i + size]) for i in range(len(tokens) - size + 1) if size}
    return sorted(found)


@given(ROWS, st.integers(1, 7))
def test_kernel_shingles_are_the_definitions(rows: list[list[str]], n: int) -> None:
    """For any texts and any n, the kernel's sorted unique hashes are those of `tokenise` and `shingle_hash`."""
    view = Segments.from_arrow(column([[("text", "text", text) for text in row] for row in rows])).view("whole")
    hashes, offsets = shingles(view, n)
    found = [hashes[a:b].tolist() for a, b in pairwise(offsets)]
    assert found == [shingles_by_hand(row, n) for row in rows]


@given(ROWS)
def test_token_counts_are_lengths_of_tokenise(rows: list[list[str]]) -> None:
    """The kernel counts the tokens that `tokenise` lists."""
    view = Segments.from_arrow(column([[("text", "text", text) for text in row] for row in rows])).view("whole")
    assert token_counts(view).tolist() == [sum(len(tokenise(text)) for text in row) for row in rows]


def test_long_texts_are_sorted_and_complete() -> None:
    """Thousands of shingles, with many repeats, come out as the sorted set of all."""
    words = [str(i * i % 997) for i in range(5000)]
    hashes, _ = shingles(view_of(" ".join(words)), 2)
    assert hashes.tolist() == sorted({shingle_hash(words[i : i + 2]) for i in range(4999)})


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello, World-2x!", ["hello", "world", "2x"]),
        ("naïve cafe\u0301", ["naïve", "cafe\u0301"]),
        ("价格是12元abc", ["价", "格", "是", "12", "元", "abc"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("สวัสดี", list("สวัสดี")),
        ("x_y", ["x", "y"]),
        ("🙂 !", ["🙂", "!"]),
        (" \n\t", []),
    ],
)
def test_tokens_by_script(text: str, tokens: list[str]) -> None:
    """Words are runs of letters, marks and digits; unspaced scripts give a token a character; symbols only if alone."""
    assert tokenise(text) == tokens


def test_shingles_never_cross_a_segment() -> None:
    """The same words cut into two segments have other shingles than in one."""
    cut = Segments.from_arrow(column([[("question", "user", "a b c"), ("context", "user", "d e f")]])).view("prompt")
    hashes, _ = shingles(cut, 3)
    assert hashes.tolist() == sorted([shingle_hash(["a", "b", "c"]), shingle_hash(["d", "e", "f"])])


def test_a_short_text_is_one_shingle_and_an_empty_one_none() -> None:
    """Below the window a text is compared as a whole; different short texts differ, numbers and signs included."""
    hashes, offsets = shingles(view_of("12", "13", "", "+", "-"), 5)
    assert np.diff(offsets).tolist() == [1, 1, 0, 1, 1]
    assert len(set(hashes.tolist())) == 4


def test_a_window_of_nothing_is_refused() -> None:
    """A shingle has at least one token."""
    with pytest.raises(ValueError, match="at least one token"):
        shingles(view_of("a"), 0)


def numbers_by_hand(text: str) -> list[str]:
    """Each number, led by the sign that joins it to the number before when there is exactly one and nothing else."""
    matches = list(re.finditer("[0-9]+", text))
    between = ["x", *(text[a.end() : b.start()].strip() for a, b in pairwise(matches))]
    return [
        (gap if gap in tuple("+*-.") else " ") + match.group() for gap, match in zip(between, matches, strict=False)
    ]


ARITHMETIC = st.text("12 +*-x.\n", max_size=12)


@given(ARITHMETIC)
def test_number_fingerprints_are_those_of_the_numbers_alone(text: str) -> None:
    """A text agrees with its numbers written down with nothing but their joining signs, and with no other sequence."""
    numbers = numbers_by_hand(text)
    alone = "".join(number.replace(" ", "x") for number in numbers)
    changed = f"{alone}+1" if numbers else "1"
    hashes = fingerprints(view_of(text, alone, changed)).numbers
    assert hashes[0] == hashes[1] != hashes[2]


@given(st.text("aB. \n\u3000中", max_size=12), st.text("aB. \n\u3000中", max_size=12))
def test_text_fingerprints_forget_white_space_only(first: str, second: str) -> None:
    """A text agrees with itself in other white space, and with another text only when that is all that differs."""
    hashes = fingerprints(view_of(first, " ".join(first.split()), second)).text
    assert hashes[0] == hashes[1]
    assert (hashes[0] == hashes[2]) == (first.split() == second.split())


def test_text_fingerprints_know_where_segments_end() -> None:
    """`ab` is not `a`, `b`; a segment without text counts for nothing."""
    rows = [
        [("text", "text", "ab")],
        [("text", "text", "a"), ("text", "text", "b")],
        [("title", "text", " "), ("text", "text", "ab")],
    ]
    texts = fingerprints(Segments.from_arrow(column(rows)).view("whole")).text
    assert texts[0] != texts[1]
    assert texts[0] == texts[2]
