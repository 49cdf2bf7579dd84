"""The kernels cut and merge exactly as the `tokenizers` library does."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizer import SENTENCES, small_tokenizer

from didact.errors import DataError
from didact.render import byte_pairs
from didact.render.byte_pairs import BytePairs, is_supported, text_buffers
from didact.render.merge_table import joints_of
from didact.render.pretokens import LETTER, NEWLINE, NUMBER, SPACE, byte_alphabet, code_point_classes, pre_tokenizer

DESCRIPTION = json.loads(small_tokenizer()._literal.to_str())
BYTE_PAIRS = BytePairs(DESCRIPTION["model"])
SPACES = (" ", "  ", "\n", "\r\n", "\t", "\u3000", "\u00a0", "\x85")
MARKS = ("'s", "'LL", "'re", "'", "'\u017f", "don't", "...", "\u0301", "<|end|>", "\x00", "\U000e0041")
WORDS = ("é", "中文句子", "ไทย", "🙂", "12", "٣", "Ⅷ", "x" * 200, "the ", "\U0002a6d6")
PIECES = st.sampled_from([*SPACES, *MARKS, *WORDS])
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=8), st.sampled_from(SENTENCES)), max_size=12).map("".join)


def library_ids(text: str) -> list[int]:
    """Ids by the library, from the same vocabulary without reserved tokens."""
    ids: list[int] = small_tokenizer()._literal.encode(text, add_special_tokens=False).ids
    return ids


@settings(max_examples=400, deadline=None)
@given(st.lists(TEXTS, max_size=5))
def test_ids_equal_the_librarys(texts: list[str]) -> None:
    """Any texts give the ids that the library gives for each of them."""
    ids, bounds = BYTE_PAIRS.encode(texts)
    found = [ids[start:stop].tolist() for start, stop in itertools.pairwise(bounds.tolist())]
    assert found == [library_ids(text) for text in texts]


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_pieces_are_the_patterns(text: str) -> None:
    """Text is cut at the same places as by the regular expression."""
    from didact.render.pieces import piece_end

    data, bounds = text_buffers([text])
    ends, at = [0], 0
    while at < bounds[-1]:
        at = int(piece_end(data, at, int(bounds[-1]), code_point_classes()))
        ends.append(at)
    pieces = [spelt for spelt, _ in pre_tokenizer().pre_tokenize_str(text)]
    assert ends == [0, *itertools.accumulate(map(len, pieces))]  # a spelling has one character a byte


def test_the_classes_are_unicodes() -> None:
    """Classes agree with what the Unicode standard fixed long ago."""
    classes = code_point_classes()
    for characters, code in (("aZé中ไ", LETTER), ("0٣Ⅷ½", NUMBER), (" \t\u3000\x85", SPACE), ("\r\n", NEWLINE)):
        assert {int(classes[ord(character)]) for character in characters} == {code}


def test_the_classes_are_the_engines() -> None:
    """A character is of the class whose pattern matches it where the engine cuts text."""
    cuts = [
        (tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="removed"), codes)
        for pattern, codes in ((r"\p{L}", {LETTER}), (r"\p{N}", {NUMBER}), (r"\s", {SPACE, NEWLINE}))
    ]
    for first in range(0, 0x20000, 1000):
        points = [point for point in range(first, first + 1000) if not 0xD800 <= point < 0xE000]
        for cut, codes in cuts:
            left = cut.pre_tokenize_str("".join(map(chr, points)))
            unmatched = {place for _, (start, stop) in left for place in range(start, stop)}
            of_class = [int(code_point_classes()[point]) in codes for point in points]
            assert of_class == [place not in unmatched for place in range(len(points))]


def test_the_alphabet_is_the_librarys() -> None:
    """The 256 stand-in characters are those of the library, and printable ASCII stands for itself."""
    assert sorted(byte_alphabet()) == sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert byte_alphabet()[0x41] == "A"


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and threads give the ids of one pass, empty texts included."""
    texts = [sentence[: n % 60] for n, sentence in enumerate(SENTENCES * 50)]
    whole = BytePairs(DESCRIPTION["model"]).encode(texts)
    monkeypatch.setattr(byte_pairs, "_PART_BYTES", 1000)
    parts = BytePairs(DESCRIPTION["model"]).encode(texts, threads)
    assert np.array_equal(whole.ids, parts.ids)
    assert np.array_equal(whole.bounds, parts.bounds)


def test_a_full_cache_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no more pieces can be remembered, they are merged anew to the same ids."""
    monkeypatch.setattr(byte_pairs, "_LINES", 4)
    tiny = BytePairs(DESCRIPTION["model"])
    for _ in range(2):
        ids, _ = tiny.encode(list(SENTENCES))
        assert ids.tolist() == [i for sentence in SENTENCES for i in library_ids(sentence)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("abc ", max_size=160), max_size=6))
def test_two_merges_of_one_token(texts: list[str]) -> None:
    """Where two merges give one token, a queued merge may outlive its pair; the ids are the library's all the same."""
    merges = ["b c", "a b", "a bc", "ab c", "c c", "abc c", "ab cc"]
    alphabet = byte_alphabet()
    tokens = dict.fromkeys([*alphabet, *(merge.replace(" ", "") for merge in merges)])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [(left, right) for left, right in map(str.split, merges)]
    model = tokenizers.models.BPE(vocab=vocabulary, merges=pairs)
    library = tokenizers.Tokenizer(model)
    library.pre_tokenizer = pre_tokenizer()
    ids, bounds = BytePairs({"vocab": vocabulary, "merges": merges}).encode(texts)
    found = [ids[start:stop].tolist() for start, stop in itertools.pairwise(bounds.tolist())]
    assert found == [library.encode(text).ids for text in texts]


CHARACTERS = "中文字句é🙂ไa "


def random_merges(seed: int) -> list[tuple[str, str]]:
    """Merges of neighbours picked at random, so that most tokens begin and end inside a character."""
    generator = np.random.default_rng(seed)
    alphabet = byte_alphabet()
    symbols = [alphabet[byte] for byte in "".join(generator.choice(list(CHARACTERS), 80)).encode()]
    merges: dict[tuple[str, str], None] = {}
    for _ in range(60):
        place = int(generator.integers(len(symbols) - 1))
        pair = (symbols[place], symbols[place + 1])
        if not any(a + b == "".join(pair) for a, b in merges):
            merges[pair] = None
        joined: list[str] = []
        for symbol in symbols:
            if joined and (joined[-1], symbol) == pair:
                joined[-1] += symbol
            else:
                joined.append(symbol)
        symbols = joined
    return list(merges)


@pytest.mark.parametrize("seed", range(5))
def test_tokens_across_characters(seed: int) -> None:
    """Where tokens hold parts of characters, pieces are cut at no border that one of them spans."""
    merges = random_merges(seed)
    vocabulary = {token: n for n, token in enumerate([*byte_alphabet(), *(a + b for a, b in merges)])}
    library = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    library.pre_tokenizer = pre_tokenizer()
    generator = np.random.default_rng(seed)
    texts = ["".join(generator.choice(list(CHARACTERS), 40)) for _ in range(200)]
    ids, bounds = BytePairs({"vocab": vocabulary, "merges": [" ".join(pair) for pair in merges]}).encode(texts)
    found = [ids[start:stop].tolist() for start, stop in itertools.pairwise(bounds.tolist())]
    assert found == [library.encode(text).ids for text in texts]


def test_joints_are_those_inside_tokens() -> None:
    """A joint is what a token holds of the two characters at a border before one beyond ASCII, whole or in part."""
    spell = dict(enumerate(byte_alphabet()))
    tokens = [
        b" \xe4\xb8",
        b"ab",
        b"\xe9\xa9",
        "é中".encode(),
        b"\xad\xe6\x96\x87",
        b"\xe4\xb8",
        b"\xe6",
        "中a".encode(),
    ]
    found = joints_of("".join(spell[byte] for byte in token) for token in tokens)
    assert found.tolist() == sorted([0x20 << 32 | 0xE4B8, 0xC3A9 << 32 | 0xE4B8AD, 0xAD << 32 | 0xE69687])


@pytest.mark.parametrize("threads", [1, 3])
def test_counts_are_numbers_of_ids(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting without keeping ids counts those that would be kept."""
    monkeypatch.setattr(byte_pairs, "_PART_BYTES", 100)
    texts = [*SENTENCES, "", *WORDS, *MARKS]
    assert BYTE_PAIRS.count(texts, threads).tolist() == [len(library_ids(text)) for text in texts]
    assert BYTE_PAIRS.count([]).tolist() == []


def test_a_very_long_piece() -> None:
    """A piece of 20,000 letters, as in encoded data, is merged as by the library."""
    text = "thequickbrownfoxjumps" * 1000
    assert BYTE_PAIRS.encode([text]).ids.tolist() == library_ids(text)


def test_arrow_arrays_are_read_in_place() -> None:
    """Slices and both string types of Arrow give what a list gives."""
    expected = BYTE_PAIRS.encode(list(SENTENCES[1:3]))
    for kind in (pa.string(), pa.large_string()):
        sliced = pa.array(SENTENCES, kind).slice(1, 2)
        found = BYTE_PAIRS.encode(sliced)
        assert np.array_equal(found.ids, expected.ids)
        assert np.array_equal(found.bounds, expected.bounds)


def test_nothing_gives_nothing() -> None:
    """No texts and only empty texts have no ids."""
    assert BYTE_PAIRS.encode([]).bounds.tolist() == [0]
    assert BYTE_PAIRS.encode(["", ""]).bounds.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("texts", "said"), [(["a", "\ud800"], "U\\+D800"), (pa.array(["a", None]), "1 of 2 texts are null")]
)
def test_what_is_not_text_is_refused(texts: list[str], said: str) -> None:
    """A lone surrogate and a null are named, not encoded."""
    with pytest.raises(DataError, match=said):
        BYTE_PAIRS.encode(texts)


@pytest.mark.parametrize(
    "change", [{"dropout": 0.1}, {"ignore_merges": True}, {"type": "Unigram"}, {"byte_fallback": True}]
)
def test_other_models_go_to_the_library(change: dict[str, object]) -> None:
    """A model that the kernels do not follow exactly is not given to them."""
    assert is_supported(DESCRIPTION)
    assert not is_supported(DESCRIPTION | {"model": DESCRIPTION["model"] | change})
    assert not is_supported(DESCRIPTION | {"normalizer": {"type": "NFC"}})
    assert not is_supported(DESCRIPTION | {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}})
