"""The kernel that takes texts out of JSON rows agrees with a parser, whatever the rows are spelt like."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from didact.sources.json_parts import DEPTH
from didact.sources.row_kernel import Keys, Texts, texts_of

_SPACE = st.text(" \t\r\n", max_size=2)
_CHARACTER = st.sampled_from('ab"\\/\b\f\n\r\t\0\x1f\x7f\x80é߿ࠀ中퟿\ue000\uffff🚀\U0010ffff') | st.characters(
    exclude_categories=["Cs"]
)
_KEYS = ("a", "b", 'k"é', "")
_VALUES = st.recursive(
    st.sampled_from(("1", "1.0", "-0.5e+3", "true", "false", "null", '"x"', '""', '"a,b}]"')),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda items: "[" + ",".join(items) + "]")
        | st.lists(inner, max_size=2).map(
            lambda items: "{" + ",".join(f'"{n}" : {item}' for n, item in enumerate(items)) + "}"
        )
    ),
    max_leaves=3,
)


@st.composite
def _text(draw: st.DrawFn) -> str:
    """A JSON string in one of its many spellings."""
    spelt = []
    for character in draw(st.text(_CHARACTER, max_size=12)):
        plain = orjson.dumps(character).decode()[1:-1]
        units = character.encode("utf-16-be").hex()
        escaped = "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
        spelt.append(draw(st.sampled_from((plain, plain, plain, escaped, escaped.upper().replace("\\U", "\\u")))))
    return '"' + "".join(spelt).replace("/", draw(st.sampled_from(("/", "\\/")))) + '"'


@st.composite
def _parts(draw: st.DrawFn) -> list[str]:
    """The values of a row as they are spelt, of which the last one is any."""
    return [draw(_VALUES if key == _KEYS[-1] or draw(st.integers(0, 9)) == 0 else _text()) for key in _KEYS]


def _spelt(values: list[str]) -> str:
    """An object with the keys and these values."""
    pairs = zip(_KEYS, values, strict=True)
    return "{" + ",".join(f"{orjson.dumps(key).decode()}:{value}" for key, value in pairs) + "}"


@st.composite
def _row(draw: st.DrawFn) -> str:
    """An object with the keys, and white space wherever it may be."""
    parts = []
    for key, value in zip(_KEYS, draw(_parts()), strict=True):
        gaps = [draw(_SPACE) for _ in range(4)]
        parts.append(f"{gaps[0]}{orjson.dumps(key).decode()}{gaps[1]}:{gaps[2]}{value}{gaps[3]}")
    return draw(_SPACE) + "{" + ",".join(parts) + "}" + draw(_SPACE)


@st.composite
def _edited(draw: st.DrawFn) -> bytes:
    """A row with bytes put in, left out or changed."""
    row = draw(_row()).encode()
    for _ in range(draw(st.integers(0, 2))):
        at, kept = draw(st.integers(0, len(row))), draw(st.integers(0, 1))
        put = draw(st.sampled_from((b"", *(bytes([byte]) for byte in b'"\\{},:\n\xff\xc3'), b"\xed\xa0\x80")))
        row = row[:at] + put + row[at + kept :]
    return row


def _taken(rows: list[bytes], keys: tuple[str, ...], taken: tuple[str, ...]) -> Texts:
    ends = np.cumsum([len(row) + 1 for row in rows]).astype(np.int64) - 1
    starts = ends - np.array([*map(len, rows)], np.int64)
    return texts_of(b"\n".join(rows), starts, ends, Keys.of(keys, taken))


def _parsed(row: bytes) -> list[tuple[str, Any]] | None:
    """What a row holds, with keys that stand twice; None where it is no JSON object."""
    try:
        value = orjson.loads(row)
    except orjson.JSONDecodeError:
        return None
    return list(value.items()) if isinstance(value, dict) else None


def _texts(found: Texts, row: int, each: int) -> list[str]:
    bounds = found.bounds[row * each : (row + 1) * each + 1].tolist()
    return [found.data[start:end].tobytes().decode() for start, end in pairwise(bounds)]


@given(st.lists(_edited() | _row().map(str.encode), min_size=1, max_size=8))
@example([b'{"a":"","b":"","k\\"\xc3\xa9":"","":"\n"}', b'{"a":"","b":"","k\\"\xc3\xa9":"","":[{"x":"\xff"}]}'])
@example([b'{"a":"\\ud83d","b":"","k\\"\xc3\xa9":"","":1}', b'{"a":"\\ude00","b":"","k\\"\xc3\xa9":"","":1}'])
def test_texts_are_those_a_parser_finds(rows: list[bytes]) -> None:
    """A row that the kernel takes is an object with exactly those keys, and its texts are the ones the parser gives."""
    found = _taken(rows, _KEYS, _KEYS[:-1])
    taken = np.flatnonzero(found.fits).tolist()
    for number, row in enumerate(taken):
        parsed = _parsed(rows[row])
        assert parsed is not None
        assert [key for key, _ in parsed] == [*_KEYS]
        assert _texts(found, number, 3) == [value for _, value in parsed[:-1]]


@given(st.lists(_row(), min_size=1, max_size=8))
def test_rows_with_the_keys_are_taken(rows: list[str]) -> None:
    """Every row with these keys and texts under them is taken, however it is spelt."""
    found = _taken([row.encode() for row in rows], _KEYS, _KEYS[:-1])
    parsed = [_parsed(row.encode()) or [] for row in rows]
    assert found.fits.tolist() == [all(isinstance(value, str) for _, value in items[:-1]) for items in parsed]


@given(st.lists(_parts(), min_size=1, max_size=8))
def test_rows_of_a_kind_have_the_same_values_elsewhere(rows: list[list[str]]) -> None:
    """Rows that have the same first one agree with it under the other keys, byte by byte, and in which texts are empty;
    the others do not.
    """
    found = _taken([_spelt(row).encode() for row in rows], _KEYS, _KEYS[:-1])
    seen: dict[Any, int] = {}
    for number, row in enumerate(np.flatnonzero(found.fits).tolist()):
        *texts, other = rows[row]
        kind = other, *(text == '""' for text in texts)
        assert seen.setdefault(kind, number) == found.first[number]


@pytest.mark.parametrize("wrong", [b'"a', b'"a\n"', b'"\\x"', b'"\\u12"', b'"\\u12G4"', b'"\x80"', b'"\xc0\x80"', b"1"])
def test_faults_and_other_values_are_left_to_the_parser(wrong: bytes) -> None:
    """Among good rows, one whose text is none is not taken."""
    rows = [b'{"a":"x"}', b'{"a":' + wrong + b"}", b'{"a":"x"}']
    assert _taken(rows, ("a",), ("a",)).fits.tolist() == [True, False, True]


def test_what_is_nested_too_deep_is_left_to_the_parser() -> None:
    """Sixty levels are followed, no more."""
    rows = [b'{"a":"x","b":' + b"[" * levels + b"]" * levels + b"}" for levels in (DEPTH, DEPTH + 1)]
    assert _taken(rows, ("a", "b"), ("a",)).fits.tolist() == [True, False]


def test_no_text_is_read_over_the_end_of_its_row() -> None:
    """A row that is cut off does not take its text from the next one."""
    assert _taken([b'{"a":"x', b'"}', b'{"a":"y"}'], ("a",), ("a",)).fits.tolist() == [False, False, True]
