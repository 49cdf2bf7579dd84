"""Eight bytes at a time: each function tells of every byte what a look at that byte tells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.text import eight

EIGHT = st.binary(min_size=8, max_size=8) | st.lists(
    st.sampled_from([*b"\x00 09AZaz\x7f", *range(0x2F, 0x3C), 0x80, 0xBF, 0xC0, 0xFF]), min_size=8, max_size=8
).map(bytes)


def number(content: bytes) -> np.uint64:
    """Eight bytes as one number."""
    return np.uint64(int.from_bytes(content, "little"))


def marks(flags: list[bool]) -> int:
    """The number in which the top bit of each byte tells about it."""
    return sum(0x80 << 8 * k for k, flag in enumerate(flags) if flag)


@pytest.mark.parametrize(
    ("told", "holds"),
    [
        (eight.not_ascii, lambda byte: byte >= 0x80),
        (eight.continuations, lambda byte: byte & 0xC0 == 0x80),
        (eight.letters, lambda byte: chr(byte).isascii() and chr(byte).isalpha()),
        (lambda value: eight.between(value, 0x30, 0x39), lambda byte: 0x30 <= byte <= 0x39),
        (lambda value: eight.between(value, 0, 0x7F), lambda byte: byte < 0x80),
        (lambda value: eight.equal(value, 32), lambda byte: byte == 32),
        (lambda value: eight.equal(value, 0), lambda byte: byte == 0),
    ],
)
@given(EIGHT)
def test_bytes_are_marked(told: Callable[[np.uint64], int], holds: Callable[[int], bool], content: bytes) -> None:
    """Exactly the bytes are marked for which it holds."""
    assert told(number(content)) == marks([holds(byte) for byte in content])


@given(st.lists(st.booleans(), min_size=8, max_size=8))
def test_marks_are_counted(flags: list[bool]) -> None:
    """The first mark and their number are found; without any, eight bytes come before the first."""
    marked = np.uint64(marks(flags))
    assert eight.first_place(marked) == (flags.index(True) if any(flags) else 8)
    assert eight.how_many(marked) == sum(flags)
    assert eight.unmarked(marked) == marks([not flag for flag in flags])


@given(st.binary(min_size=8, max_size=20), st.integers(-2, 10))
def test_bytes_are_read(content: bytes, count: int) -> None:
    """Bytes are read from any place, lowest first, and cut to the first ones."""
    data = np.frombuffer(content, np.uint8)
    at = len(content) - 8
    value = np.uint64(eight.eight_bytes(data, at))
    assert value == number(content[at:])
    assert [eight.byte_of(value, k) for k in range(8)] == list(content[at:])
    assert eight.low_bytes(value, count) == int.from_bytes(content[at:][: max(count, 0)], "little")
