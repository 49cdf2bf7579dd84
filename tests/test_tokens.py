"""Tokens and shingles: the kernels find what a plain reading of the definition finds."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segments_of import column, view_of
from strategies import PROSE, TEXT

from didact.text.characters import SYMBOL, class_of
from didact.text.fingerprints import SEPARATOR, literal_fingerprints, number_fingerprints, text_fingerprints
from didact.text.tokens import have_tokens, shingle_hash, shingles, tokenise
from didact.text.views import Segments

WORDS = st.text("ab12 中ไé_-.İ\n", max_size=60)
ROWS = st.lists(st.lists(TEXT | WORDS | PROSE, max_size=3), max_size=5)


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
def test_texts_have_tokens_where_tokenise_finds_some(rows: list[list[str]]) -> None:
    """The kernel tells whether `tokenise` lists any."""
    view = Segments.from_arrow(column([[("text", "text", text) for text in row] for row in rows])).view("whole")
    assert have_tokens(view).tolist() == [any(map(tokenise, row)) for row in rows]


def test_long_texts_are_sorted_and_complete() -> None:
    """Thousands of shingles, with many repeats, come out as the sorted set of all."""
    words = [str(i * i % 997) for i in range(5000)]
    hashes, _ = shingles(view_of(" ".join(words)), 2)
    assert hashes.tolist() == sorted({shingle_hash(words[i : i + 2]) for i in range(4999)})


@pytest.mark.parametrize("distinct", [2, 30, 700])
def test_a_text_that_repeats_itself_has_each_shingle_once(distinct: int) -> None:
    """Thousands of repetitions of few shingles come out as the sorted set."""
    words = [f"w{word}" for word in np.random.default_rng(0).integers(0, distinct, 4000)]
    hashes, _ = shingles(view_of(" ".join(words)), 1)
    assert hashes.tolist() == sorted({shingle_hash([word]) for word in words})


def folded(units: list[int]) -> int:
    """A fingerprint from what is folded into it, straight from the definition of FNV-1a and of MurmurHash3's end."""
    state = 0xCBF29CE484222325
    for unit in units:
        state = (state ^ unit) * 0x100000001B3 % 2**64
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = (state ^ state >> 33) * factor % 2**64
    return state ^ state >> 33


@given(ROWS)
def test_text_fingerprints_fold_visible_text(rows: list[list[str]]) -> None:
    """What is folded is each segment in turn, trimmed and with one space for white space, and a mark after it."""
    view = Segments.from_arrow(column([[("text", "text", text) for text in row] for row in rows])).view("whole")
    visible = [[" ".join(text.split()) for text in row if text.split()] for row in rows]
    assert text_fingerprints(view).tolist() == [
        folded([unit for text in row for unit in (*map(ord, text), SEPARATOR)]) for row in visible
    ]


@given(st.lists(st.text("12 +*-x.\n", max_size=40) | PROSE.map(lambda text: text.replace("é", "e")), max_size=4))
def test_number_fingerprints_fold_numbers_and_signs(texts: list[str]) -> None:
    """What is folded is, for each number, a mark, the sign that joins it to the number before or 0, and its digits."""
    found = []
    for text in texts:
        units = []
        for match, gap in zip(re.finditer("[0-9]+", text), ["x", *gaps_of(text)], strict=False):
            sign = ord(gap) if len(gap) == 1 and class_of(gap) & SYMBOL else 0
            units += [SEPARATOR, sign, *map(ord, match.group())]
        found.append(folded(units) if units else 0)
    assert number_fingerprints(view_of(*texts)).tolist() == found


QUOTED = st.text('ab `"\né中', max_size=30) | st.integers(77, 83).map(lambda length: f'x"{"é" * length}"y"')


@given(st.lists(st.lists(QUOTED | PROSE, max_size=3), max_size=4))
def test_literal_fingerprints_fold_what_stands_in_quotation_marks(rows: list[list[str]]) -> None:
    """What is folded is, for each match of the pattern, its opening mark, the bytes in it, and a mark after it."""
    view = Segments.from_arrow(column([[("text", "text", text) for text in row] for row in rows])).view("whole")
    pattern = re.compile(r"`[^`\n]+`|\"[^\"\n]{1,80}\"")
    literals = [[literal for text in row for literal in pattern.findall(text)] for row in rows]
    assert literal_fingerprints(view).tolist() == [
        folded([unit for literal in row for unit in (*literal.encode()[:-1], SEPARATOR)]) for row in literals
    ]


@given(ROWS, st.integers(1, 5), st.data())
def test_a_view_of_some_records_has_nothing_of_the_others(rows: list[list[str]], n: int, data: st.DataObject) -> None:
    """The shingles of the records chosen stay, and the others have none."""
    view = Segments.from_arrow(column([[("text", "text", text) for text in row] for row in rows])).view("whole")
    chosen = data.draw(st.sets(st.integers(0, len(rows) - 1))) if rows else set()
    hashes, offsets = shingles(view.only(np.array(sorted(chosen), np.int64)), n)
    found = [hashes[a:b].tolist() for a, b in pairwise(offsets)]
    assert found == [shingles_by_hand(row, n) if place in chosen else [] for place, row in enumerate(rows)]


def gaps_of(text: str) -> list[str]:
    """What stands between each number and the next, trimmed."""
    return [text[a.end() : b.start()].strip() for a, b in pairwise(re.finditer("[0-9]+", text))]


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
    hashes = number_fingerprints(view_of(text, alone, changed))
    assert hashes[0] == hashes[1] != hashes[2]


@given(st.text("aB. \n\u3000中", max_size=12), st.text("aB. \n\u3000中", max_size=12))
def test_text_fingerprints_forget_white_space_only(first: str, second: str) -> None:
    """A text agrees with itself in other white space, and with another text only when that is all that differs."""
    hashes = text_fingerprints(view_of(first, " ".join(first.split()), second))
    assert hashes[0] == hashes[1]
    assert (hashes[0] == hashes[2]) == (first.split() == second.split())


def test_text_fingerprints_know_where_segments_end() -> None:
    """`ab` is not `a`, `b`; a segment without text counts for nothing."""
    rows = [
        [("text", "text", "ab")],
        [("text", "text", "a"), ("text", "text", "b")],
        [("title", "text", " "), ("text", "text", "ab")],
    ]
    texts = text_fingerprints(Segments.from_arrow(column(rows)).view("whole"))
    assert texts[0] != texts[1]
    assert texts[0] == texts[2]
