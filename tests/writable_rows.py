"""Rows of every format that can be written, as wild as the format allows: what the laws of writing are tried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from strategies import TEXT
from writable_messages import OPENAI, SHAREGPT
from writable_preferences import PREFERENCE, SPLIT

from didact.records import Header

Rows = st.SearchStrategy[dict[str, Any]]

ODD = TEXT | st.none() | st.integers(-5, 5) | st.just(2.50) | st.booleans()
"""What stands where text belongs."""

EXTRA = st.dictionaries(
    st.sampled_from(["meta", "id", "url", "weight~/"]),
    st.none() | st.integers(-3, 3) | TEXT | st.just({"a": [1, {"b": None}]}),
    max_size=3,
)


def shuffled(rows: Rows) -> Rows:
    """The rows with unknown keys among their own, in any order of keys."""
    return st.tuples(rows, EXTRA).flatmap(
        lambda pair: st.permutations(list((pair[1] | pair[0]).items())).map(lambda items: dict(items))
    )


def fields(required: dict[str, Any], optional: dict[str, Any]) -> Rows:
    """Rows with every required and any of the optional keys."""
    return st.fixed_dictionaries(required, optional=optional)


_ALPACA = (
    fields({"instruction": ODD, "output": ODD}, {"input": ODD | st.just("<noinput>")})
    | fields({"instruction": TEXT, "response": TEXT}, {"input": TEXT})
    | fields(
        {"instruction": TEXT, "output": TEXT, "system": TEXT},
        {
            "input": TEXT | st.none(),
            "history": st.none() | st.lists(st.lists(TEXT, min_size=2, max_size=2), max_size=2),
        },
    )
)
CASES: dict[str, Callable[[], Rows]] = {
    "alpaca": lambda: _ALPACA,
    "dolly": lambda: fields({"instruction": ODD, "context": ODD, "response": ODD}, {"category": ODD}),
    "gsm8k": lambda: fields({"question": ODD, "answer": ODD | st.just("So 4.\n#### 4")}, {}),
    "preference": lambda: PREFERENCE,
    "openai": lambda: OPENAI,
    "sharegpt": lambda: SHAREGPT,
    "prompt_completion": lambda: (
        fields({"prompt": ODD, "completion": ODD}, {"system": TEXT | st.none()})
        | fields({"inputs": TEXT, "targets": TEXT}, {"task_name": TEXT})
        | SPLIT
    ),
    "text": lambda: fields({"text": ODD}, {"title": TEXT | st.none()}),
}


def rows_of(name: str) -> st.SearchStrategy[tuple[dict[str, Any], Header | None]]:
    """Rows of a format, and what their file says once."""
    return shuffled(CASES[name]()).map(lambda row: (row, None))
