"""Signals: kernels count what a plain reading of the text counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segments_of import answered, column
from strategies import PROSE, TEXT

from didact.curate.signals import SIGNALS, SignalText, measure, signal
from didact.errors import CallError, DataError, UnknownName
from didact.text.characters import DIGIT, LETTER, SPACE, SYMBOL, UNSPACED, UPPER, WORD, class_of
from didact.text.tokens import tokenise
from didact.text.views import Segments

LINED = st.text("abA1 .!…-•中\n\t", max_size=60)
BUILT_IN = sorted(SIGNALS)


def value(name: str, prompt: str, response: str) -> float:
    """One signal of one record."""
    return float(measure(answered([(prompt, response)]), [name])[name][0])


def ratio(part: int, whole: int) -> float:
    """The ratio as a signal stores it."""
    return float(np.float32(part / whole)) if whole else 0.0


def words_of(texts: Sequence[str]) -> list[str]:
    """The words of texts: their tokens, when these are words."""
    return [token for text in texts for token in tokenise(text) if class_of(token[0]) & WORD]


def lines_of(texts: Sequence[str]) -> list[str]:
    """The visible lines of texts, trimmed."""
    return [line.strip() for text in texts for line in text.split("\n") if line.strip()]


def quantities_by_hand(texts: list[str]) -> dict[str, float]:
    """Every quantity of a view, counted with Python strings."""
    joined, words, lines = "".join(texts), words_of(texts), lines_of(texts)
    count = {
        bit: sum(bool(class_of(c) & bit) for c in joined) for bit in (LETTER, DIGIT, UNSPACED, SPACE, UPPER, SYMBOL)
    }
    runs = [len(list(run)) for text in texts for c, run in groupby(text) if not c.isspace()]
    repeated = [line for i, line in enumerate(lines) if line in lines[:i]]
    stops = {"the", "be", "to", "of", "and", "that", "have", "with"}
    return {
        "bytes": len(joined.encode()),
        "chars": len(joined),
        "words": len(words),
        "lines": len(lines),
        "longest_run": max(runs, default=0),
        "stop_words": len(stops & set(words)),
        "alpha_share": ratio(count[LETTER], len(joined)),
        "digit_share": ratio(count[DIGIT], len(joined)),
        "cjk_share": ratio(count[UNSPACED], len(joined)),
        "whitespace_share": ratio(count[SPACE], len(joined)),
        "upper_share": ratio(count[UPPER], count[LETTER]),
        "symbol_share": ratio(count[SYMBOL], len(joined)),
        "distinct_word_share": ratio(len(set(words)), len(words)),
        "letter_word_share": ratio(sum(any(class_of(c) & LETTER for c in word) for word in words), len(words)),
        "mean_word_length": ratio(sum(map(len, words)), len(words)),
        "duplicate_line_share": ratio(len(repeated), len(lines)),
        "duplicate_line_char_share": ratio(sum(map(len, repeated)), sum(map(len, lines))),
        "short_line_share": ratio(sum(len(line) <= 30 for line in lines), len(lines)),
        "ended_line_share": ratio(
            sum(line[-1] in ".!?…。！？\"'”’」』)）]】}》>;；`*_|~" for line in lines), len(lines)
        ),
        "ellipsis_line_share": ratio(sum(line.endswith(("...", "…")) for line in lines), len(lines)),
        "bullet_line_share": ratio(sum(line[0] in "-*•‣◦▪●·–" for line in lines), len(lines)),
        "lines_per_word": ratio(len(lines), len(words)),
    }


@given(st.lists(st.lists(TEXT | LINED | PROSE, max_size=3), min_size=1, max_size=4))
def test_every_quantity_is_what_python_counts(rows: list[list[str]]) -> None:
    """Each quantity of each record equals a count over Python strings, whatever came before it in the chunk."""
    segments = Segments.from_arrow(column([[("text", "text", text) for text in row] for row in rows]))
    expected = [quantities_by_hand(row) for row in rows]
    measured = measure(segments, [f"whole.{name}" for name in expected[0]])
    assert [{name: float(measured[f"whole.{name}"][i]) for name in expected[0]} for i in range(len(rows))] == expected


@pytest.mark.parametrize(
    ("text", "longest"),
    [("用(Recycle)", 1), ("letter by letter", 2), ("abcdefgg ggggh", 4), ("   abcdefgh\n\n\n", 1), ("-" * 3000, 3000)],
)
def test_the_longest_run_is_of_one_visible_character(text: str, longest: int) -> None:
    """Wherever a run stands, it counts neither white space nor a character that only shares a byte with the next."""
    assert value("response.longest_run", "?", text) == longest


def test_every_signal_is_described_and_measurable() -> None:
    """Each registered name has a unit and a description and gives one finite number a record, none for no record."""
    measured = measure(answered([("Why?", "Because."), ("", "")]), BUILT_IN)
    assert all(SIGNALS[name].unit and SIGNALS[name].description for name in BUILT_IN)
    assert all(np.isfinite(measured[name]).all() and len(measured[name]) == 2 for name in BUILT_IN)
    assert all(len(values) == 0 for values in measure(answered([]), BUILT_IN).values())


def test_prompt_and_response_are_measured_apart() -> None:
    """A prompt's words are the user's, a response's the assistant's; whole has both."""
    names = ["prompt.words", "response.words", "whole.words"]
    measured = measure(answered([("one two", "three four five")]), names)
    assert [int(measured[name][0]) for name in names] == [2, 3, 5]


@pytest.mark.parametrize(
    ("prompt", "response", "echo"),
    [
        ("Say the quick brown fox jumps", "the quick brown fox jumps", 1.0),
        ("Say the quick brown fox jumps", "Say the quick brown fox jumps", 1.0),
        ("Say the quick brown fox jumps", "a slow green dog sleeps", 0.0),
        ("one two three four", "one two three nine", 0.5),
        ("把这句话重复一遍", "把这句话重复一遍", 1.0),
        ("Is it a cat or a dog?", "cat", 0.0),
        ("anything", "", 0.0),
    ],
)
def test_echo_is_the_share_of_the_response_found_in_the_prompt(prompt: str, response: str, echo: float) -> None:
    """1 for a copy of the prompt or a part of it, 0 for words of its own and for a word picked from it."""
    assert value("response.echo", prompt, response) == echo


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("```py\nx\n```", 0),
        ("Run:\n```py\nx", 1),
        ("  ```\nx\n  ```\n```\ny", 1),
        ("inline ``` only", 0),
        ("no code", 0),
    ],
)
def test_an_open_code_block_is_seen(response: str, expected: int) -> None:
    """A line that begins with three backticks opens or closes a block; an odd number leaves one open."""
    assert value("response.unclosed_fence", "?", response) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("Done.", 0),
        ("Done. \n", 0),
        ("完成。", 0),
        ("他说：“好”", 0),
        ("```\nx\n```", 0),
        ("Great 🙂", 0),
        ("", 0),
        ("and then the", 1),
        ("first,", 1),
        ("因为，", 1),
        ("f(", 1),
    ],
)
def test_an_answer_that_stops_midway_is_seen(response: str, expected: int) -> None:
    """An end mark, closing bracket, fence or emoji ends an answer; a letter, a comma or an opening bracket does not."""
    assert value("response.unended", "?", response) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("As an AI language model, I have no opinion.", 1),
        ("I’m sorry, but I can’t help with that.", 1),
        ("  I am unable to draw.", 1),
        ("很抱歉，我无法回答这个问题。", 1),
        ("作为一个人工智能助手，我没有感情。", 1),
        ("Sorry, I can't play the song on the keyboard.", 1),
        ("抱歉，我没法用键盘播放歌曲。", 1),
        ("I am not able to do it.", 0),
        ("Sorry, I can't come to your party.", 0),
        ("抱歉，我不能参加会议。", 0),
        ("我无法抗拒吃一勺冰淇淋。", 0),
        ("Dear Sir, I am unable to attend on Monday.", 0),
        ("You are dim as an AI-generated insult.", 0),
        ("x" * 300 + " as an AI language model", 0),
    ],
)
def test_refusals_are_seen_where_answers_begin(response: str, expected: int) -> None:
    """Phrases of refusal count near the start; what a letter or a story says does not."""
    assert value("response.refusal", "?", response) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<noinput>", 1),
        ("N/A", 1),
        (" <None> ", 1),
        ("None.", 0),
        (".- -... .---- / ..", 0),
        ("", 1),
        ("...", 1),
        ("【无】", 1),
        ("无输出", 1),
        ("None of them left.", 0),
        ("No", 0),
        ("0", 0),
    ],
)
def test_placeholders_are_seen(response: str, expected: int) -> None:
    """What stands for no answer counts, in any case and brackets; an answer that begins so does not."""
    assert value("response.placeholder", "?", response) == expected


def test_a_record_without_a_response_has_no_placeholder() -> None:
    """Plain text has no response, so nothing stands in for one."""
    segments = Segments.from_arrow(column([[("text", "text", "Once.")]]))
    assert measure(segments, ["response.placeholder"])["response.placeholder"].tolist() == [0]


def test_a_users_signal_is_measured_by_name() -> None:
    """A plain function under a name sees field, role and text of every record; a taken name is refused."""

    @signal("test.questions", "characters", "question marks of the user")
    def questions(texts: Sequence[SignalText]) -> float:
        return sum(text.text.count("?") for text in texts if text.role == "user")

    try:
        measured = measure(answered([("a? b?", "c?"), ("d", "e")]), ["test.questions"])
        assert measured["test.questions"].tolist() == [2, 0]
        with pytest.raises(CallError, match="registered already"):
            signal("test.questions", "", "")(questions)
    finally:
        del SIGNALS["test.questions"]


def test_a_users_signal_must_be_a_finite_number() -> None:
    """A value that no bound can judge is an error that names the signal, not a record that slips through."""
    signal("test.broken", "none", "not a number")(lambda texts: float("nan"))
    try:
        with pytest.raises(DataError, match=r"test\.broken.*record 0"):
            measure(answered([("a", "b")]), ["test.broken"])
    finally:
        del SIGNALS["test.broken"]


def test_an_unknown_signal_names_the_nearest() -> None:
    """A misspelt name is refused with the one that was meant."""
    with pytest.raises(UnknownName, match=r"response\.words"):
        measure(answered([]), ["response.word"])
