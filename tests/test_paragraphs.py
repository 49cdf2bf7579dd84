"""Plain text becomes units that lose no word, fit a bound, and do not depend on how the file was read."""

from __future__ import annotations

import pytest
from cut_rows import codes, cut_rows, values
from hypothesis import given
from hypothesis import strategies as st

from didact.records.findings import Finding
from didact.sources.paragraphs import UNIT_CHARACTERS
from didact.sources.rows import Row

WORD = st.sampled_from(
    ["word", "Wort", "词语", "\U0001f600", "long" * 50, "end.", "\n", "\n\n", "\n \t\n", " ", "\r\n"]
)
PROSE = st.lists(st.tuples(WORD, st.integers(1, 400)), max_size=12).map(
    lambda parts: "".join(word * count for word, count in parts)
)


@given(text=PROSE, window=st.integers(1, 70_000))
def test_units_hold_all_words_in_order_and_fit(text: str, window: int) -> None:
    """Joined, the units are the text without the white space between them; none is longer than the bound."""
    found = [row for row in cut_rows(text.encode(), "text", window) if isinstance(row, Row)]
    assert "".join("".join(row.value.split()) for row in found) == "".join(text.split())
    assert all(0 < len(row.value) <= UNIT_CHARACTERS for row in found)
    for row in found:
        assert text.encode()[row.offset :].startswith(row.value.encode())
        assert row.line == text.encode()[: row.offset].count(b"\n") + 1


@given(text=PROSE, windows=st.tuples(st.integers(1, 40_000), st.integers(40_000, 10**6)))
def test_units_do_not_depend_on_the_window(text: str, windows: tuple[int, int]) -> None:
    """Small and large windows give the same units."""
    small, large = (values(cut_rows(text.encode(), "text", window)) for window in windows)
    assert small == large


def test_paragraphs_are_packed_and_only_long_ones_split() -> None:
    """Short paragraphs share a unit as long as they fit; a paragraph that fits is never cut."""
    paragraphs = [f"{i} " + "x" * 2990 for i in range(5)]
    assert values(cut_rows("\n\n".join(paragraphs).encode(), "text")) == [
        "\n\n".join(paragraphs[:2]), "\n\n".join(paragraphs[2:4]), paragraphs[4],
    ]  # fmt: skip
    exact = "y" * UNIT_CHARACTERS
    assert values(cut_rows(f"{exact}\n\n{exact}\n".encode(), "text")) == [exact, exact]


@pytest.mark.parametrize(
    ("inside", "ending"), [("line one\n", "\n"), ("A sentence. ", ". "), ("这是一句。", "。"), ("word ", " ")]
)
def test_long_paragraph_is_cut_where_reading_pauses(inside: str, ending: str) -> None:
    """A paragraph above the bound is cut after a line, else a sentence, else a word."""
    text = inside * 2000
    units = [row for row in cut_rows(text.encode(), "text") if isinstance(row, Row)]
    assert len(units) > 1
    for row in units[1:]:
        assert text.encode()[: row.offset].decode().endswith(ending)


def test_bad_bytes_cost_their_unit_only() -> None:
    """Bytes that are not UTF-8 reject the unit that holds them, and count as characters in packing."""
    text = b"a" * 7000 + b"\n\n" + b"b" * 4000 + b"\xff" + b"b" * 3000 + b"\n\n" + b"c" * 7000
    found = cut_rows(text, "text")
    assert values(found) == ["a" * 7000, "c" * 7000]
    assert codes(found) == ["IO002"]


def test_file_and_line_are_units_too() -> None:
    """A text can be read whole, to the last blank, or line by line."""
    text = "\n one\n\ntwo \n"
    assert values(cut_rows(text.encode(), "text", unit="file")) == [text]
    assert values(cut_rows(text.encode(), "text", 3, unit="line")) == [" one", "two "]


def test_whole_file_above_the_limit_is_refused() -> None:
    """A file too long to be one row is one lost row that names the remedy."""
    (found,) = cut_rows(b"x" * 2000, "text", row_limit=1000, unit="file")
    assert isinstance(found, Finding)
    assert found.code == "JS007"
    assert "paragraphs" in found.message
