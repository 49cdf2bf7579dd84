"""Editing JSON text: it reads as the new value, and what did not change keeps its bytes."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.formats.json_edit import edited, same_json

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcde"), inner, max_size=4),
    max_leaves=12,
)
SPACES = st.text(" \t\n", max_size=2)


@st.composite
def spaced(draw: st.DrawFn, value: Any) -> str:
    """A value as JSON text with white space and escapes drawn at random."""

    def gap() -> str:
        return draw(SPACES)

    if isinstance(value, dict):
        inner = ",".join(f"{gap()}{json.dumps(k)}{gap()}:{gap()}{draw(spaced(v))}{gap()}" for k, v in value.items())
        return f"{{{inner or gap()}}}"
    if isinstance(value, list):
        return f"[{','.join(f'{gap()}{draw(spaced(v))}{gap()}' for v in value) or gap()}]"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@given(data=st.data(), old=VALUES, new=VALUES)
def test_the_text_reads_as_the_new_value(data: st.DataObject, old: Any, new: Any) -> None:
    """Whatever a text held, after the edit it reads as what was asked for."""
    text = data.draw(spaced(old)).encode("utf-8", "surrogatepass")
    assert same_json(json.loads(edited(text, new)), new)


@given(data=st.data(), value=VALUES)
def test_an_unchanged_value_leaves_every_byte(data: st.DataObject, value: Any) -> None:
    """A text that reads as the value already is not touched."""
    text = data.draw(spaced(value)).encode("utf-8", "surrogatepass")
    assert edited(text, value) == text


@pytest.mark.parametrize(
    ("raw", "value", "expected"),
    [
        ('{"a":1.0,"b":"x"}', {"a": 1.0, "b": "y"}, '{"a":1.0,"b":"y"}'),
        ('{"a":1E5, "b":"x"}', {"a": 1e5, "b": "y"}, '{"a":1E5, "b":"y"}'),
        ('{"a":1,"a":2,"b":0}', {"a": 3, "b": 0}, '{"a":1,"a":3,"b":0}'),
        ('{"a":1, "b":2, "c":3}', {"a": 1, "c": 3}, '{"a":1, "c":3}'),
        ('{"a":1, "b":2}', {"b": 2}, '{"b":2}'),
        ('{"a":1}', {"a": 1, "z": [1]}, '{"a":1, "z": [1]}'),
        ('{"a":{"b":"\\u00e9","c":"x"}}', {"a": {"b": "é", "c": "ü"}}, '{"a":{"b":"\\u00e9","c":"ü"}}'),
        ("[1, 2 ,3]", [1, 3], "[1 ,3]"),
        ("[1 , 2]", [1, 2, 3], "[1 , 2, 3]"),
        ('[{"a" : 1}]', [{"a": 1}, {"b": 2}], '[{"a" : 1}, {"b": 2}]'),
    ],
)
def test_what_did_not_change_keeps_its_spelling(raw: str, value: Any, expected: str) -> None:
    """Numbers, escapes, spacing, order and keys given twice stay as their author wrote them."""
    assert edited(raw.encode(), value).decode() == expected


def test_deep_values_are_edited_without_exhausting_the_stack() -> None:
    """A value nested deeper than Python likes to recurse is replaced as a whole."""
    deep: Any = "x"
    for _ in range(600):
        deep = [deep]
    text = json.dumps({"a": 1.50, "deep": deep})
    assert json.loads(edited(text.encode(), {"a": 2, "deep": deep})) == {"a": 2, "deep": deep}


def test_numbers_that_were_not_changed_keep_their_digits() -> None:
    """An integer of more than 64 bits, which is read as a float, is not spelled as one when its row is edited."""
    row = b'{"id": 340282366920938463463374607431768211456, "t": "a", "deep": [1.50, -0]}'
    assert edited(row, {**orjson.loads(row), "t": "b"}) == row.replace(b'"a"', b'"b"')
