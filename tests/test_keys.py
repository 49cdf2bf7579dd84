"""Keys that stand twice: found wherever they are, however the row is spelt, and never where they are not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.records.findings import Problem
from didact.sources.keys import DEPTH, TooDeep, key_colons, repeated_keys

KEY = st.sampled_from(["a", "b", 'a":', "", " :", "a/b~"])
SPELT = st.recursive(
    st.sampled_from(['"x"', "1", "null", '"\\":"', '" :"', '"a\\": 1, \\"a\\": 2"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{','.join(values)}]")
        | st.tuples(
            st.lists(st.tuples(KEY, inner), max_size=4), st.sampled_from([":", " :", ": ", "\n\t: "])
        ).map(lambda drawn: "{" + ",".join(json.dumps(key) + drawn[1] + value for key, value in drawn[0]) + "}")
    ),
    max_leaves=12,
)  # fmt: skip
"""JSON texts with repeated keys, with texts that look like keys, and with white space where it may stand."""


def told_of(raw: bytes) -> tuple[Problem, ...]:
    """What is told of the second of three rows that stand side by side."""
    other = b'{"a" :1}'
    bounds = np.cumsum([0, len(other), len(raw), len(other)])
    colons = key_colons(other + raw + other, bounds[:-1], bounds[1:])
    assert len(colons) == 3 and colons[0] == colons[2] == 1
    return repeated_keys(raw, orjson.loads(raw), colons[1])


def repeats_in(text: str) -> bool:
    """Whether any object of a text holds a key twice, by the standard library's own pairs."""
    found = False

    def hook(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=hook)
    return found


@given(text=SPELT)
def test_repeated_keys_are_those_the_pairs_show(text: str) -> None:
    """A row has a warning exactly when one of its objects that are read holds a key twice."""
    told = told_of(text.encode())
    assert all(code == "JS003" for code, _, _ in told)
    if told:
        assert repeats_in(text)
    elif repeats_in(text):
        # What a repeated key hides is not looked into, but then the hiding one is told.
        pytest.fail(text)


def test_a_repeated_key_is_told_by_its_pointer() -> None:
    """The pointer leads to the key, escaped as pointers are; one key is told once however often it stands."""
    raw = b'{"m": [1, {"a/b~": 1, "x": 2, "a/b~": 3, "a/b~": 4}], "n": 1}'
    ((code, pointer, message),) = told_of(raw)
    assert (code, pointer) == ("JS003", "/m/1/a~1b~0") and "'a/b~' stands twice" in message


def test_many_repeated_keys_are_told_in_part() -> None:
    """A row of nothing but repeated keys costs a few warnings."""
    raw = ("{" + ",".join(f'"{number % 50}": 1' for number in range(100)) + "}").encode()
    assert len(told_of(raw)) == 5


def test_depth_is_bounded() -> None:
    """A row may be nested as deep as the limit, and no deeper."""
    deepest = b'{"a":' + b"[" * (DEPTH - 1) + b"]" * (DEPTH - 1) + b"}"
    assert told_of(deepest) == ()
    deeper = b"[" + deepest + b"]"
    with pytest.raises(TooDeep):
        told_of(deeper)
